"""Where in a scan the head may be: the place that bone surrounds from most sides.

Looks at the shape of bone alone, whichever way up, so that a couch, shoulders or a big field of
view are cut away before anything expensive is done.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from facegen_inference.errors import NoHeadFound
from facegen_inference.volume import Volume

REACH_MM = 170.0
"""Bone of a head lies within this distance of its middle, along every axis."""
_COARSE_MM = 6.0
_RAY_MM = 110.0

Box = tuple[slice, slice, slice]


def head_box(volume: Volume, level: float) -> tuple[Box, NDArray[np.float64]]:
    """Return the (k, j, i) slices of the scan that hold the head, and its middle (3,), LPS mm.

    Parameters
    ----------
    volume
        The scan.
    level
        Bone level, HU.

    Raises
    ------
    NoHeadFound
        When nothing dense is there, or nothing is surrounded by bone as the inside of a head is.
    """
    bone, spacing = _pooled(volume.array, volume.spacing, level)
    advice = "Choose a CT of a head in Hounsfield units."
    if not bone.any():
        raise NoHeadFound(f"There is no bone in {_name(volume)}.", advice, level_hu=level)
    share = _surrounded(bone, spacing)
    share[ndimage.distance_transform_edt(~bone, sampling=spacing) < 10] *= 0.5
    smooth = ndimage.gaussian_filter(share, 25 / spacing, mode="nearest")
    if smooth.max() < 0.3:
        raise NoHeadFound(
            f"The bone in {_name(volume)} does not enclose anything as a skull does.",
            advice,
            enclosed=round(float(smooth.max()), 2),
        )
    best = np.array(np.unravel_index(int(np.argmax(smooth)), smooth.shape))
    centre = best * spacing / volume.spacing
    half = REACH_MM / volume.spacing
    low = np.maximum(0, np.floor(centre - half)).astype(int)
    high = np.minimum(volume.array.shape, np.ceil(centre + half).astype(int) + 1)
    k, j, i = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return (k, j, i), volume.grid.patient_points(centre[None])[0]


def _name(volume: Volume) -> str:
    return volume.source or "the scan"


def _pooled(
    array: NDArray[np.int16], spacing: NDArray[np.float64], level: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return where bone occurs in blocks of about 6 mm, and the blocks' size in mm."""
    factor = [max(1, round(_COARSE_MM / s)) for s in spacing]
    dense = array
    for axis, step in enumerate(factor):
        dense = _block_maximum(dense, step, axis)
    return dense >= level, np.array(factor) * spacing


def _block_maximum(array: NDArray[np.int16], step: int, axis: int) -> NDArray[np.int16]:
    """Return the maximum over blocks of `step` along an axis; the last block may be shorter."""
    moved = np.moveaxis(array, axis, 0)
    whole = len(moved) // step * step
    blocks = moved[:whole].reshape(-1, step, *moved.shape[1:])
    parts = [blocks.max(axis=1)]
    if whole < len(moved):
        parts.append(moved[whole:].max(axis=0)[None])
    return np.moveaxis(np.concatenate(parts), 0, axis)


def _surrounded(bone: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return for each block the share of 26 directions in which bone lies within `_RAY_MM`."""
    share = np.zeros(bone.shape, dtype=np.float32)
    for direction in product((-1, 0, 1), repeat=3):
        if direction == (0, 0, 0):
            continue
        steps = int(_RAY_MM / np.linalg.norm(np.array(direction) * spacing))
        padded = np.pad(bone, steps)
        hit = np.zeros(bone.shape, dtype=bool)
        for n in range(1, steps + 1):
            moved = tuple(
                slice(steps + n * d, steps + n * d + size)
                for d, size in zip(direction, bone.shape, strict=True)
            )
            hit |= padded[moved]
        share += hit
    return np.asarray(share / 26, dtype=np.float32)
