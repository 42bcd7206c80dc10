"""Lay faces over a mean face by their surface alone: a face in a gallery has no skull."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from facegen_training.evaluation.face_map import TYPICAL_RADIUS_MM, MapGrid, Maps, sampled

STEPS = 25
CHUNK = 250
PIVOT = np.array([0.0, -80.0, -20.0], dtype=np.float32)
"""Middle of a face in the frame, mm: turning about it hardly shifts it."""
TUKEY = 4.685
"""Of the biweight, in robust standard deviations: 95 % efficient for Gaussian residuals."""
LEAST_SD_MM = 1.0
INDEPENDENT = 40.0
"""Neighbouring residuals are alike: all of a face's say as much as so many independent ones."""
PRIOR_SD = np.array([np.deg2rad(8)] * 3 + [10.0] * 3)
"""Of turn and shift, far wider than people differ: it only keeps half a face from sliding off."""
STRIDE = 3
"""Every so many rows and columns are used."""
REACH = np.array([[60.0, -60.0, 0.0], [-60.0, -60.0, -110.0], [-20.0, 30.0, -90.0]])
STILL_MM = 0.02
"""A step that moves three points across the face (columns of `REACH`) by less is the last."""


@dataclass(frozen=True)
class Target:
    """A mean face to align to.

    Attributes
    ----------
    mean
        (rows, columns) map, NaN outside the face.
    grid
        Of the map.
    """

    mean: Maps
    grid: MapGrid

    @cached_property
    def _slopes(self) -> tuple[Maps, Maps]:
        dz, da = self.grid.steps
        along_z, along_a = np.gradient(self.mean, dz, da)
        return np.asarray(along_z, dtype=np.float32), np.asarray(along_a, dtype=np.float32)

    def gap(self, points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return signed distances (N, P) of points (N, P, 3), to first order, and normals.

        Positive outside; NaN where the mean face does not reach.  Normals are (N, P, 3) units.
        """
        row, column, radius = self.grid.places(points)
        value, along_z, along_a = (
            sampled(m[None], row, column) for m in (self.mean, *self._slopes)
        )
        reach = np.maximum(radius, 1.0)
        out_x, out_y = points[..., 0] / reach, (points[..., 1] - self.grid.axis_y_mm) / reach
        # Azimuth grows from straight ahead (-y) to the left (+x): its unit vector.
        turn_x, turn_y = -out_y, out_x
        tangential = along_a / reach
        normal = np.stack(
            [out_x - tangential * turn_x, out_y - tangential * turn_y, -along_z], axis=-1
        )
        length = np.sqrt(1 + tangential**2 + along_z**2)
        gap = np.asarray((radius - value) / length, dtype=np.float32)
        return gap, np.asarray(normal / length[..., None], dtype=np.float32)


def aligned_poses(maps: Maps, target: Target, steps: int = STEPS) -> NDArray[np.float64]:
    """Return the rigid motion that lays each face over the mean face.

    Parameters
    ----------
    maps
        (N, rows, columns) in any pose near the frame.
    target
        The mean face.
    steps
        Of Gauss-Newton; points meet the surface that lies before them, along its normal.

    Returns
    -------
    (N, 4, 4), mean face's space from the map's.

    Notes
    -----
    Point-to-plane registration (Chen and Medioni 1992) with Tukey's biweight, whose scale is the
    median absolute residual of each face at each step.
    """
    parts = [
        _poses(maps[start : start + CHUNK], target, steps) for start in range(0, len(maps), CHUNK)
    ]
    return np.concatenate(parts) if parts else np.empty((0, 4, 4))


def _poses(maps: Maps, target: Target, steps: int) -> NDArray[np.float64]:
    points = target.grid.points(maps)[:, ::STRIDE, ::STRIDE].reshape(len(maps), -1, 3)
    known = np.isfinite(points).all(axis=-1)
    points = np.ascontiguousarray(points[:, known.any(axis=0)])
    poses = np.tile(np.eye(4), (len(maps), 1, 1))
    going = np.arange(len(maps))
    for _ in range(steps):
        at = moved_points(points[going], poses[going])
        gap, normal = target.gap(at)
        step = _step(at - PIVOT, normal, gap, _motion(poses[going]))
        poses[going] = step @ poses[going]
        corners = step[:, :3, :3] @ REACH + step[:, :3, 3:] - REACH
        going = going[np.abs(corners).max(axis=(1, 2)) > STILL_MM]
        if not len(going):
            break
    return poses


def _motion(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return turn (sine times axis) and shift of `PIVOT` so far, (N, 6)."""
    r = poses[:, :3, :3]
    turn = np.stack(
        [r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], axis=1
    )
    return np.concatenate([turn / 2, r @ PIVOT + poses[:, :3, 3] - PIVOT], axis=1)


def _step(
    at: NDArray[np.float32],
    normal: NDArray[np.float32],
    gap: NDArray[np.float32],
    motion: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the small motions (N, 4, 4) that lessen the gaps most, points given from `PIVOT`."""
    use = np.isfinite(gap) & np.isfinite(normal).all(axis=-1)
    safe = np.where(use, gap, 0)
    ordered = np.sort(np.where(use, np.abs(safe), np.inf), axis=1)
    middle = np.take_along_axis(ordered, use.sum(axis=1, keepdims=True) // 2, axis=1)
    sd = np.maximum(1.4826 * np.where(np.isfinite(middle), middle, 0), LEAST_SD_MM)
    weight = np.maximum(1 - (safe / (TUKEY * sd)) ** 2, 0) ** 2 * use
    share = INDEPENDENT / np.maximum(weight.sum(axis=1, keepdims=True), 1) / sd**2
    lever = np.where(use[..., None], np.concatenate([np.cross(at, normal), normal], axis=-1), 0)
    weighted = np.swapaxes(lever * (weight * share)[..., None], 1, 2).astype(np.float32)
    normals = (weighted @ lever).astype(np.float64) + np.diag(PRIOR_SD**-2)
    right = -(weighted @ safe[..., None])[..., 0].astype(np.float64) - motion / PRIOR_SD**2
    change = np.linalg.solve(normals, right[..., None])[..., 0]
    turn = _rotations(change[:, :3])
    pivot = PIVOT.astype(np.float64)
    step = np.tile(np.eye(4), (len(change), 1, 1))
    step[:, :3, :3] = turn
    step[:, :3, 3] = change[:, 3:] + pivot - turn @ pivot
    return step


def _rotations(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotations (N, 3, 3) of rotation vectors (N, 3) in radians (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    axis = vectors / np.maximum(angle[:, 0], 1e-12)
    zero = np.zeros(len(axis))
    x, y, z = axis.T
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross))


def moved_points(points: NDArray[np.float32], poses: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return points (N, P, 3) under motions (N, 4, 4)."""
    turned = points @ np.swapaxes(poses[:, :3, :3], 1, 2).astype(np.float32)
    return np.asarray(turned + poses[:, None, :3, 3].astype(np.float32))


def moved(maps: Maps, poses: NDArray[np.float64], grid: MapGrid) -> Maps:
    """Return the maps (N, rows, columns) of faces after rigid motions (N, 4, 4).

    Along each ray of the new map the radius is sought at which the point, taken back, lies on the
    old surface: a fixed point, as the motions are small.
    """
    parts = []
    for start in range(0, len(maps), CHUNK):
        part = maps[start : start + CHUNK]
        back = np.asarray(np.linalg.inv(poses[start : start + CHUNK]), dtype=np.float64)
        radius = np.where(np.isfinite(part), part, np.float32(TYPICAL_RADIUS_MM))
        for last in (False,) * 4 + (True,):
            at = moved_points(grid.points(radius).reshape(len(part), -1, 3), back)
            row, column, reach = grid.places(at)
            change = (sampled(part, row, column) - reach).reshape(radius.shape)
            radius = radius + (change if last else np.nan_to_num(change))
        parts.append(radius)
    return np.concatenate(parts) if parts else maps
