"""A face as a picture of radii round an upright axis, so that thousands can be compared at once.

Rows go from below to above, columns from the examinee's right to the left.  A cell holds how far
the skin lies from the axis along a level ray, NaN where the face does not reach: not scanned, or
outside the scored region.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from facegen_inference.mesh import Mesh

Maps = NDArray[np.float32]
"""(..., rows, columns) radii in mm, NaN where unknown."""

TYPICAL_RADIUS_MM = 90.0
BANDS_MM = (3.0, 4.5, 6.7, 10.0, 15.0, 22.0)
"""Standard deviations of the Gaussians between which detail is looked at."""
SMOOTHING_MM = 3.0
"""Standard deviation of the low-pass that every map is given: coarse scans know no finer shape."""


@dataclass(frozen=True)
class MapGrid:
    """Cells of the map, in the Frankfurt frame.

    Attributes
    ----------
    axis_y_mm
        Where the upright axis stands, midway between the sides.
    turn_deg
        Columns reach from minus to plus this, 0 straight ahead.
    columns
        How many.
    z_mm
        Height of the lowest and of the highest row.
    rows
        How many.
    """

    axis_y_mm: float = -15.0
    turn_deg: float = 88.0
    columns: int = 89
    z_mm: tuple[float, float] = (-126.0, 84.0)
    rows: int = 71

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.rows, self.columns

    @cached_property
    def azimuth(self) -> NDArray[np.float32]:
        """Of the columns, radians, positive to the examinee's left."""
        turn = np.deg2rad(self.turn_deg)
        return np.linspace(-turn, turn, self.columns).astype(np.float32)

    @cached_property
    def height(self) -> NDArray[np.float32]:
        """Of the rows, mm."""
        return np.linspace(*self.z_mm, self.rows).astype(np.float32)

    @cached_property
    def steps(self) -> tuple[float, float]:
        """Mm from row to row and radians from column to column."""
        return float(self.height[1] - self.height[0]), float(self.azimuth[1] - self.azimuth[0])

    def places(self, points: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Return row, column (fractions of cells) and radius in mm of (..., 3) frame points."""
        x, ahead = points[..., 0], self.axis_y_mm - points[..., 1]
        dz, da = self.steps
        row = (points[..., 2] - self.height[0]) / dz
        column = (np.arctan2(x, ahead) - self.azimuth[0]) / da
        return row, column, np.hypot(x, ahead)

    def points(self, maps: Maps) -> NDArray[np.float32]:
        """Return the frame points (..., rows, columns, 3) of maps."""
        x = maps * np.sin(self.azimuth)
        y = self.axis_y_mm - maps * np.cos(self.azimuth)
        z = np.broadcast_to(self.height[:, None], maps.shape)
        return np.stack([x, y, z], axis=-1).astype(np.float32)


@dataclass(frozen=True)
class Cover:
    """Which triangle each cell's ray meets: the meshing of one face, apart from its shape.

    Attributes
    ----------
    cell
        (C,) flat index of the cells that are met.
    corner
        (C, 3) vertices of the triangle.
    weight
        (C, 3) barycentric.
    place
        (N, 2) row and column of every vertex of the mesh.
    """

    cell: NDArray[np.intp]
    corner: NDArray[np.int32]
    weight: NDArray[np.float32]
    place: NDArray[np.float32]


def cover(mesh: Mesh, grid: MapGrid) -> tuple[Cover, NDArray[np.float32]]:
    """Return how a mesh in the frame covers the cells, and its vertices' radii (N,) mm.

    Where a ray meets several triangles the outermost counts.
    """
    row, column, radius = grid.places(mesh.vertices.astype(np.float32))
    place = np.stack([row, column], axis=-1)
    rows, columns = grid.shape
    corners = place[mesh.triangles].astype(np.float64)
    near = np.ptp(corners[:, :, 1], axis=1) < columns / 4  # not across the back
    low = np.maximum(np.ceil(corners.min(axis=1)), 0).astype(int)
    high = np.minimum(np.floor(corners.max(axis=1)), [rows - 1, columns - 1]).astype(int)
    span = np.where(near[:, None], np.maximum(high - low + 1, 0), 0)
    count = span[:, 0] * span[:, 1]
    owner = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    wide = np.maximum(span[owner, 1], 1)
    cell = np.stack([low[owner, 0] + within // wide, low[owner, 1] + within % wide], axis=-1)
    weight = _barycentric(cell.astype(np.float64), corners[owner])
    met = (weight > -1e-6).all(axis=1)
    owner, cell, weight = owner[met], cell[met], weight[met]
    corner = mesh.triangles[owner]
    flat = cell[:, 0] * columns + cell[:, 1]
    order = np.lexsort([(radius[corner] * weight).sum(axis=1), flat])
    last = order[np.flatnonzero(np.diff(flat[order], append=-1))]
    found = Cover(flat[last], corner[last], weight[last].astype(np.float32), place)
    return found, radius


def _barycentric(at: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights (N, 3) of the corners (N, 3, 2) at points (N, 2); -1 for a sliver."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    u, v, w = b - a, c - a, at - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    safe = np.where(np.abs(area) < 1e-9, 1.0, area)
    second = (w[:, 0] * v[:, 1] - w[:, 1] * v[:, 0]) / safe
    third = (u[:, 0] * w[:, 1] - u[:, 1] * w[:, 0]) / safe
    weight = np.stack([1 - second - third, second, third], axis=1)
    weight[np.abs(area) < 1e-9] = -1
    return weight


def map_of(mesh: Mesh, grid: MapGrid) -> Maps:
    """Return the map (rows, columns) of a mesh whose vertices are in the frame, mm."""
    found, radius = cover(mesh, grid)
    flat = np.full(grid.rows * grid.columns, np.nan, dtype=np.float32)
    flat[found.cell] = (radius[found.corner] * found.weight).sum(axis=1)
    return flat.reshape(grid.shape)


def sampled(
    maps: Maps, row: NDArray[np.float32], column: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return maps (N, rows, columns) at N rows of places (N, P), bilinear; NaN where unknown.

    One map (1, rows, columns) serves all N rows of places.
    """
    count, rows, columns = maps.shape
    inside = (row >= 0) & (row <= rows - 1) & (column >= 0) & (column <= columns - 1)
    row, column = np.where(inside, row, 0), np.where(inside, column, 0)
    r0 = np.minimum(row.astype(np.int32), rows - 2)
    c0 = np.minimum(column.astype(np.int32), columns - 2)
    fr, fc = row - r0, column - c0
    first = np.arange(count, dtype=np.int32)[:, None] * (rows * columns) + r0 * columns + c0
    flat = maps.reshape(-1)
    low = flat[first] * (1 - fc) + flat[first + 1] * fc
    high = flat[first + columns] * (1 - fc) + flat[first + columns + 1] * fc
    value = low * (1 - fr) + high * fr
    value[~inside] = np.nan
    return np.asarray(value, dtype=np.float32)


def mean_known(
    values: NDArray[np.floating], axis: int | tuple[int, ...] = 0
) -> NDArray[np.float32]:
    """Return the mean of the known values along axes; NaN where none is."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def low_passed(differences: Maps, grid: MapGrid, sigma_mm: float = SMOOTHING_MM) -> Maps:
    """Return maps smoothed where they are known; unknown cells stay unknown.

    Parameters
    ----------
    differences
        (N, rows, columns) mm from a mean face: radii themselves fall off towards an edge.
    grid
        Of the maps.
    sigma_mm
        Standard deviation of the Gaussian.
    """
    sigma = (0.0, sigma_mm / grid.steps[0], sigma_mm / (TYPICAL_RADIUS_MM * grid.steps[1]))
    known = np.isfinite(differences)
    total = gaussian_filter(np.where(known, differences, 0), sigma, mode="constant")
    weight = gaussian_filter(known.astype(np.float32), sigma, mode="constant")
    return np.where(known, total / np.maximum(weight, 1e-6), np.nan).astype(np.float32)


def bands_of(differences: Maps, grid: MapGrid) -> list[Maps]:
    """Return maps (N, rows, columns) in bands of size, finest first; they add up to the maps."""
    levels = [differences, *(low_passed(differences, grid, sigma) for sigma in BANDS_MM)]
    parts = [fine - coarse for fine, coarse in pairwise(levels)]
    return [*parts, levels[-1]]
