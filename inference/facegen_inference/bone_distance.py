"""From the grey values of bone to a signed distance, exact to a fraction of a voxel nearby."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from facegen_inference.volume import Grid, sitk_image

CLIP_MM = 40.0
_BAND_SWEEPS = 3


def head_grid(low: NDArray[np.float64], high: NDArray[np.float64], spacing: float) -> Grid:
    """Return a grid along the patient axes that covers a box with `CLIP_MM` to spare.

    Parameters
    ----------
    low, high
        (3,) corners of the box, LPS mm.
    spacing
        Voxel size, mm.

    Notes
    -----
    (k, j, i) runs along (z, y, x).
    """
    start = np.floor((low - CLIP_MM) / spacing) * spacing
    count = np.ceil((high + CLIP_MM - start) / spacing).astype(int) + 1
    matrix = np.eye(4)
    matrix[:3, :3] = spacing * np.eye(3)[:, ::-1]
    matrix[:3, 3] = start
    return Grid((int(count[2]), int(count[1]), int(count[0])), matrix)


def sample(
    array: NDArray[np.generic],
    patient_from_voxel: NDArray[np.float64],
    target: Grid,
    fill: float,
    nearest: bool = False,
) -> NDArray[np.float32]:
    """Sample values of one grid on another, linearly or nearest, with all cores.

    The same as `facegen_inference.volume.resample` where that takes one core.
    """
    source = sitk_image(array, patient_from_voxel)
    reference = sitk_image(np.zeros((1, 1, 1), np.uint8), target.patient_from_voxel)
    how = sitk.ResampleImageFilter()
    how.SetSize([int(n) for n in target.shape[::-1]])
    how.SetOutputOrigin(reference.GetOrigin())
    how.SetOutputSpacing(reference.GetSpacing())
    how.SetOutputDirection(reference.GetDirection())
    how.SetInterpolator(sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear)
    how.SetDefaultPixelValue(fill)
    how.SetOutputPixelType(sitk.sitkUInt8 if nearest else sitk.sitkFloat32)
    return np.asarray(sitk.GetArrayFromImage(how.Execute(source)))


def signed_distance(
    values: NDArray[np.float32], level: float, spacing: float
) -> NDArray[np.float32]:
    """Return the signed distance in mm to where a field crosses a level; negative above it.

    Parameters
    ----------
    values
        (k, j, i) float32, bone above `level`; cubic voxels.
    level
        Value on the surface.
    spacing
        Voxel size, mm.

    Returns
    -------
    (k, j, i) float32, clipped to ±`CLIP_MM`.

    Notes
    -----
    Beside the surface the distance to the plane through the linearly interpolated crossings of
    the grid lines: 1/d² = Σ 1/dᵢ² over the axes.  The next voxels are filled by a few Jacobi
    sweeps of the discrete eikonal equation (Rouy & Tourin 1992).  Farther out Maurer's exact
    distance to the voxel surface takes over, with its mean offset against the former removed.
    """
    inside = values >= level
    image = sitk.GetImageFromArray(inside.view(np.uint8))
    far = sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False)
    )
    # Maurer counts from the centres of the outermost inside voxels, which lie on average this
    # deep as seen from afar (measured on spheres).
    far -= np.where(far > 0, np.float32(0.15), np.float32(0.85))
    box = _box(inside, _BAND_SWEEPS + 1)
    _refine(far, box, np.ascontiguousarray(values[box]), level)
    far *= spacing
    return np.asarray(np.clip(far, -CLIP_MM, CLIP_MM, out=far))


def _box(inside: NDArray[np.bool_], margin: int) -> tuple[slice, slice, slice]:
    """Return the slices around all inside voxels with a margin in voxels."""
    slices = []
    for axis in range(3):
        used = np.flatnonzero(inside.any(axis=tuple(n for n in range(3) if n != axis)))
        low, high = (used[0], used[-1]) if len(used) else (0, 0)
        slices.append(slice(max(0, int(low) - margin), int(high) + margin + 1))
    return slices[0], slices[1], slices[2]


def _refine(
    far: NDArray[np.float32],
    box: tuple[slice, slice, slice],
    values: NDArray[np.float32],
    level: float,
) -> None:
    """Overwrite `far` (voxels) near the surface; `values` is the field inside `box`."""
    inside = values >= level
    near = _beside_surface(values, level, inside)
    cut = np.ascontiguousarray(far[box])
    band = np.flatnonzero(np.abs(cut) <= _BAND_SWEEPS)
    flat = near.ravel()
    todo = band[np.isinf(flat[band])]
    for _ in range(_BAND_SWEEPS):
        flat[todo] = _eikonal(near, todo)
    found = band[np.isfinite(flat[band])]
    sign = np.where(inside.ravel()[found], np.float32(-1), np.float32(1))
    cut.ravel()[found] = sign * flat[found]
    far[box] = cut


def _beside_surface(
    values: NDArray[np.float32], level: float, inside: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the unsigned distance, in voxels, of voxels with a neighbour across; else inf."""
    total = np.zeros(values.size, dtype=np.float32)
    flat = values.ravel()
    for axis in range(3):
        step = values.strides[axis] // values.itemsize
        head = tuple(slice(None, -1) if n == axis else slice(None) for n in range(3))
        tail = tuple(slice(1, None) if n == axis else slice(None) for n in range(3))
        crossed = np.zeros(values.shape, dtype=bool)
        crossed[head] = inside[head] != inside[tail]
        lower = np.flatnonzero(crossed)
        upper = lower + step
        part = (level - flat[lower]) / (flat[upper] - flat[lower])
        along = np.zeros(values.size, dtype=np.float32)
        along[lower] = 1.0 / np.maximum(part, 1e-3) ** 2
        along[upper] = np.maximum(along[upper], 1.0 / np.maximum(1.0 - part, 1e-3) ** 2)
        total += along
    with np.errstate(divide="ignore"):
        near = 1.0 / np.sqrt(total)
    return np.asarray(near.reshape(values.shape), dtype=np.float32)


def _eikonal(near: NDArray[np.float32], where: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the distance at flat indices that their six neighbours imply, in voxels."""
    flat = near.ravel()
    neighbours = []
    for axis in range(3):
        step = near.strides[axis] // near.itemsize
        before = flat[np.maximum(where - step, 0)]
        after = flat[np.minimum(where + step, flat.size - 1)]
        neighbours.append(np.minimum(before, after))
    x, y, z = neighbours
    low, high = np.minimum(x, y), np.maximum(x, y)
    a, c = np.minimum(low, z), np.maximum(high, z)
    b = np.maximum(low, np.minimum(high, z))
    best = a + 1
    with np.errstate(invalid="ignore"):
        two = (a + b + np.sqrt(np.maximum(2 - (a - b) ** 2, 0))) / 2
        best = np.where(best > b, two, best)
        mean = a + b + c
        root = np.maximum(mean**2 - 3 * (a * a + b * b + c * c - 1), 0)
        three = (mean + np.sqrt(root)) / 3
    return np.asarray(np.where(best > c, three, best), dtype=np.float32)
