"""Places on the mean skin: before a point of bone, along a line, the tip and base of the nose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.atlas import Atlas
from facegen_inference.volume import Grid

Point = NDArray[np.float64]
Points = NDArray[np.float64]

FURTHEST_MM = 60.0
STEP_MM = 0.5
BASE_BELOW_TIP_MM = 25.0
"""The base of the nose is looked for this far below its tip, as in `soft_landmarks`."""


def sampled(values: NDArray[np.float32], grid: Grid, points: Points) -> NDArray[np.float64]:
    """Return a field on a grid at (N, 3) points of its space, linearly; its edge goes on beyond."""
    at = grid.voxel_points(points).T
    return np.asarray(map_coordinates(values, at, order=1, mode="nearest"), dtype=np.float64)


def skin_at(atlas: Atlas, points: Points) -> NDArray[np.float64]:
    """Return the mean skin's signed distance at (N, 3) frame points, mm."""
    return sampled(atlas.skin, atlas.grid, points)


def skin_along(atlas: Atlas, base: Point, direction: Point) -> Point | None:
    """Return where a ray from within leaves the mean skin for good, or None."""
    depth = np.arange(0.0, FURTHEST_MM, STEP_MM)
    values = skin_at(atlas, base + depth[:, None] * direction)
    inside = np.flatnonzero(values < 0)
    if not len(inside) or inside[-1] + 1 >= len(depth):
        return None
    last = inside[-1]
    part = values[last] / (values[last] - values[last + 1])
    return np.asarray(base + (depth[last] + STEP_MM * part) * direction)


def nearest_skin(atlas: Atlas, point: Point, steps: int = 40) -> Point | None:
    """Return the mean skin nearest to a point within it, by descent of its distance; or None."""
    at = np.array(point, dtype=np.float64)
    offsets = 2.0 * np.vstack([np.eye(3), -np.eye(3)])
    for _ in range(steps):
        distance = float(skin_at(atlas, at[None])[0])
        if abs(distance) < 0.05:
            return at
        around = skin_at(atlas, at + offsets)
        slope = around[:3] - around[3:]
        length = float(np.linalg.norm(slope))
        if length < 1e-6:
            return None
        at = at - 0.8 * distance * slope / length
    return None


def profile(atlas: Atlas, low: float, high: float, behind: float) -> Points:
    """Return the mean skin's midline from height `low` to `high`, (N, 3) mm, 1 mm apart."""
    forward = np.array([0.0, -1.0, 0.0])
    rows = [
        skin_along(atlas, np.array([0.0, behind, z]), forward) for z in np.arange(low, high, 1.0)
    ]
    return np.array([row for row in rows if row is not None]).reshape(-1, 3)


def nose_tip(atlas: Atlas) -> Point | None:
    """Return the foremost point of the mean skin in the midline below nasion, or None."""
    marks = atlas.landmarks
    if not {"n", "ss"} <= marks.keys():
        return None
    line = profile(atlas, marks["ss"][2] - 3, marks["n"][2] - 10, marks["ss"][1])
    return np.asarray(line[np.argmin(line[:, 1])]) if len(line) else None


def nose_base(atlas: Atlas) -> Point | None:
    """Return subnasale: the profile farthest behind the chord from nose tip to upper lip."""
    tip = nose_tip(atlas)
    if tip is None:
        return None
    line = profile(atlas, tip[2] - BASE_BELOW_TIP_MM, tip[2], atlas.landmarks["ss"][1])
    if len(line) < 5:
        return None
    chord = line[0] - tip
    chord = chord / max(float(np.linalg.norm(chord)), 1e-9)
    offset = line - tip
    behind = offset[:, 1] - (offset @ chord) * chord[1]
    deepest = int(np.argmax(behind))
    return np.asarray(line[deepest]) if behind[deepest] > 0.5 else None
