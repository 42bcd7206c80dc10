"""The space of the training people's skulls, and where one skull lies in and beside it.

A mean skull and directions in which skulls vary, as signed distances to bone on a coarse grid of
the Frankfurt frame, size taken out.  One skull is laid on it by a similarity, then bent along the
directions; what its own bone still misses by is left over.  Only bone that is there is asked, so
that a missing jaw, a hole or the edge of the scan is no misfit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, map_coordinates
from scipy.spatial.transform import Rotation

from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.registration import Matrix, Points, surface_points
from facegen_inference.volume import Grid

Field = NDArray[np.float32]

CENTRE = np.array([0.0, -40.0, -10.0])
"""About the middle of the facial skull, frame mm; sizes and turns are about it."""
POINTS = 6000
SCALES_MM = (12.0, 8.0, 5.0, 4.0)
"""Scales of the Geman-McClure weight while a skull is laid on the mean, wide to narrow."""
_ROUNDS = 10
_FEWEST = 300
_EDGE_MM = 4.0
"""So near to what was not scanned a distance to bone is not sure."""
_FACE = (-25.0, 45.0, 75.0)
"""The upper face on the mean skull: y below, z below, |x| below, mm; and above `JAW_Z`."""
JAW_Z = -35.0
"""Below this the mean skull may be a jaw's, which is often missing."""
_TRIMMED = 0.8
_FAR_MM = 6.0
_NOISE_MM, _INDEPENDENT = 2.0, 300
"""Error of one bone point, and how many of them count as independent of each other: what the
directions' own spread is weighed against."""


@dataclass(frozen=True)
class SkullSpace:
    """Mean skull and directions.

    Attributes
    ----------
    mean
        (k, j, i) float32, mean signed distance to bone, mm, clipped; NaN where too few people were
        scanned to say, which counts for nothing.
    directions
        (n, k, j, i) float32: one SD along each direction, mm.
    grid
        Their grid, axis-aligned in the Frankfurt frame, size of the mean.
    clip_mm
        Distances are clipped to ±this.
    surface
        (M, 3) points on the mean skull, frame mm.
    """

    mean: Field
    directions: Field
    grid: Grid
    clip_mm: float
    surface: Points


@dataclass(frozen=True)
class Bone:
    """One skull as a network is given it.

    Attributes
    ----------
    distance
        (Z, Y, X) float32 signed distance to bone, mm.
    sure
        (Z, Y, X) uint8, 1 where the scanner looked, its edge left out.
    grid
        Of the preprocessing.
    points
        (N, 3) points on the bone's surface, frame mm.
    """

    distance: Field
    sure: NDArray[np.uint8]
    grid: Grid
    points: Points

    @staticmethod
    def of(fields: Field, spec: PreprocessSpec) -> Bone:
        """Return the bone of what `facegen_inference.preprocess.preprocess` gave, (2, Z, Y, X)."""
        rounds = max(1, round(_EDGE_MM / spec.spacing_mm))
        sure = binary_erosion(fields[1] > 0.5, iterations=rounds, border_value=1)
        points = surface_points(fields[0], spec.grid, 2 * POINTS)
        voxel = np.clip(np.round(spec.grid.voxel_points(points)).astype(int), 0, None)
        voxel = np.minimum(voxel, np.array(spec.shape) - 1)
        points = points[sure[tuple(voxel.T)]][:POINTS]
        return Bone(fields[0], sure.astype(np.uint8), spec.grid, points)


@dataclass(frozen=True)
class Place:
    """Where one skull lies; NaN where too little bone is there to tell.

    Attributes
    ----------
    size
        Of the whole, the mean skull's being 1.
    face_size
        Of the upper face alone.
    misfit_mm
        Distance of the bone to the bent mean skull, the worst fifth left out.
    far_percent
        Bone farther than 6 mm from it.
    upper_far_percent
        Of the bone above the jaw, where no open mouth and few streaks are.
    shape_sd
        Root mean square of the shape's coefficients, in SD of the training people.
    missing_percent
        Of the upper face, where the scan holds no bone though it looked there.
    turned_deg, moved_mm
        How the frame differs from that in which the mean skull lies on this one.
    """

    size: float
    face_size: float
    misfit_mm: float
    far_percent: float
    upper_far_percent: float
    shape_sd: float
    missing_percent: float
    turned_deg: float
    moved_mm: float


def scale_of(matrix: Matrix) -> float:
    """Return the scale of a similarity."""
    return float(np.cbrt(np.linalg.det(matrix[:3, :3])))


def moved(points: Points, matrix: Matrix) -> Points:
    """Return (N, 3) points under a 4×4 matrix."""
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def inverse(matrix: Matrix) -> Matrix:
    """Return the inverse of a 4×4 matrix."""
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def read(field: NDArray[np.generic], grid: Grid, points: Points, order: int = 1) -> Points:
    """Return a field at (N, 3) frame points, the nearest value beyond its edge."""
    voxel = grid.voxel_points(points).T
    return np.asarray(map_coordinates(field, voxel, order=order, mode="nearest"), dtype=np.float64)


def slope(field: NDArray[np.generic], grid: Grid, points: Points) -> Points:
    """Return the gradient of a field at (N, 3) points, over the width of two voxels, (N, 3)."""
    voxel = grid.voxel_points(points).T
    found = np.empty_like(points)
    for row in range(3):
        step = np.zeros((3, 1))
        step[row] = 1.0
        ahead, behind = (
            map_coordinates(field, voxel + way * step, order=1, mode="nearest") for way in (1, -1)
        )
        found[:, 2 - row] = (ahead - behind) / (2 * grid.spacing[row])
    return found


def _normal(
    points: Points, miss: Points, gradient: Points, scale: float, clip: float
) -> tuple[Points, Points]:
    """Return the robust normal equations of one small turn, shift and growth, (7, 7) and (7,)."""
    use = (np.abs(miss) < min(3 * scale, clip - 0.5)) & np.isfinite(gradient).all(axis=1)
    p, g, d = points[use] - CENTRE, gradient[use], miss[use]
    weight = 1.0 / (1.0 + (d / scale) ** 2) ** 2
    columns = np.hstack([g, np.cross(p, g), (p * g).sum(axis=1, keepdims=True)])
    weighted = (columns * weight[:, None]).T
    return weighted @ columns, weighted @ d


def align(
    bone: Bone,
    space: SkullSpace,
    start: Matrix | None = None,
    scales: tuple[float, ...] = SCALES_MM,
    region: str = "all",
) -> Matrix:
    """Lay a skull on the mean skull.

    Gauss-Newton on both signed distances with a redescending weight (Geman and McClure): points
    of the bone in the mean skull's field, points of the mean skull in the bone's field where that
    was scanned.  Both ways are needed, lest everything shrink onto one place.

    Parameters
    ----------
    bone, space
        The skull and the space.
    start
        4×4 similarity to begin with; the frame itself where None.
    scales
        Of the weight, mm, one after the other.
    region
        ``all`` or ``face`` (the upper face, no jaw): the bone that has a say.

    Returns
    -------
    4×4 similarity, frame mm → mm of the space.
    """
    matrix = np.eye(4) if start is None else start.copy()
    own, others = bone.points[::2], space.surface
    if region == "face":
        own, others = own[in_face(moved(own, matrix))], others[in_face(others)]
    for scale in scales:
        for _ in range(_ROUNDS):
            update = _update(bone, space, matrix, (own, others), scale)
            matrix = update @ matrix
            if np.abs(update - np.eye(4))[:3].max() < 0.03:
                break
    return matrix


def _update(
    bone: Bone, space: SkullSpace, matrix: Matrix, points: tuple[Points, Points], scale: float
) -> Matrix:
    """Return one Gauss-Newton step as a similarity."""
    there = moved(points[0], matrix)
    miss = read(space.mean, space.grid, there)
    square, right = _normal(there, miss, slope(space.mean, space.grid, there), scale, space.clip_mm)
    size = scale_of(matrix)
    back = moved(points[1], inverse(matrix))
    seen = read(bone.sure, bone.grid, back, order=0) > 0
    back, others = back[seen], points[1][seen]
    miss = read(bone.distance, bone.grid, back) * size
    gradient = slope(bone.distance, bone.grid, back) @ (matrix[:3, :3] / size).T
    more = _normal(others, miss, -gradient, scale, space.clip_mm)
    square, right = square + more[0], right + more[1]
    count = len(there) + len(others)
    square += count * np.diag([1e-3] * 3 + [0.1] * 4)
    step = -np.linalg.solve(square, right)
    grown = np.exp(np.clip(step[6], -0.05, 0.05))
    turn = Rotation.from_rotvec(step[3:6]).as_matrix() * grown
    update = np.eye(4)
    update[:3, :3] = turn
    update[:3, 3] = CENTRE + step[:3] - turn @ CENTRE
    return update


def in_face(points: Points) -> NDArray[np.bool_]:
    """Return which (N, 3) points, mm of the space, lie in the upper face."""
    back, top, side = _FACE
    z = points[:, 2]
    return np.asarray(
        (points[:, 1] < back) & (z < top) & (z > JAW_Z) & (np.abs(points[:, 0]) < side)
    )


def place(bone: Bone, space: SkullSpace) -> Place:
    """Measure where a skull lies in the space."""
    nothing = float("nan")
    if len(bone.points) < _FEWEST:
        return Place(*[nothing] * 9)
    matrix = align(bone, space)
    at = moved(bone.points, matrix)
    voxel = space.grid.voxel_points(at)
    at = at[((voxel >= 0) & (voxel <= np.array(space.grid.shape) - 1)).all(axis=1)]
    at = at[np.isfinite(read(space.mean, space.grid, at))]
    if len(at) < _FEWEST:
        return Place(*[nothing] * 9)
    rest, shape = _bend(at, space)
    far = 100 * (np.abs(rest) > _FAR_MM)
    upper = at[:, 2] > JAW_Z
    left = np.sort(np.abs(rest))
    face = nothing
    if in_face(at).sum() >= _FEWEST:
        face = 1 / scale_of(align(bone, space, matrix, SCALES_MM[-2:], "face"))
    size = scale_of(matrix)
    turn = Rotation.from_matrix(matrix[:3, :3] / size).magnitude()
    return Place(
        size=1 / size,
        face_size=face,
        misfit_mm=float(left[: int(_TRIMMED * len(left))].mean()),
        far_percent=float(far.mean()),
        upper_far_percent=float(far[upper].mean()) if upper.sum() >= _FEWEST else nothing,
        shape_sd=float(np.sqrt((shape**2).mean())),
        missing_percent=_missing(bone, space, matrix),
        turned_deg=float(np.degrees(turn)),
        moved_mm=float(np.linalg.norm(moved(CENTRE, matrix) - CENTRE)),
    )


def _bend(at: Points, space: SkullSpace) -> tuple[Points, Points]:
    """Bend the mean skull to points, (N, 3); return what is left, (N,) mm, and the shape, (n,)."""
    miss = read(space.mean, space.grid, at)
    columns = np.stack([read(d, space.grid, at) for d in space.directions], axis=1)
    prior = _NOISE_MM**2 * len(at) / _INDEPENDENT * np.eye(len(space.directions))
    shape: Points = np.zeros(len(space.directions))
    for _ in range(15):
        weight = 1.0 / (1.0 + ((miss + columns @ shape) / SCALES_MM[-1]) ** 2) ** 2
        weighted = (columns * weight[:, None]).T
        shape = np.asarray(-np.linalg.solve(weighted @ columns + prior, weighted @ miss))
    return miss + columns @ shape, shape


def _missing(bone: Bone, space: SkullSpace, matrix: Matrix) -> float:
    """Return how much of the upper face has no bone though it was scanned, percent."""
    face = space.surface[in_face(space.surface)]
    there = moved(face, inverse(matrix))
    there = there[read(bone.sure, bone.grid, there, order=0) > 0]
    if len(there) < _FEWEST // 10:
        return float("nan")
    return float(100 * (read(bone.distance, bone.grid, there) > _FAR_MM).mean())
