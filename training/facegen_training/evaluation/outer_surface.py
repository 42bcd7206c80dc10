"""A skull as a surface scanner sees it: only the outside, nothing of what lies within.

Space is carved as from depth images of many cameras.  A scanner finds depth from two directions,
its projector's and its camera's: what is seen from at least two is empty, and whatever is not is
solid, be it bone, marrow, sinus or the cavity of the brain.  That cavity, and the vertex where the
scan ends below it, block the view: in a coarse CT plates of bone are missing that a skull has.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, label, map_coordinates
from scipy.spatial import ConvexHull

from facegen_inference.atlas import load_atlas
from facegen_inference.reconstruct import Prepared, place
from facegen_inference.scan import Scan
from facegen_inference.skull import Skull, skull_from_mesh
from facegen_inference.surface import isosurface
from facegen_inference.volume import Grid, resample, sitk_image
from facegen_training.evaluation.damage import on_mean_skull

CAMERAS = 48
"""Directions, even over the sphere: neighbours are about 29 degrees apart."""
SEEN_BY = 2
STEP_MM = 2.0
"""Of the grid on which is carved; the surface itself keeps the resolution of the skull."""
RIM_MM = 8.0
"""Bone so near below the highest is the rim of a vault that the scan cuts."""
LEAST_RIM = 50
CLOSING_MM = 22.0

Mask = NDArray[np.bool_]


def outer_surface(scan: Scan, own: Prepared) -> Prepared:
    """Return the skull of a scan as made from a surface scan of it, placed anew.

    Parameters
    ----------
    scan
        The scan of bone alone.
    own
        Its skull.

    Returns
    -------
    A skull made by `skull_from_mesh` from the closed outer surface; where the scanner looked is
    kept from the CT, which ends somewhere, as a whole skull under a surface scanner does not.
    """
    return made_of(carved(own), scan, own)


def made_of(solid: NDArray[np.float32], scan: Scan, own: Prepared) -> Prepared:
    """Return the skull of a `carved` one's surface; see `outer_surface`."""
    skull = own.skull
    mesh = isosurface(solid, skull.grid.patient_from_voxel, 0.0)
    made = skull_from_mesh(mesh)
    seen = resample(
        skull.observed.astype(np.float32), skull.grid.patient_from_voxel, made.grid, 0.0
    )
    made = replace(made, observed=np.asarray(seen > 0.5), voxel_mm=skull.voxel_mm)
    shown = replace(scan, volume=None, mesh=mesh)
    return place(shown, made)


def carved(own: Prepared) -> NDArray[np.float32]:
    """Return a skull's signed distance with all that no scanner sees into filled, mm.

    Parameters
    ----------
    own
        Skull, landmarks and frame.

    Returns
    -------
    (k, j, i) float32 on the skull's grid: the distance to bone outside, -`STEP_MM` or less in
    what is hidden.

    Raises
    ------
    UserError
        When too few landmarks were found to tell where the brain was.
    """
    skull, patient_from_frame = own.skull, own.frame.patient_from_frame
    box = _box(skull)
    part = Grid(_shape(skull.distance[box]), skull.grid.patient_from_voxel.copy())
    start = np.array([[float(one.start) for one in box]])
    part.patient_from_voxel[:3, 3] = skull.grid.patient_points(start)[0]
    blocked = _lid(skull, patient_from_frame)[box] | _brain(part, own)
    opaque = np.where(blocked, np.float32(-STEP_MM), skull.distance[box])
    low, high = part.corners().min(axis=0), part.corners().max(axis=0)
    size = int(np.ceil(float(np.linalg.norm(high - low)) / STEP_MM)) + 1
    bone = sitk_image(opaque, part.patient_from_voxel)
    seen = np.zeros(part.shape, dtype=np.uint8)
    for direction in cameras() @ patient_from_frame[:3, :3].T:
        grid = _facing(direction, (low + high) / 2, size)
        free = _free(_sampled(bone, grid, 40.0) < 0)
        back = sitk_image(free.astype(np.float32), grid.patient_from_voxel)
        seen += _sampled(back, part, 1.0) > 0.5
    hidden = np.zeros(skull.grid.shape, dtype=bool)
    hidden[box] = seen < SEEN_BY
    hidden &= (skull.distance > 0) & skull.observed
    return np.where(hidden, np.float32(-STEP_MM), skull.distance)


def _brain(grid: Grid, own: Prepared) -> Mask:
    """Tell which voxels lie where the mean skull has its brain."""
    cavity, mean = brain_cavity(), load_atlas().grid
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    there = mean.voxel_points(on_mean_skull(grid.patient_points(index), own)).T
    inside = map_coordinates(cavity.astype(np.uint8), np.round(there), order=0, cval=0)
    return np.asarray(inside > 0).reshape(grid.shape)


@cache
def brain_cavity() -> Mask:
    """Return the cavity of the mean skull's brain, (k, j, i) on the atlas' grid.

    What is enclosed once gaps of up to twice `CLOSING_MM` are closed, the foramen magnum among
    them.
    """
    atlas = load_atlas()
    radius = round(CLOSING_MM / float(atlas.grid.spacing[0]))
    padded = np.pad((atlas.bone < 0).astype(np.uint8), radius + 1)
    image = sitk.BinaryMorphologicalClosing(sitk.GetImageFromArray(padded), [radius] * 3)
    inner = slice(radius + 1, -radius - 1)
    closed = sitk.GetArrayFromImage(image).astype(bool)[inner, inner, inner]
    pieces, _ = label(binary_fill_holes(closed) & ~closed)
    size = np.bincount(pieces.ravel())
    size[0] = 0
    return np.asarray(pieces == size.argmax())


def _box(skull: Skull) -> tuple[slice, ...]:
    """Return the slices around the bone, two voxels wider: beyond them all is empty."""
    inside = skull.distance < 0
    used = [np.flatnonzero(inside.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    return tuple(slice(max(0, int(u[0]) - 2), int(u[-1]) + 3) for u in used)


def _shape(values: NDArray[np.float32]) -> tuple[int, int, int]:
    k, j, i = values.shape
    return k, j, i


def cameras() -> NDArray[np.float64]:
    """Return unit directions (N, 3) towards the cameras: a Fibonacci sphere."""
    n = np.arange(CAMERAS) + 0.5
    height = 1 - 2 * n / CAMERAS
    angle = np.pi * (1 + 5**0.5) * n
    level = np.sqrt(1 - height**2)
    return np.column_stack([level * np.cos(angle), level * np.sin(angle), height])


def _lid(skull: Skull, patient_from_frame: NDArray[np.float64]) -> Mask:
    """Tell which voxels stand for the vertex that the scan does not show; none where it does.

    What was not scanned, above the outline of the highest bone: else a camera above would look
    into the cavity of the brain.
    """
    lid = np.zeros(skull.grid.shape, dtype=bool)
    up = patient_from_frame[:3, 2]
    bone = _points(skull, (skull.distance < 0) & skull.observed)
    height = bone @ up
    rim = bone[height > height.max() - RIM_MM]
    index = np.argwhere(~skull.observed)
    above = skull.grid.patient_points(index.astype(np.float64))
    over = above @ up > height.max() - RIM_MM / 2
    if len(rim) < LEAST_RIM or not over.any():
        return lid
    flat = patient_from_frame[:3, :2]
    sides = ConvexHull(rim @ flat).equations
    inside = (above[over] @ flat @ sides[:, :2].T + sides[:, 2] <= 0).all(axis=1)
    lid[tuple(index[over][inside].T)] = True
    return lid


def _points(skull: Skull, where: Mask) -> NDArray[np.float64]:
    return skull.grid.patient_points(np.argwhere(where).astype(np.float64))


def _facing(direction: NDArray[np.float64], middle: NDArray[np.float64], size: int) -> Grid:
    """Return a cubic grid whose first axis points at a camera."""
    other = np.eye(3)[np.argmin(np.abs(direction))]
    side = np.cross(direction, other)
    side /= np.linalg.norm(side)
    matrix = np.eye(4)
    matrix[:3, :3] = STEP_MM * np.column_stack([direction, side, np.cross(direction, side)])
    matrix[:3, 3] = middle - matrix[:3, :3] @ np.full(3, (size - 1) / 2)
    return Grid((size, size, size), matrix)


def _free(solid: Mask) -> Mask:
    """Tell from which voxels nothing solid lies towards the camera, along the first axis."""
    behind = np.maximum.accumulate(solid[::-1], axis=0)[::-1]
    return np.asarray(~behind)


def _sampled(image: sitk.Image, grid: Grid, outside: float) -> NDArray[np.float32]:
    wanted = sitk_image(np.zeros((1, 1, 1), np.uint8), grid.patient_from_voxel)
    how = sitk.ResampleImageFilter()
    how.SetSize([int(n) for n in grid.shape[::-1]])
    how.SetOutputOrigin(wanted.GetOrigin())
    how.SetOutputSpacing(wanted.GetSpacing())
    how.SetOutputDirection(wanted.GetDirection())
    how.SetInterpolator(sitk.sitkLinear)
    how.SetDefaultPixelValue(outside)
    return np.asarray(sitk.GetArrayFromImage(how.Execute(image)))
