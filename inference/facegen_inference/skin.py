"""The outer skin of a head in a CT: the truth that predicted faces are measured against.

The skin is where Hounsfield values cross half-way from air to soft tissue.  Only its outer side
counts: sinuses, airway and mouth are filled, nostrils are closed some millimetres deep, and what
does not belong to the person (couch, head-holder) is taken away as far as its thinness or its
distance tells.  A mask that lies on the skin cannot be told from it here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage

from facegen_inference.closest import ClosestOnSurface
from facegen_inference.errors import NoHeadFound
from facegen_inference.mesh import Mesh
from facegen_inference.surface import isosurface, largest_piece
from facegen_inference.volume import AIR_HU, Grid, Volume, resample, sitk_image

SKIN_LEVEL_HU = -500.0
WORK_MM = 2.5
SHEET_VOXELS = 2
"""Radius of the opening that parts thin sheets (couch, pads) from the head, work voxels."""
REGROW_VOXELS = 4
CLOSING_VOXELS = 2
"""Radius of the closing that shuts nostrils and lips, work voxels."""
DEEP_MM = 4.0
"""Air deeper than this below the closed outline counts as inside the head."""
FAR_MM = 5.0
CLIP_MM = 40.0
BAND_MM = 6.0
"""Within this distance the skin's distance is exact; farther out it is interpolated."""
COARSE_MM = 2.5
PARTIAL_PERCENT = (0.0, 9.0, 16.0, 28.0, 40.0, 58.0)
PARTIAL_LEVEL_HU = (-660.0, -612.0, -586.0, -550.0, -520.0, -500.0)
PARTIAL_SMOOTH_MM = (3.0, 3.0, 3.0, 2.4, 0.0, 0.0)
"""By how much partial volume is left: HU on the skin, and sigma of the filter against steps."""
STRIDE = 3
"""Far from the skin every so many grid points are computed."""
LEAST_HEAD_ML = 300.0
CUT_CM2 = 30.0
"""More tissue than this in the last slice: the scan was cut there, the head goes on."""


@dataclass(frozen=True)
class SkinField:
    """Values that cross `SKIN_LEVEL_HU` at the outer skin and nowhere else.

    Attributes
    ----------
    values
        (k, j, i) float32 HU, tissue inside, air outside; clipped, and shifted where this scan's
        skin lies at another value.
    patient_from_voxel
        4×4, (k, j, i, 1) → LPS mm.
    observed
        (k, j, i) bool, where the scanner looked.
    """

    values: NDArray[np.float32]
    patient_from_voxel: NDArray[np.float64]
    observed: NDArray[np.bool_]


def _box(mask: NDArray[np.bool_], margin: int) -> tuple[slice, slice, slice]:
    """Return the slices around the true voxels with a margin, inside the array."""
    spans = []
    for axis in range(3):
        other = tuple(n for n in range(3) if n != axis)
        found = np.flatnonzero(mask.any(axis=other))
        spans.append(
            slice(
                max(0, int(found[0]) - margin), min(mask.shape[axis], int(found[-1]) + margin + 1)
            )
        )
    return spans[0], spans[1], spans[2]


def scanned(volume: Volume) -> NDArray[np.bool_]:
    """Return where the scanner looked, (k, j, i) bool, less padding beyond a cut through the head.

    End slices that hold one single value throughout are padding, not air, when the slice next to
    them cuts through more tissue than the top of a head or the tip of a nose could show.
    """
    seen = volume.observed_mask().copy()
    array = volume.array
    for axis in range(3):
        other = tuple(n for n in range(3) if n != axis)
        varied = np.flatnonzero(array.max(axis=other) != array.min(axis=other))
        if not len(varied):
            continue
        pixel_cm2 = float(np.prod(volume.spacing[list(other)])) / 100
        along = np.moveaxis(seen, axis, 0)
        for first, beyond in (
            (varied[0], slice(0, varied[0])),
            (varied[-1], slice(varied[-1] + 1, None)),
        ):
            tissue = np.count_nonzero(np.take(array, first, axis=axis) > SKIN_LEVEL_HU)
            if tissue * pixel_cm2 > CUT_CM2:
                along[beyond] = False
    return seen


def partial_volume_percent(volume: Volume) -> float:
    """Return how many of the voxels at the skin's outer edge lie below -300 HU, percent.

    An untouched scan has most of them there; a drawn body mask that sets the outside to air takes
    them away, and the half-maximum surface then lies too deep.
    """
    tissue = volume.array > -950
    body = ndimage.binary_fill_holes(ndimage.binary_opening(tissue))
    values = volume.array[body & ~ndimage.binary_erosion(body) & tissue]
    return float(100 * (values < -300).mean()) if len(values) else 0.0


def skin_level(volume: Volume) -> float:
    """Return the HU of the skin that is unbiased in this scan.

    -500 wherever voxels are at most 2.5 mm.  In coarse scans whose body mask cut partial volume
    away it is lower, by how much is left (`partial_volume_percent`).

    Notes
    -----
    It goes with the smoothing that `skin_field` does where partial volume was cut away: it takes
    out the steps of a voxel that the mask's edge left, as for any label map.  Calibrated on one
    sharp head made as coarse as the radiotherapy CTs (blurred by 1.1 mm in the slice, sampled at
    3.0 x 4.6 x 4.6 and 2.5 x 5.1 x 5.1 mm) and set to air beyond 0.75 mm inside to 2 mm outside
    its skin: the mean error against the sharp skin is within 0.15 mm, where -500 HU throughout
    lies up to 1.1 mm too deep.  ``facegen-train evaluate`` measures it anew.
    """
    return _skin_rule(volume)[0]


def _skin_rule(volume: Volume) -> tuple[float, float]:
    """Return HU on the skin and the Gaussian's sigma in mm, by voxels and partial volume."""
    if volume.spacing.max() <= COARSE_MM:
        return SKIN_LEVEL_HU, 0.0
    left = partial_volume_percent(volume)
    return (
        float(np.interp(left, PARTIAL_PERCENT, PARTIAL_LEVEL_HU)),
        float(np.interp(left, PARTIAL_PERCENT, PARTIAL_SMOOTH_MM)),
    )


def _head_outline(volume: Volume, level: float) -> tuple[NDArray[np.float32], Grid]:
    """Return the signed distance (mm, negative inside) to the closed, filled outline of the head.

    Computed on an isotropic work grid along the volume's axes.
    """
    seen = scanned(volume)
    tissue = (volume.array > level) & seen
    if np.count_nonzero(tissue) * float(np.prod(volume.spacing)) / 1000 < LEAST_HEAD_ML:
        raise NoHeadFound(
            "There is no skin in this scan.", "Give a CT that shows the face with its soft tissue."
        )
    step = WORK_MM / volume.spacing
    spans = [np.flatnonzero(seen.any(axis=tuple({0, 1, 2} - {n})))[[0, -1]] for n in range(3)]
    matrix = volume.patient_from_voxel.copy()
    matrix[:3, :3] = matrix[:3, :3] * step
    matrix[:3, 3] += volume.patient_from_voxel[:3, :3] @ [s[0] for s in spans]
    k, j, i = (int((s[1] - s[0]) / f) + 1 for s, f in zip(spans, step, strict=True))
    grid = Grid((k, j, i), matrix)
    hu = np.where(seen, np.clip(volume.array, AIR_HU, 0), AIR_HU)
    solid = resample(hu, volume.patient_from_voxel, grid, AIR_HU) > level
    solid = _without_sheets(solid)
    solid = _filled(_closed(solid))
    image = sitk_image(solid.astype(np.uint8), matrix)
    distance = SimpleITK.SignedMaurerDistanceMap(
        image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    return SimpleITK.GetArrayFromImage(distance).astype(np.float32), grid


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    return np.asarray(labels == np.bincount(labels.ravel())[1:].argmax() + 1)


def _without_sheets(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest thick piece, grown back into the thin parts that hang on it."""
    image = SimpleITK.GetImageFromArray(
        np.pad(solid, SHEET_VOXELS + 1, mode="edge").astype(np.uint8)
    )
    opened = SimpleITK.GetArrayFromImage(
        SimpleITK.BinaryMorphologicalOpening(image, [SHEET_VOXELS] * 3)
    )
    inner = (slice(SHEET_VOXELS + 1, -SHEET_VOXELS - 1),) * 3
    core = _largest(opened[inner].astype(bool))
    grown = ndimage.binary_dilation(core, iterations=REGROW_VOXELS, mask=solid)
    return np.asarray(grown)


def _closed(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    image = SimpleITK.GetImageFromArray(solid.astype(np.uint8))
    closed = SimpleITK.BinaryMorphologicalClosing(image, [CLOSING_VOXELS] * 3)
    return np.asarray(SimpleITK.GetArrayFromImage(closed).astype(bool))


def _filled(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the solid with every air space filled that does not reach the outside.

    On the faces of the grid the outside is what touches their edges: an airway that a cut opens
    stays inside.
    """
    seeds = np.zeros(solid.shape, dtype=bool)
    for axis in range(3):
        for end in (0, -1):
            face = np.moveaxis(solid, axis, 0)[end]
            labels, _ = ndimage.label(~face)
            rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
            touching = np.unique(rim[rim > 0])
            np.moveaxis(seeds, axis, 0)[end] |= np.isin(labels, touching)
    outside = ndimage.binary_propagation(seeds, mask=~solid)
    return np.asarray(~outside)


def skin_field(volume: Volume, level: float | None = None) -> SkinField:
    """Return values that cross `SKIN_LEVEL_HU` at the outer skin alone.

    Parameters
    ----------
    volume
        A head CT with its soft tissue.
    level
        HU on the skin, taken from the scan as it is; where None that of `skin_level`, and steps
        that a body mask left are smoothed.

    Raises
    ------
    NoHeadFound
        When hardly any tissue is there.
    """
    level, smooth_mm = _skin_rule(volume) if level is None else (level, 0.0)
    outline, grid = _head_outline(volume, level)
    box = _box_of_head(outline, grid, volume.grid)
    near = _outline_at(outline, grid, volume.grid, box)
    hu = np.clip(volume.array[box], AIR_HU, 0).astype(np.float32)
    deep = max(DEEP_MM, 0.9 * float(volume.spacing.max()))
    hu[near < -deep] = 0
    hu[near > FAR_MM] = AIR_HU
    seen = scanned(volume)[box]
    if smooth_mm > 0:
        hu = _smoothed(hu, seen, smooth_mm / volume.spacing)
    hu += np.float32(SKIN_LEVEL_HU - level)
    inner = _box(seen, 0)
    start = np.array([b.start + n.start for b, n in zip(box, inner, strict=True)])
    matrix = volume.patient_from_voxel.copy()
    matrix[:3, 3] += matrix[:3, :3] @ start
    return SkinField(hu[inner], matrix, seen[inner])


def _smoothed(
    hu: NDArray[np.float32], seen: NDArray[np.bool_], sigma: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return HU smoothed (sigma in voxels) from what was scanned alone.

    Twicing (Tukey, Exploratory Data Analysis, 1977): what a Gaussian took away is smoothed and
    given back, so that a nose keeps more of its height than under a Gaussian of the same effect.
    """
    weight = np.maximum(ndimage.gaussian_filter(seen.astype(np.float32), sigma), 1e-3)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        known = np.where(seen, values, np.float32(0))
        return np.asarray(ndimage.gaussian_filter(known, sigma) / weight)

    rough = mean(hu)
    return np.where(seen, rough + mean(hu - rough), hu).astype(np.float32)


def _box_of_head(
    outline: NDArray[np.float32], grid: Grid, scan: Grid
) -> tuple[slice, slice, slice]:
    """Return the part of the scan that holds the head and `FAR_MM` around it."""
    rough = _box(outline < FAR_MM, 1)
    ends = np.array([[s.start, s.stop - 1] for s in rough], dtype=np.float64).T
    voxels = np.sort(scan.voxel_points(grid.patient_points(ends)), axis=0)
    low = np.maximum(np.floor(voxels[0]).astype(int) - 1, 0)
    high = np.minimum(np.ceil(voxels[1]).astype(int) + 2, scan.shape)
    k, j, i = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return k, j, i


def _outline_at(
    outline: NDArray[np.float32], grid: Grid, scan: Grid, box: tuple[slice, slice, slice]
) -> NDArray[np.float32]:
    """Return the outline's distance at the voxels of a box of the scan; nearest beyond its end."""
    to_work = grid.voxel_from_patient @ scan.patient_from_voxel
    start = np.array([s.start for s in box])
    return np.asarray(
        ndimage.affine_transform(
            outline,
            to_work[:3, :3],
            to_work[:3, :3] @ start + to_work[:3, 3],
            output_shape=tuple(s.stop - s.start for s in box),
            order=1,
            mode="nearest",
            output=np.float32,
        )
    )


def surface_of(field: SkinField) -> Mesh:
    """Return the largest piece of the surface that a skin field describes, LPS mm.

    Triangles beside voxels that were not scanned are left out.
    """
    mesh = isosurface(-field.values, field.patient_from_voxel, -SKIN_LEVEL_HU)
    if not len(mesh.triangles):
        raise NoHeadFound(
            "There is no skin in this scan.", "Give a CT that shows the face with its soft tissue."
        )
    if not field.observed.all():
        inside = _sampled(
            field.observed.astype(np.float32), field.patient_from_voxel, mesh.vertices
        )
        mesh = mesh.kept(inside > 0.999)
    return largest_piece(mesh)


def skin_surface(volume: Volume, level: float | None = None) -> Mesh:
    """Return the outer skin of a head as a mesh, LPS mm, to a fraction of a voxel.

    Open where the scan ends; ears and neck are part of it.

    Raises
    ------
    NoHeadFound
        When the scan shows no skin.
    """
    return surface_of(skin_field(volume, level))


def _sampled(
    values: NDArray[np.float32],
    patient_from_voxel: NDArray[np.float64],
    points: NDArray[np.float64],
    outside: float | None = 0.0,
) -> NDArray[np.float32]:
    """Return a field's linear interpolation at (N, 3) LPS points; nearest edge when None."""
    k, j, i = values.shape
    at = Grid((k, j, i), patient_from_voxel).voxel_points(points)
    mode, fill = ("nearest", 0.0) if outside is None else ("constant", outside)
    return np.asarray(
        ndimage.map_coordinates(values, at.T, order=1, mode=mode, cval=fill, output=np.float32)
    )


def skin_distance(
    volume: Volume,
    grid: Grid,
    patient_from_grid: NDArray[np.float64] | None = None,
    level: float | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the signed distance to the outer skin on a grid.

    Parameters
    ----------
    volume
        A head CT with its soft tissue.
    grid
        Where the distance is wanted; its space is the volume's patient space, or another one
        (the Frankfurt frame) with `patient_from_grid` given.
    patient_from_grid
        4×4 rigid, from the grid's space to LPS mm.
    level
        HU on the skin; that of `skin_level` where None.

    Returns
    -------
    (k, j, i) float32 mm, negative inside the skin, clipped to ±40, and (k, j, i) bool: where the
    scanner looked (elsewhere the distance is a guess).

    Notes
    -----
    The distance is that to the triangulated half-maximum surface: exact within 6 mm of it,
    farther out interpolated from every third grid point (the field is smooth there).
    """
    field = skin_field(volume, level)
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    points = grid.patient_points(index)
    if patient_from_grid is not None:
        points = points @ patient_from_grid[:3, :3].T + patient_from_grid[:3, 3]
    skin = surface_of(field)
    reach = CLIP_MM + 5
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    nearby = ((skin.vertices > low) & (skin.vertices < high)).all(axis=1)
    if nearby[skin.triangles].all(axis=1).any():
        skin = skin.kept(nearby)
    near = ClosestOnSurface(skin, step=1.5)
    unsigned = _unsigned_distance(near, points, grid.shape)
    hu = _sampled(field.values, field.patient_from_voxel, points, None)
    seen = _sampled(scanned(volume).astype(np.float32), volume.patient_from_voxel, points)
    signed = np.where(hu > SKIN_LEVEL_HU, -unsigned, unsigned)
    return (
        np.clip(signed, -CLIP_MM, CLIP_MM).reshape(grid.shape).astype(np.float32),
        np.asarray(seen > 0.999).reshape(grid.shape),
    )


def _unsigned_distance(
    near: ClosestOnSurface, points: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.float64]:
    """Return distances (N,) of the points of a grid: a few first, then the band exactly."""
    index = np.arange(len(points)).reshape(shape)[::STRIDE, ::STRIDE, ::STRIDE]
    few = near.roughly(points[index.ravel()], reach=CLIP_MM + 15)
    few = np.minimum(few, CLIP_MM + 15).reshape(index.shape)
    distance = ndimage.affine_transform(
        few, np.full(3, 1 / STRIDE), output_shape=shape, order=1, mode="nearest"
    ).ravel()
    band = np.flatnonzero(distance < BAND_MM + 4)
    distance[band] = near.query(points[band]).distance
    return np.asarray(distance)
