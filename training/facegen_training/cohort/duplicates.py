"""People who stand in a cohort twice: the same bone under two names, or two people under one.

Bone fields, all in the Frankfurt frame, are compared coarsely pair by pair; pairs that come near
are registered bone to bone.  What remains between two scans of one skull is a part of a voxel,
between two skulls some millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.registration import Template, refine, surface_points
from facegen_training.cohort.dataset import Prepared

COARSE_MM, CLIP_MM = 8.0, 10.0
NEAR_MM = 1.05
"""Root mean square difference of coarse bone fields below which a pair is registered."""
CLOSE_MM, CLOSE_SHARE = 2.0, 0.82
"""A pair is one skull when this share of one's bone lies so close to the other's."""
UNLIKE_MM = 1.5
"""Coarse difference above which two scans under one name are probably two people."""
# Measured on 47 real heads (1081 pairs) at 2 mm and on nine re-scans of three of them, turned,
# moved, cropped, with noise and other voxels.  Pairs of people: coarse difference from 1.04 mm
# (median 1.9), share at most 0.70.  Re-scans: at most 0.95 mm, share 0.94 to 1.00; a sharp head
# averaged onto voxels of 3×4.6×4.6 mm is not recognised (1.32 mm, 0.59).
_POINTS = 4000

Field = NDArray[np.float32]


class Reader(Protocol):
    """Gives a prepared scan's array."""

    @property
    def spec(self) -> PreprocessSpec:
        """The input grid."""

    def read(self, person: Prepared) -> NDArray[np.int16]:
        """Return (4, Z, Y, X) int16, as `fields_of` does."""


@dataclass(frozen=True)
class Alike:
    """Two scans about which something is odd.

    Attributes
    ----------
    scans, people
        Pseudonyms of both scans and of whom they are filed under.
    same
        How it shows that they are one person; empty where two under one name differ.
    """

    scans: tuple[str, str]
    people: tuple[str, str]
    same: str

    @property
    def two_names(self) -> bool:
        """Whether one person seems to stand here under two names."""
        return bool(self.same) and self.people[0] != self.people[1]

    @property
    def sentence(self) -> str:
        """What is odd, with both pseudonyms."""
        one, other = self.scans
        if self.same:
            return f"{one} and {other} seem to be one person: {self.same}."
        return f"{one} and {other} are filed as one person, but their skulls differ."

    def flag_of(self, scan: str) -> str:
        """Return the same for one of the two."""
        other = self.scans[self.scans[0] == scan]
        if self.same:
            return f"duplicate suspected: {other} ({self.same})"
        return f"two people under one name suspected: skull unlike that of {other}"


def warnings_of(found: Sequence[Alike]) -> tuple[str, ...]:
    """Return a sentence for each pair under two names, and one a person whose skulls differ."""
    scans: dict[str, set[str]] = {}
    for pair in found:
        if not pair.same:
            scans.setdefault(pair.people[0], set()).update(pair.scans)
    unlike = tuple(
        f"{', '.join(sorted(own))} are filed as one person, {person}, but their skulls differ. "
        "Give a list with a person column, or leave scans out with exclude.txt."
        for person, own in sorted(scans.items())
    )
    return tuple(pair.sentence for pair in found if pair.same) + unlike


def find_alike(people: Sequence[Prepared], reader: Reader) -> list[Alike]:
    """Return pairs of scans that seem to be one person under two names, or two under one.

    Parameters
    ----------
    people
        Prepared scans.
    reader
        Gives their arrays.
    """
    if len(people) < 2:
        return []
    difference = coarse_differences([_coarse(reader.read(p), reader.spec) for p in people])
    found = []
    for one, other in combinations(range(len(people)), 2):
        a, b = people[one], people[other]
        same_name, apart = a.person == b.person, float(difference[one, other])
        how = ""
        if a.scan_sha256 == b.scan_sha256:
            how = "the same file"
        elif not same_name and apart < NEAR_MM:
            share = close_share(reader.read(a), reader.read(b), reader.spec)
            if share >= CLOSE_SHARE:
                how = f"{100 * share:.0f} % of the bone within {CLOSE_MM:.0f} mm"
        if how or (same_name and UNLIKE_MM < apart < np.inf):
            found.append(Alike((a.id, b.id), (a.person, b.person), how))
    return found


def _coarse(stored: NDArray[np.int16], spec: PreprocessSpec) -> tuple[Field, Field]:
    """Return a bone field averaged over coarse blocks, and 1 where all of a block was seen."""
    step = max(1, round(COARSE_MM / spec.spacing_mm))
    bone = np.clip(stored[0].astype(np.float32) / 100, -CLIP_MM, CLIP_MM)
    seen = _blocks((stored[1] > 0).astype(np.float32), step) > 0.99
    return _blocks(bone, step), seen.astype(np.float32)


def _blocks(field: Field, step: int) -> Field:
    z, y, x = (n // step for n in field.shape)
    cut = field[: z * step, : y * step, : x * step]
    mean = cut.reshape(z, step, y, step, x, step).mean(axis=(1, 3, 5))
    return np.asarray(mean.ravel(), dtype=np.float32)


def coarse_differences(fields: Sequence[tuple[Field, Field]]) -> NDArray[np.float64]:
    """Return the root mean square difference of each pair where both were seen, (N, N) mm.

    Infinite where two scans share less than a tenth of the grid.
    """
    seen = np.stack([mask for _, mask in fields])
    bone = np.stack([values * mask for values, mask in fields])
    squares = (bone**2) @ seen.T
    total = np.maximum(squares + squares.T - 2 * bone @ bone.T, 0).astype(np.float64)
    count = seen @ seen.T
    enough = count > 0.1 * seen.shape[1]
    return np.where(enough, np.sqrt(total / np.maximum(count, 1)), np.inf)


def close_share(one: NDArray[np.int16], other: NDArray[np.int16], spec: PreprocessSpec) -> float:
    """Return which share of a skull's bone lies within `CLOSE_MM` of the other's, registered.

    Points outside what the other scan saw do not count; of both directions the better one.
    """
    return max(_one_way(one, other, spec), _one_way(other, one, spec))


def _one_way(moving: NDArray[np.int16], fixed: NDArray[np.int16], spec: PreprocessSpec) -> float:
    bones = [stored[0].astype(np.float32) / 100 for stored in (moving, fixed)]
    points = surface_points(bones[0], spec.grid, _POINTS)
    template = Template.from_field(bones[1], spec.grid, _POINTS)
    if len(points) < 50 or len(template.surface) < 50:
        return 0.0
    matrix = refine(points, template, np.eye(4), (9, 6, 4, 2))
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    voxel = spec.grid.voxel_points(moved).T
    seen = map_coordinates((fixed[1] > 0).astype(np.float32), voxel, order=1, cval=0.0) > 0.99
    if seen.mean() < 0.3:
        return 0.0
    return float((np.abs(template.sample(moved[seen])[0]) < CLOSE_MM).mean())
