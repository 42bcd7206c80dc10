"""The scoring protocol: what a method is shown of a scan, and which version of the rules this is.

Points 1 to 6 of the protocol: input is bone only, truth is the half-maximum skin surface, people
are split once, nothing is aligned, one region file, distances both ways.  Changing any of it
makes old numbers worthless, so it has a version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from facegen_inference.skull import bone_only
from facegen_inference.volume import AIR_HU, Volume

PROTOCOL = 3
HEADLINE = "bone-250"
COARSE_VOXEL_MM = 2.5
"""Scans with a voxel edge above this are tabulated as coarse, apart from sharp ones."""


def thresholded(level: float) -> Callable[[Volume], Volume]:
    """Return the reduction of a scan to bone at and above a level, HU kept."""
    return lambda volume: bone_only(volume, level)


def binary(volume: Volume) -> Volume:
    """Return bone at 250 HU as a plain mask: every bone voxel the same value."""
    bone = bone_only(volume, 250.0)
    array = np.where(bone.array > AIR_HU, np.int16(1000), np.int16(AIR_HU)).astype(np.int16)
    return replace(bone, array=array)


def cropped(volume: Volume) -> Volume:
    """Return bone at 250 HU with a random part of the field of view cut off, fixed per scan."""
    bone = bone_only(volume, 250.0)
    k, j, i = (np.flatnonzero((bone.array > AIR_HU).any(axis=a)) for a in ((1, 2), (0, 2), (0, 1)))
    digest = hashlib.sha256(np.ascontiguousarray(bone.array).tobytes()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    low, high = np.zeros(3, int), np.array(bone.array.shape)
    axes = bone.patient_from_voxel[:3, :3]
    most = {2: 0.25, 1: 0.4, 0: 0.2}  # of the head's length along z, y and x of LPS
    for axis, span in enumerate((k, j, i)):
        along = int(np.argmax(np.abs(axes[:, axis])))
        cut = int(random.uniform(0, most[along]) * (span[-1] - span[0]))
        # Only the back of the head is cut front to back: the face must stay to be scored.
        at_end = axes[1, axis] > 0 if along == 1 else random.random() < 0.5
        if at_end:
            high[axis] = span[-1] + 1 - cut
        else:
            low[axis] = span[0] + cut
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    matrix = bone.patient_from_voxel.copy()
    matrix[:3, 3] += matrix[:3, :3] @ low
    observed = None if bone.observed is None else bone.observed[box]
    return replace(bone, array=bone.array[box], patient_from_voxel=matrix, observed=observed)


REDUCTIONS: dict[str, Callable[[Volume], Volume]] = {
    HEADLINE: thresholded(250.0),
    "bone-150": thresholded(150.0),
    "bone-400": thresholded(400.0),
    "binary": binary,
    "cropped": cropped,
}
