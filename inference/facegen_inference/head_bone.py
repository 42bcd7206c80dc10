"""The bone of the head in a scan: what remains without couch, holder, spine and shoulders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from facegen_inference.atlas import load_atlas
from facegen_inference.bone import BoneLevels, bone_voxels, metal_slices, opened
from facegen_inference.errors import NoHeadFound
from facegen_inference.head import Box, head_box
from facegen_inference.head_pose import mean_skull, place_head
from facegen_inference.registration import HeadFit, Points
from facegen_inference.spine import neck_voxels
from facegen_inference.volume import Volume

_MIN_HEAD_MM3 = 15_000.0
_MIN_PIECE_MM3 = 60.0
MIN_SCORE = 0.2
"""Below this agreement with the mean skull (`HeadFit.score`) bone is not a head's."""
FAR_MM = 16.0
"""No bone of a head lies farther outside the mean skull, its jaw aside."""


STREAK_MM = 6.0
"""In slices with metal, thin bone farther outside the mean skull than this is a streak."""


STRAP_MM, STRAP_RADIUS_MM, STRAP_FLOOR_MM, STRAP_DEPTH_MM = 5.0, 1.6, -20.0, 8.0
"""Strands thinner than two radii this far outside the mean skull, above the mouth (frame height)
and at most so deep under the mean skin, are straps, tubes or jewellery."""
_SCRAP_MM3, _SCRAP_MM = 600.0, 2.5
"""A loose piece this small, this far outside the mean skull, is what is left of one."""


@dataclass(frozen=True)
class HeadBone:
    """Bone of the head inside a scan.

    Attributes
    ----------
    keep
        (k, j, i) bool over `box`: voxels that are bone of the head.
    box
        Slices of the scan.
    level
        Bone level, HU.
    fit
        How the head lies.
    index
        (N, 3) indices into `box` of the voxels kept.
    frame
        (N, 3) their places, Frankfurt frame mm (about).
    """

    keep: NDArray[np.bool_]
    box: Box
    level: float
    fit: HeadFit
    index: NDArray[np.intp]
    frame: Points


def find_head_bone(volume: Volume, levels: BoneLevels) -> HeadBone:
    """Find the bone of the head.

    Parameters
    ----------
    volume
        The scan.
    levels
        What is bone in it.

    Raises
    ------
    NoHeadFound
        When there is no bone, or none that looks like a head.
    """
    advice = "Choose a CT of a head in Hounsfield units."
    box, middle = head_box(volume, levels.level)
    bone = bone_voxels(volume.array[box], volume.spacing, levels)
    if volume.observed is not None:
        bone &= volume.observed[box]
    start = np.array([s.start for s in box])
    edge = _edge_points(bone, volume, start)
    fit = place_head(edge, volume.grid, middle)
    if fit is None or fit.score < MIN_SCORE or _is_ball(edge):
        score = 0.0 if fit is None else round(fit.score, 2)
        raise NoHeadFound("The bone in the scan is not that of a head.", advice, score=score)
    index = np.argwhere(bone)
    frame = in_frame(volume.grid.patient_points((index + start).astype(np.float64)), fit)
    for rule in (_no_streak, _no_strap, _of_head):
        stays = rule(volume.array[box], bone, index, frame, volume.spacing)
        bone[tuple(index[~stays].T)] = False
        index, frame = index[stays], frame[stays]
    amount = len(index) * float(np.prod(volume.spacing))
    if amount < _MIN_HEAD_MM3:
        raise NoHeadFound(
            "There is too little bone for a head in the scan.", advice, cm3=round(amount / 1000, 1)
        )
    return HeadBone(bone, box, levels.level, fit, index, frame)


def _edge_points(
    bone: NDArray[np.bool_], volume: Volume, start: NDArray[np.int64], count: int = 5000
) -> Points:
    """Return points on the surface of bone, (N, 3) LPS mm; the same ones every time."""
    edge = np.argwhere(bone & ~ndimage.binary_erosion(bone))
    some = edge[np.random.default_rng(0).permutation(len(edge))[:count]]
    return volume.grid.patient_points((some + start).astype(np.float64))


def _is_ball(points: Points) -> bool:
    """Return whether points lie on a sphere (a test object), which a braincase does not."""
    terms = np.column_stack([2 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(terms, (points**2).sum(axis=1), rcond=None)[0]
    radius = np.linalg.norm(points - solution[:3], axis=1)
    return bool(radius.std() < 0.06 * radius.mean())


def in_frame(patient: Points, fit: HeadFit) -> Points:
    """Map (N, 3) LPS mm to the Frankfurt frame."""
    m = fit.frame_from_patient
    return np.asarray(patient @ m[:3, :3].T + m[:3, 3])


def _of_head(
    array: NDArray[np.int16],
    bone: NDArray[np.bool_],
    index: NDArray[np.intp],
    frame: Points,
    spacing: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which bone voxels belong to the head, (N,), by place and by piece."""
    del array
    far = _outside(frame)
    head = (far < FAR_MM) | _jaw(frame)
    head &= ~neck_voxels(bone, index, frame, spacing)
    rest = np.zeros_like(bone)
    rest[tuple(index.T)] = head
    least = max(2, round(_MIN_PIECE_MM3 / float(np.prod(spacing))))
    image = sitk.GetImageFromArray(rest.astype(np.uint8))
    label = sitk.RelabelComponent(sitk.ConnectedComponent(image, True), least)
    piece = sitk.GetArrayFromImage(label)[tuple(index.T)]
    return np.asarray(_pieces_of_head(piece, frame, far, float(np.prod(spacing)))[piece])


def _no_streak(
    array: NDArray[np.int16],
    bone: NDArray[np.bool_],
    index: NDArray[np.intp],
    frame: Points,
    spacing: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which bone voxels are no rays thrown by metal, (N,).

    In the slices of metal, bone must be near the mean skull, the thicker the farther from it.
    """
    slices = metal_slices(array, spacing)
    if not slices.any():
        return np.ones(len(index), dtype=bool)
    place = tuple(index.T)
    solid = opened(bone, spacing, slices, 1.2, hollow=True)[place]
    thick = opened(bone, spacing, slices, 3.0, hollow=False)[place]
    far = _outside(frame)
    likely = (far < STREAK_MM / 2) | (solid & (far < STREAK_MM)) | thick
    return np.asarray(~slices[index[:, 0]] | likely)


def _no_strap(
    array: NDArray[np.int16],
    bone: NDArray[np.bool_],
    index: NDArray[np.intp],
    frame: Points,
    spacing: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which bone voxels are no strap, tube or jewellery beside the head, (N,)."""
    del array
    off = (_outside(frame) > STRAP_MM) & (frame[:, 2] > STRAP_FLOOR_MM)
    off[off] = _over_skin(frame[off]) > -STRAP_DEPTH_MM
    if not off.any():
        return np.ones(len(index), dtype=bool)
    slices = np.zeros(bone.shape[0], dtype=bool)
    slices[index[off, 0]] = True
    solid = opened(bone, spacing, slices, STRAP_RADIUS_MM, hollow=True)[tuple(index.T)]
    return np.asarray(~off | solid)


def _over_skin(frame: Points) -> NDArray[np.float64]:
    """Return the distance outside the mean skin, mm, negative inside; far outside off its grid."""
    atlas = load_atlas()
    voxel = atlas.grid.voxel_points(frame).T
    return np.asarray(ndimage.map_coordinates(atlas.skin, voxel, order=1, cval=99.0))


def _outside(frame: Points) -> NDArray[np.float64]:
    """Return the distance outside the mean skull's bone, mm; 0 in the cranial cavity."""
    value, _ = mean_skull().sample(frame)
    brain = np.linalg.norm((frame - [0.0, 10.0, 45.0]) / [60.0, 75.0, 60.0], axis=1) < 1
    return np.where(brain, 0.0, value)


def _jaw(frame: Points) -> NDArray[np.bool_]:
    """Return where a mandible may be, closed or wide open, (N,)."""
    x, y, z = np.abs(frame[:, 0]), frame[:, 1], frame[:, 2]
    return np.asarray((x < 72) & (y < 4) & (y > -118) & (z < -25) & (z > -148))


def _pieces_of_head(
    piece: NDArray[np.uint32], frame: Points, far: NDArray[np.float64], voxel_mm3: float
) -> NDArray[np.bool_]:
    """Return which piece numbers belong to the head; 0 never does.

    Large pieces near the mean skull do; the hyoid, calcified larynx and single vertebrae (in the
    middle, below the jaw's angle and behind the chin) do not.
    """
    count = int(piece.max()) + 1
    size = np.bincount(piece, minlength=count)
    kept = np.zeros(count, dtype=bool)
    order = np.argsort(piece, kind="stable")
    ends = np.cumsum(size)
    for n in range(1, count):
        members = order[ends[n - 1] : ends[n]]
        where = frame[members]
        middle = np.median(where, axis=0)
        neck = middle[2] < -55 and abs(middle[0]) < 38 and np.percentile(where[:, 1], 5) > -60
        near = np.median(far[members])
        close = near < (_SCRAP_MM if size[n] * voxel_mm3 < _SCRAP_MM3 else 8)
        jaw = size[n] * voxel_mm3 > 4000 and _jaw(middle[None])[0]
        kept[n] = not neck and bool(close or jaw)
    return kept
