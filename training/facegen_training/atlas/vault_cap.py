"""A smooth cap over the vault, where the scans of most people ended.

What it adds is a model and nobody's measurement: the skin's radius about a point in the braincase
continues as an ellipsoid, and under it, at the depth of the scalp next to the gap, a plate of even
thickness stands for the bone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from facegen_inference.bone_distance import signed_distance
from facegen_inference.errors import UserError
from facegen_inference.volume import Grid
from facegen_training.atlas.mean_head import HeadFields

Array = NDArray[np.float32]
Points = NDArray[np.float64]

CENTRE_MM = np.array([0.0, 15.0, 25.0])
"""Middle of the braincase in the frame, (x, y, z)."""
PLATE_MM = 6.5
"""Thickness of the bone in the cap."""
FROM_Z_MM, FULL_Z_MM = 45.0, 60.0
"""The cap begins to count at the first height and may stand alone from the second."""
FIT_Z_MM = 40.0
"""It is fitted to skin above this height."""
NONE_SHARE, ALL_SHARE = 0.38, 0.61
"""Share of the people scanned at a place: below the first the cap alone, above the second none."""
_NEAR_MM = 20.0
_TRUST = 0.35
"""How far, on the unit sphere, local departures from the ellipsoid are believed."""


def redistanced(field: Array, grid: Grid) -> Array:
    """Return the signed distance to the zero level of a field that is negative inside, mm."""
    values = -np.clip(field, -15, 15).astype(np.float32)
    return signed_distance(values, 0.0, float(grid.spacing[0]))


def capped(mean: HeadFields, grid: Grid, people: int) -> HeadFields:
    """Return the averages with the vault closed, as signed distances again.

    Parameters
    ----------
    mean
        Of `facegen_training.atlas.mean_head.group_mean`.
    grid
        Its grid.
    people
        How many people were averaged.

    Raises
    ------
    UserError
        When too little of the vault was scanned to continue it.
    """
    z = grid.patient_points(np.indices(grid.shape).reshape(3, -1).T.astype(float))[:, 2]
    z = z.reshape(grid.shape)
    cover = gaussian_filter(mean.people, 6.0 / grid.spacing[0]) / people
    known = np.clip((cover - NONE_SHARE) / (ALL_SHARE - NONE_SHARE), 0, 1)
    top = np.clip((z - FROM_Z_MM) / (FULL_Z_MM - FROM_Z_MM), 0, 1)
    weight = (1 - (1 - known) * top).astype(np.float32)

    cap = radial_gap(mean, grid, people)
    skin = redistanced(weight * mean.skin + (1 - weight) * cap, grid)

    edge = (np.abs(mean.bone) < grid.spacing[0] / 2) & (z > FROM_Z_MM) & (skin > -12)
    share = mean.people / people
    edge &= (share > 0.57) & (share < 0.8)
    depth = -float(np.median(skin[edge])) if edge.any() else 4.0
    outer = skin + depth
    plate = np.maximum(outer, -(outer + PLATE_MM))
    seam = np.minimum(mean.bone, plate)
    joined = np.where((weight > 0.01) & (weight < 0.99), seam, plate)
    bone = np.where(weight >= 0.99, mean.bone, joined).astype(np.float32)
    # The seam is softened; the face and the base are left as they are.
    soft = gaussian_filter(bone, 2.0 / grid.spacing[0])
    bone = np.where(weight < 1, top * soft + (1 - top) * bone, bone).astype(np.float32)
    return HeadFields(redistanced(bone, grid), skin, mean.people)


def radial_gap(mean: HeadFields, grid: Grid, people: int) -> Array:
    """Return how far each voxel lies outside the skin continued over the vault, mm.

    Measured along the ray from `CENTRE_MM`; to the ellipsoid alone where that is far.
    """
    points = grid.patient_points(np.indices(grid.shape).reshape(3, -1).T.astype(float))
    near = (np.abs(mean.skin) < grid.spacing[0] / 2) & (mean.people >= people / 2)
    use = near.ravel() & (points[:, 2] > FIT_Z_MM)
    direction, radius = _outermost(points[use] - CENTRE_MM - _normal_step(mean.skin, grid)[use])
    if len(direction) < 30:
        raise UserError(
            "The prepared people show too little of the vault to close it.",
            "Prepare scans that reach above the forehead, with --whole-head.",
        )
    shape, *_ = np.linalg.lstsq(_quadric(direction), radius**-2.0, rcond=None)
    ellipsoid = _radius(direction, shape)
    neighbours = min(80, len(radius))
    local = RBFInterpolator(direction, radius / ellipsoid, neighbours, smoothing=2.0)
    away = points - CENTRE_MM
    length = np.linalg.norm(away, axis=1)
    ray = away / np.maximum(length, 1e-6)[:, None]
    out = length - _radius(ray, shape)
    want = (points[:, 2] > FIT_Z_MM - 35) & (np.abs(out) < _NEAR_MM)
    ray, base = ray[want], (length - out)[want]
    gap, _ = cKDTree(direction).query(ray)
    trust = np.exp(-((gap / _TRUST) ** 2))
    out[want] = length[want] - base * (1 + trust * (local(ray) - 1))
    return np.asarray(out.reshape(grid.shape), dtype=np.float32)


def _normal_step(skin: Array, grid: Grid) -> Points:
    """Return the (N, 3) steps (x, y, z), mm, from voxels near the skin back to the skin."""
    step = float(grid.spacing[0])
    slope = np.stack([np.gradient(skin, step, axis=n).ravel() for n in (2, 1, 0)], axis=1)
    size = np.maximum((slope**2).sum(axis=1, keepdims=True), 0.25)
    return np.asarray(skin.reshape(-1, 1) * slope / size, dtype=np.float64)


def _outermost(away: Points) -> tuple[Points, Points]:
    """Return unit directions and radii of the farthest point in each small bin, and mirrored."""
    radius = np.linalg.norm(away, axis=1)
    direction = away / np.maximum(radius, 1e-6)[:, None]
    order = np.argsort(-radius, kind="stable")
    _, first = np.unique(np.round(direction[order] * 14).astype(int), axis=0, return_index=True)
    kept = order[first]
    both = np.concatenate([direction[kept], direction[kept] * [-1, 1, 1]])
    return both, np.concatenate([radius[kept]] * 2)


def _quadric(d: Points) -> Points:
    """Return the terms of a quadric symmetric about x = 0 along unit directions, (N, 6)."""
    x, y, z = d.T
    return np.stack([x * x, y * y, z * z, y, z, y * z], axis=1)


def _radius(d: Points, shape: NDArray[np.floating[Any]]) -> Points:
    return np.asarray(np.maximum(_quadric(d) @ shape, 1e-6) ** -0.5)
