"""A smooth deformation that carries the template skull onto a skull already laid in the frame."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from facegen_inference.volume import Grid

LEVELS_MM = ((8.0, 40, 2.0, 20.0), (4.0, 25, 1.6, 12.0))
"""Grid spacing in mm, iterations, field smoothing in voxels, clip of the distances in mm."""


def deform(
    template: NDArray[np.float32],
    subject: NDArray[np.float32],
    grid: Grid,
    levels: tuple[tuple[float, int, float, float], ...] = LEVELS_MM,
) -> tuple[NDArray[np.float32], Grid]:
    """Find the displacement that carries the template onto the subject.

    Symmetric-forces demons (Thirion 1998; Vercauteren 2009, SimpleITK) on clipped signed
    distances, coarse to fine.

    Parameters
    ----------
    template, subject
        (k, j, i) float32 signed distance to bone, mm, both on `grid`.  Where the subject was not
        scanned it must hold the template's values, so that nothing pulls there.
    grid
        Axis-aligned frame grid with equal spacing, (k, j, i) = (z, y, x).

    Returns
    -------
    (k, j, i, 3) float32, (x, y, z) mm: template point p lies at p + u(p) in the subject; and the
    field's own grid, that of the finest level.
    """
    spacing = float(grid.spacing[0])
    field: NDArray[np.float32] | None = None
    for size, iterations, smooth, clip in levels:
        fixed, moving = (_coarse(a, spacing, size, clip) for a in (template, subject))
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations(smooth)
        demons.SetSmoothUpdateField(True)
        demons.SetUpdateFieldStandardDeviations(1.0)
        start = np.zeros((*_shape(fixed), 3)) if field is None else _resized(field, _shape(fixed))
        initial = sitk.GetImageFromArray(start.astype(np.float64), isVector=True)
        initial.CopyInformation(fixed)
        out = demons.Execute(fixed, moving, initial)
        field = sitk.GetArrayFromImage(out).astype(np.float32)
    if field is None:
        raise ValueError("deform needs at least one level")
    return field, _coarse_grid(grid, (field.shape[0], field.shape[1], field.shape[2]))


def _coarse_grid(grid: Grid, shape: tuple[int, int, int]) -> Grid:
    """Return the grid of `shape` voxels that fills the same box as `grid`."""
    ratio = np.array(grid.shape) / np.array(shape)
    scale = np.diag([*ratio, 1.0])
    scale[:3, 3] = (ratio - 1) / 2
    return Grid(shape, grid.patient_from_voxel @ scale)


def _shape(image: sitk.Image) -> tuple[int, int, int]:
    i, j, k = image.GetSize()
    return k, j, i


def _coarse(a: NDArray[np.float32], spacing: float, size: float, clip: float) -> sitk.Image:
    clipped = np.clip(a, -clip, clip).astype(np.float32)
    smooth = gaussian_filter(clipped, 0.4 * size / spacing)
    small = zoom(smooth, spacing / size, order=1, grid_mode=True, mode="nearest")
    image = sitk.GetImageFromArray(small)
    image.SetSpacing([size] * 3)
    return image


def _resized(field: NDArray[np.float32], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    factors = [n / m for n, m in zip(shape, field.shape[:3], strict=True)]
    parts = [
        zoom(field[..., n], factors, order=1, grid_mode=True, mode="nearest") for n in range(3)
    ]
    return np.stack(parts, axis=-1)


def carried(
    points: NDArray[np.float64], field: NDArray[np.float32], grid: Grid
) -> NDArray[np.float64]:
    """Carry (N, 3) template points in frame mm onto the subject."""
    voxel = grid.voxel_points(points).T
    shift = [map_coordinates(field[..., n], voxel, order=1, mode="nearest") for n in range(3)]
    return np.asarray(points + np.stack(shift, axis=1))
