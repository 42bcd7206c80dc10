"""Which parts of the skull are there: the mean skull says where to look, the bone what is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Points = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Presence(StrEnum):
    """Whether a part of the skull is there."""

    PRESENT = "present"
    ABSENT = "absent"
    NOT_SCANNED = "not scanned"
    UNSURE = "unsure"


PARTS = (
    "cranium",
    "maxilla",
    "mandible",
    "upper teeth",
    "lower teeth",
    "left orbit",
    "right orbit",
)

NEAR_MM = 8.0
"""Bone this near to a place on the mean skull counts as that place."""
_ENAMEL_MM3 = 120.0
_TEETH = {"upper teeth": (-48.0, -28.0), "lower teeth": (-72.0, -44.0)}
"""Heights in the Frankfurt frame between which teeth of either jaw lie, z mm."""


@dataclass(frozen=True)
class BoneEvidence:
    """Bone of one head, laid on the mean skull.

    Attributes
    ----------
    frame
        (N, 3) bone voxels, Frankfurt frame mm.
    hu
        (N,) their HU; None for a skull made from a mesh.
    voxel_mm3
        Volume of one of them.
    spacing_mm
        Largest voxel side of the scan.
    observed
        Tells for (M, 3) frame points whether the scanner looked there, (M,) bool.
    """

    frame: Points
    hu: NDArray[np.int16] | None
    voxel_mm3: float
    spacing_mm: float
    observed: Callable[[Points], Flags]


def find_parts(bone: BoneEvidence, mean_surface: Points) -> dict[str, Presence]:
    """State for each of `PARTS` whether it is there.

    Parameters
    ----------
    bone
        What was found.
    mean_surface
        (M, 3) points on the mean skull, Frankfurt frame mm.
    """
    tree = cKDTree(bone.frame[:: max(1, len(bone.frame) // 150_000)])
    parts = {}
    for name, region in _regions(mean_surface).items():
        points = mean_surface[region]
        seen = bone.observed(points)
        gap, _ = tree.query(points[seen], distance_upper_bound=2 * NEAR_MM)
        share = float((gap < NEAR_MM).mean()) if seen.any() else 0.0
        parts[name] = _verdict(float(seen.mean()) if len(seen) else 0.0, share)
    if parts["mandible"] is not Presence.NOT_SCANNED and _jaw_mm3(bone) > 9000:
        parts["mandible"] = Presence.PRESENT  # wherever an open mouth has put it
    parts["upper teeth"] = _teeth("upper teeth", bone, parts["maxilla"])
    parts["lower teeth"] = _teeth("lower teeth", bone, parts["mandible"])
    return {name: parts[name] for name in PARTS}


def _regions(surface: Points) -> dict[str, Flags]:
    """Return which points of the mean skull stand for which part."""
    x, y, z = surface.T
    rim = (np.abs(x) > 16) & (np.abs(x) < 52) & (y < -48) & (z > -8) & (z < 38)
    return {
        "cranium": (z > 20) & (y > -70),
        "maxilla": (np.abs(x) < 30) & (y < -48) & (z > -40) & (z < -10),
        "mandible": (z < -52) & (y < 0) | (np.abs(x) > 36) & (z < -22) & (y < -6) & (y > -42),
        "left orbit": rim & (x > 0),
        "right orbit": rim & (x < 0),
    }


def _verdict(seen: float, share: float) -> Presence:
    """Return what the share of a part's places that were scanned, and that hold bone, mean."""
    if seen < 0.5:
        return Presence.NOT_SCANNED
    if share > 0.6:
        return Presence.PRESENT
    return Presence.ABSENT if share < 0.25 else Presence.UNSURE


def _jaw_mm3(bone: BoneEvidence) -> float:
    """Return how much bone lies below the maxilla, mm³."""
    x, y, z = bone.frame.T
    return float(((z < -50) & (y < 0) & (np.abs(x) < 70)).sum() * bone.voxel_mm3)


def _teeth(name: str, bone: BoneEvidence, jaw: Presence) -> Presence:
    """Judge a row of teeth by enamel and metal: voxels denser than any of the vault's bone."""
    low, high = _TEETH[name]
    row = np.array([(x, -62.0, z) for x in (-25.0, 0.0, 25.0) for z in (low + 5, high - 5)])
    if bone.observed(row).mean() < 0.5 or jaw is Presence.NOT_SCANNED:
        return Presence.NOT_SCANNED
    if jaw is Presence.ABSENT:
        return Presence.ABSENT
    x, y, z = bone.frame.T
    vault = z > 20
    if bone.hu is None or vault.sum() < 200:
        return Presence.UNSURE
    middle, dense = np.percentile(bone.hu[vault], (50, 98))
    place = (np.abs(x) < 36) & (y < -35) & (z > low) & (z < high)
    enamel = float((place & (bone.hu > 1.15 * dense)).sum() * bone.voxel_mm3)
    coarse = bone.spacing_mm > 3.0
    if enamel > _ENAMEL_MM3 * (2.5 if coarse else 1.0):
        return Presence.PRESENT
    plastic = dense < 1.2 * middle
    return Presence.ABSENT if enamel < 20 and not coarse and not plastic else Presence.UNSURE
