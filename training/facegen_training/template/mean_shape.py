"""The surfaces that the template is made of: a group's mean outer bone and mean skin.

Averaging distances of people who are only placed in the frame blurs thin bone away, so after a
first registration everyone is seen from the template and averaged again.  Both surfaces are
exactly symmetric, point for point: a mirrored person then is the same registration, mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, map_coordinates
from scipy.spatial import cKDTree

from facegen_inference.errors import UserError
from facegen_inference.mesh import Mesh
from facegen_inference.surface import isosurface, largest_piece
from facegen_inference.template_registration import Points, SmoothBasis
from facegen_inference.volume import Grid, resample

Array = NDArray[np.float32]

BONE_MM, SKIN_MM = 12.0, 30.0
"""Distances are clipped to these before averaging: far ones say nothing about shape."""
LEVEL_MM = 1.0
"""Averaging thins bone; its mean surface is taken so far outside."""
BEHIND_MM, ABOVE_MM = 25.0, 95.0
"""The template ends here in the frame: behind the ears, below the vertex."""
LEAST_SHARE = 0.3
"""Share of the people who must have been scanned where a point lies."""
COARSE_MM = 4.0
"""Spacing of the mean fields."""
APART_MM = 5.0
"""Points of bone are this far from each other."""
_CLEAR_MM = np.arange(4.0, 60.0, 2.0)
_WARP_MM = 8.0


@dataclass(frozen=True)
class Fields:
    """One person's fields, or a mean, (k, j, i) float32 on one grid: mm, 0/1, mm, 0/1."""

    bone: Array
    observed: Array
    skin: Array
    valid: Array


@dataclass
class FieldSum:
    """Running means of fields, symmetric about x = 0; weights are where people were scanned."""

    bone: NDArray[np.float64]
    observed: NDArray[np.float64]
    skin: NDArray[np.float64]
    valid: NDArray[np.float64]
    people: int = 0

    @staticmethod
    def empty(shape: tuple[int, int, int]) -> FieldSum:
        """Return sums over nobody."""
        return FieldSum(np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape))

    def add(self, one: Fields) -> None:
        """Take in one person."""
        self.bone += np.clip(one.bone, -BONE_MM, BONE_MM) * one.observed
        self.observed += one.observed
        self.skin += np.clip(one.skin, -SKIN_MM, SKIN_MM) * one.valid
        self.valid += one.valid
        self.people += 1

    def mean(self) -> Fields:
        """Return the means, and the share of people scanned at each voxel."""
        bone, seen, skin, valid = (
            a + a[:, :, ::-1] for a in (self.bone, self.observed, self.skin, self.valid)
        )
        bone = np.where(seen > 0, bone / np.maximum(seen, 1e-6), BONE_MM)
        skin = np.where(valid > 0, skin / np.maximum(valid, 1e-6), SKIN_MM)
        share = 2.0 * max(self.people, 1)
        return Fields(*(a.astype(np.float32) for a in (bone, seen / share, skin, valid / share)))


@dataclass(frozen=True)
class Surfaces:
    """Mean outer bone and mean skin near the face.

    Attributes
    ----------
    bone, bone_normals
        (N, 3) frame mm and unit vectors outward.
    skin, skin_normals
        The same of the skin, (M, 3).
    skin_mirror
        (M,) which point is the mirror image of each.
    triangles
        (T, 3) of the skin.
    """

    bone: Points
    bone_normals: Points
    skin: Points
    skin_normals: Points
    skin_mirror: NDArray[np.intp]
    triangles: NDArray[np.int32]


def coarse_grid(grid: Grid) -> Grid:
    """Return a grid over the same box, `COARSE_MM` apart and symmetric about x = 0."""
    low, high = grid.corners().min(axis=0), grid.corners().max(axis=0)
    half = int(max(-low[0], high[0]) / COARSE_MM + 0.5)
    start = low + (COARSE_MM - grid.spacing[0]) / 2
    k, j = (int((high[axis] - start[axis]) / COARSE_MM + 1e-6) + 1 for axis in (2, 1))
    matrix = np.zeros((4, 4))
    matrix[[2, 1, 0], [0, 1, 2]] = COARSE_MM
    matrix[:, 3] = [(0.5 - half) * COARSE_MM, start[1], start[2], 1.0]
    return Grid((k, j, 2 * half), matrix)


def coarse_fields(one: Fields, grid: Grid) -> Fields:
    """Return fields on the `coarse_grid`; known where all that a value is made from is."""
    onto, source = coarse_grid(grid), grid.patient_from_voxel
    seen, known = (
        (resample(a, source, onto, 0.0) > 0.99).astype(np.float32)
        for a in (one.observed, one.valid)
    )
    bone, skin = (resample(a, source, onto, 0.0) for a in (one.bone, one.skin))
    return Fields(bone, seen, skin, known)


def surfaces_of(mean: Fields, grid: Grid) -> Surfaces:
    """Return the surfaces of mean fields.

    Raises
    ------
    UserError
        When there is no bone or no skin in front.
    """
    skull = isosurface(mean.bone, grid.patient_from_voxel, LEVEL_MM)
    face = largest_piece(isosurface(mean.skin, grid.patient_from_voxel, 0.0))
    skull = skull.kept(_is_outer(skull, mean, grid))
    face = largest_piece(face.kept(_is_near(face.vertices, mean.valid, grid)))
    if len(skull.vertices) < 100 or len(face.vertices) < 100:
        raise UserError(
            "No skull and face are left in the mean of these people.", "Look at their pictures."
        )
    skull, skull_mirror = _symmetric(skull)
    face, face_mirror = _symmetric(face)
    few = _thinned(skull.vertices, skull_mirror)
    return Surfaces(
        skull.vertices[few],
        skull.normals()[few],
        face.vertices,
        face.normals(),
        face_mirror,
        face.triangles,
    )


def _sample(values: Array, grid: Grid, points: Points) -> Points:
    at = grid.voxel_points(points).T
    return np.asarray(map_coordinates(values, at, order=1, mode="nearest", output=np.float64))


def _is_near(points: Points, share: Array, grid: Grid) -> NDArray[np.bool_]:
    inside = (points[:, 1] < BEHIND_MM) & (points[:, 2] < ABOVE_MM)
    return np.asarray(inside & (_sample(share, grid, points) >= LEAST_SHARE))


def _is_outer(skull: Mesh, mean: Fields, grid: Grid) -> NDArray[np.bool_]:
    """Tell which bone is seen from outside: from the nearest skin, or from in front."""
    points, normals = skull.vertices, skull.normals()
    step = float(grid.spacing[0])
    slopes = [np.gradient(mean.skin, step, axis=axis).astype(np.float32) for axis in (2, 1, 0)]
    out = np.stack([_sample(g, grid, points) for g in slopes], axis=1)
    size = np.linalg.norm(out, axis=1)
    out /= np.maximum(size, 1e-6)[:, None]
    seen = _is_seen(points, normals, out, mean, grid) & (size > 0.3)
    seen |= _is_seen(points, normals, np.tile([0.0, -1.0, 0.0], (len(points), 1)), mean, grid)
    return np.asarray(seen & _is_near(points, mean.observed, grid))


def _is_seen(
    points: Points, normals: Points, out: Points, mean: Fields, grid: Grid
) -> NDArray[np.bool_]:
    """Tell from where no bone lies in the direction `out`, and the surface faces it."""
    clear = (normals * out).sum(axis=1) > 0
    for way in _CLEAR_MM:
        there = points + way * out
        bone, skin = _sample(mean.bone, grid, there), _sample(mean.skin, grid, there)
        clear &= (bone > LEVEL_MM) | (skin > 0)
    return np.asarray(clear)


def _symmetric(mesh: Mesh) -> tuple[Mesh, NDArray[np.intp]]:
    """Return the part of a mesh that has a mirror image, and which vertex mirrors which."""
    flip = np.array([-1.0, 1.0, 1.0])
    gap, _ = cKDTree(mesh.vertices).query(mesh.vertices * flip)
    kept = mesh.kept(np.asarray(gap < 0.05))
    _, partner = cKDTree(kept.vertices).query(kept.vertices * flip)
    partner = np.asarray(partner, dtype=np.intp)
    paired = partner[partner] == np.arange(len(partner))
    if not paired.all():
        kept = kept.kept(paired)
        _, partner = cKDTree(kept.vertices).query(kept.vertices * flip)
    return kept, np.asarray(partner, dtype=np.intp)


def _thinned(points: Points, mirror: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return indices of points no nearer to each other than `APART_MM`, in mirrored pairs."""
    tree = cKDTree(points)
    left = np.ones(len(points), dtype=bool)
    chosen = []
    for index in np.flatnonzero(points[:, 0] >= 0):
        if left[index]:
            pair = sorted({int(index), int(mirror[index])})
            chosen.extend(pair)
            for one in pair:
                left[tree.query_ball_point(points[one], APART_MM)] = False
    return np.array(chosen, dtype=np.intp)


class Warp:
    """Sees a person's fields from the template, on the template's grid."""

    def __init__(self, basis: SmoothBasis, grid: Grid) -> None:
        """Prepare for fields on `grid`."""
        self.grid = grid
        self._stride = max(1, round(_WARP_MM / float(grid.spacing[0])))
        self._shape = tuple(-(-(n - 1) // self._stride) + 1 for n in grid.shape)
        index = self._stride * np.indices(self._shape).reshape(3, -1).T.astype(np.float64)
        self._basis = basis.at(grid.patient_points(index))
        whole = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
        self._points = grid.patient_points(whole)

    def __call__(self, one: Fields, coefficients: Points) -> Fields:
        """Return the person's fields at p + u(p) for each voxel p."""
        coarse = (self._basis @ coefficients).T.reshape(3, *self._shape)
        full = [
            affine_transform(
                u, np.full(3, 1 / self._stride), output_shape=self.grid.shape, order=1
            ).ravel()
            for u in coarse
        ]
        at = self.grid.voxel_points(self._points + np.stack(full, axis=1)).T
        seen = (one.bone, one.observed, one.skin, one.valid)
        moved = [map_coordinates(a, at, order=1, mode="nearest") for a in seen]
        return Fields(*(a.reshape(self.grid.shape).astype(np.float32) for a in moved))
