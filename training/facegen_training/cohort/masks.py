"""Parts of the project's people where the surface in the scan is not their skin.

A tube between the lips, a metal streak, a spot where the immobilisation mask touches: stored by
person in ``cohort.toml``, each with what was seen there, in the Frankfurt frame found in the
bone.  Nothing there is scored, and nothing is learned from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from facegen_inference.errors import UserError
from facegen_inference.frame import Frame
from facegen_inference.volume import Grid, Volume
from facegen_training.cohort.cases import read_table

VOXEL_MM = 2.0
"""Edge of the voxels of `masked_volume`; the masks reach farther than that beyond what was seen."""
_MEND = "Mend cohort.toml: each mask is a box = [low, high] or a sphere = [x, y, z, r], and a why."


@dataclass(frozen=True)
class Mask:
    """A box or a ball in the Frankfurt frame, mm.

    Attributes
    ----------
    low, high
        Corners (x, y, z) of the box, or of the box around the ball.
    ball
        Whether only the ball that fits into the box is meant.
    why
        What was seen there.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    ball: bool
    why: str

    def holds(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which (N, 3) points lie in it, its edge included; (N,) bool."""
        low, high = np.array(self.low), np.array(self.high)
        if self.ball:
            radius = (high[0] - low[0]) / 2
            return np.asarray(np.linalg.norm(points - (low + high) / 2, axis=1) <= radius)
        return np.asarray(((points >= low) & (points <= high)).all(axis=1))


def read_masks(table: Mapping[str, object]) -> dict[str, tuple[Mask, ...]]:
    """Return person → masks, as the table ``masked`` of ``cohort.toml`` has them.

    Raises
    ------
    UserError
        When an entry is neither box nor sphere, is empty, or says no reason.
    """
    found = {}
    for person, entries in table.items():
        if not isinstance(entries, list) or not entries:
            raise UserError(f"The masks of {person} are not a list.", _MEND)
        found[person] = tuple(_mask(person, entry) for entry in entries)
    return found


def _mask(person: str, entry: object) -> Mask:
    wrong = UserError(f"A mask of {person} cannot be read.", _MEND, entry=str(entry))
    if not isinstance(entry, dict) or not entry.get("why"):
        raise wrong
    try:
        if set(entry) == {"box", "why"}:
            low, high = np.array(entry["box"], dtype=np.float64).reshape(2, 3)
        elif set(entry) == {"sphere", "why"}:
            x, y, z, radius = (float(value) for value in entry["sphere"])
            low, high = np.array([x, y, z]) - radius, np.array([x, y, z]) + radius
        else:
            raise wrong
    except (TypeError, ValueError) as error:
        raise wrong from error
    if not (np.isfinite([low, high]).all() and (low < high).all()):
        raise wrong
    return Mask(_three(low), _three(high), "sphere" in entry, str(entry["why"]))


def _three(corner: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in corner)
    return x, y, z


@cache
def _stored() -> dict[str, tuple[Mask, ...]]:
    table = read_table("cohort.toml").get("masked", {})
    assert isinstance(table, dict)
    return read_masks(table)


def masks_of(person: str) -> tuple[Mask, ...]:
    """Return the stored masks of a person; none for anyone else."""
    return _stored().get(person, ())


def masks_digest(person: str) -> str:
    """Return 12 hexadecimal digits that change with the person's masks; "" where there is none.

    For whatever is kept and depends on them: prepared fields, scores.
    """
    masks = [asdict(mask) for mask in masks_of(person)]
    text = json.dumps(masks, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:12] if masks else ""


def masked(points_frame: NDArray[np.float64], person: str) -> NDArray[np.bool_]:
    """Tell which points of a person are masked.

    Parameters
    ----------
    points_frame
        (N, 3) points in the person's Frankfurt frame, mm.
    person
        Name in the cohort.

    Returns
    -------
    (N,) bool.
    """
    found = np.zeros(len(points_frame), dtype=bool)
    for mask in masks_of(person):
        found |= mask.holds(points_frame)
    return found


def masked_volume(person: str, frame: Frame) -> Volume | None:
    """Return the masks as voxels, for `facegen_inference.compare.compare`; None without any.

    Parameters
    ----------
    person
        Name in the cohort.
    frame
        The Frankfurt frame found in the person's bone.

    Returns
    -------
    1 where masked, in patient coordinates.
    """
    masks = masks_of(person)
    if not masks:
        return None
    low = np.min([mask.low for mask in masks], axis=0)
    high = np.max([mask.high for mask in masks], axis=0)
    k, j, i = (int(n) for n in np.ceil((high - low)[::-1] / VOXEL_MM) + 1)
    matrix = np.eye(4)
    matrix[:3, :3] = VOXEL_MM * np.eye(3)[:, ::-1]
    matrix[:3, 3] = low
    grid = Grid((k, j, i), matrix)
    inside = masked(_points(grid), person).reshape(grid.shape)
    return Volume(inside.astype(np.int16), frame.patient_from_frame @ matrix, source="stored mask")


def without_masked(stored: NDArray[np.int16], grid: Grid, person: str) -> NDArray[np.int16]:
    """Return a person's fields with the skin marked as not known where it is masked.

    Parameters
    ----------
    stored
        (4, Z, Y, X) as `facegen_training.cohort.prepare.fields_of` returns; not written to.
    grid
        Of the fields, in the Frankfurt frame.
    person
        Name in the cohort.
    """
    if not masks_of(person):
        return stored
    kept = stored.copy()
    kept[3][masked(_points(grid), person).reshape(grid.shape)] = 0
    return kept


def _points(grid: Grid) -> NDArray[np.float64]:
    """Return the points of a grid, (k*j*i, 3), in its own space."""
    return grid.patient_points(np.indices(grid.shape).reshape(3, -1).T.astype(np.float64))
