"""The mean head carried onto one skull: its skin follows the bone, its soft tissue stays its own.

Craniometric points, and features placed by rules, carry the mean head along by a smooth
deformation.  Where bone lies near, the skin then follows what the deformation left of the bone, so
that between the points too the soft tissue is as deep as on the mean head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import affine_transform, distance_transform_edt, gaussian_filter

from facegen_inference.atlas import Atlas
from facegen_inference.errors import UserError
from facegen_inference.frame import Frame
from facegen_inference.mean_skin import sampled
from facegen_inference.pegs import FoundPoints
from facegen_inference.skull import Skull
from facegen_inference.volume import resample

Point = NDArray[np.float64]

STEP_MM = 6.0
"""The deformation is smooth: computed at points so far apart, linear between them."""
STIFFNESS = 1.0
"""Smoothing of the deformation (biharmonic splines, mm)."""
MOST_SHIFT_MM = 25.0
NO_BONE_MM = 40.0
FAR_MM, FADE_MM = 30.0, 15.0
"""Skin farther than this from bone does not follow it; the influence fades over this way before."""
LEAST_EXTENT_MM = 3.0
"""Standard deviation that the controls need in every direction: from points of the midline alone
no deformation to the sides can be told.  In 95 people those have at most 1.4 mm, the points before
the cheekbones alone at least 5.2 mm."""
OTHER_BONE_MM, OTHER_FADE_MM = 8.0, 4.0
"""Bone that lies so differently is not the same bone: on one of the skulls it is missing."""
EDGE_MM = 20.0
"""Nearer than this to the end of the scan the bone beyond may be the nearest: it counts less."""
SMOOTH_MM = 8.0
LEAST_SHARE = 0.2
"""Where less than this of the surroundings tells, the skin keeps to the deformation alone."""
TEETH_MARGIN_MM, TEETH_FADE_MM = 6.0, 16.0
"""Teeth are no guide: they are lost, bridged, or hidden by streaks."""


@dataclass(frozen=True)
class Control:
    """A point of the person, and where the mean head has it.

    Attributes
    ----------
    person, mean
        (3,) frame mm.
    doubt
        How little it is believed, mm.
    free_depth
        What places it does not say how far forward it lies: y is as the other controls have it.
    """

    person: Point
    mean: Point
    doubt: float
    free_depth: bool = False


@dataclass(frozen=True)
class PersonBone:
    """Signed distance to a person's bone, and where it was scanned, on the atlas's grid."""

    distance: NDArray[np.float32]
    seen: NDArray[np.bool_]


def bone_on(atlas: Atlas, skull: Skull, frame: Frame) -> PersonBone:
    """Return a skull's bone on the atlas's grid."""
    source, turned = skull.grid.patient_from_voxel, frame.patient_from_frame
    distance = resample(skull.distance, source, atlas.grid, NO_BONE_MM, turned)
    seen = resample(skull.observed, source, atlas.grid, 0.0, turned)
    return PersonBone(distance, np.asarray(seen > 0.99))


def bone_controls(points: FoundPoints, atlas: Atlas) -> list[Control]:
    """Return a control for each craniometric point that both skulls have."""
    return [
        Control(point, np.array(atlas.landmarks[code]), STIFFNESS / max(confidence, 0.1))
        for code, (point, confidence) in points.items()
        if code in atlas.landmarks
    ]


def carried_skin(
    controls: Sequence[Control], points: FoundPoints, bone: PersonBone, atlas: Atlas
) -> NDArray[np.float32]:
    """Return the mean head's skin as it lies over a person's bone.

    Parameters
    ----------
    controls
        Those whose depth is known spread at least `LEAST_EXTENT_MM` in every direction.
    points
        Landmarks found on bone, to know where the teeth are.
    bone
        The person's.
    atlas
        The mean head.

    Returns
    -------
    (k, j, i) float32 on the atlas's grid, mm, negative inside, about a signed distance.

    Raises
    ------
    UserError
        When the controls lie about in a plane.

    Notes
    -----
    The deformation is a biharmonic spline (kernel r in three dimensions) from the person back to
    the mean head.
    """
    back = _back(_with_depth(controls))
    coarse, shape = coarse_points(atlas)
    shift = np.clip(back(coarse), -MOST_SHIFT_MM, MOST_SHIFT_MM)
    full = np.stack([on_every_voxel(shift[:, axis], shape, atlas) for axis in range(3)], axis=-1)
    here = _voxel_points(atlas)
    there = here + full.reshape(-1, 3)
    skin = sampled(atlas.skin, atlas.grid, there).reshape(atlas.grid.shape)
    mean_bone = sampled(atlas.bone, atlas.grid, there).reshape(atlas.grid.shape)
    differs = bone.distance - mean_bone
    from_edge = _from_edge(bone.seen, atlas)
    weight = (
        np.clip((FAR_MM - np.abs(bone.distance)) / FADE_MM, 0, 1)
        * np.clip((OTHER_BONE_MM - np.abs(differs)) / OTHER_FADE_MM, 0, 1)
        * np.clip(from_edge / EDGE_MM, 0, 1)
        * away_from_teeth(points, here[:, 2].reshape(atlas.grid.shape))
    )
    sigma = SMOOTH_MM / atlas.grid.spacing
    share = gaussian_filter(weight, sigma)
    follow = gaussian_filter(weight * differs, sigma) / (share + LEAST_SHARE)
    return np.asarray(skin + follow, dtype=np.float32)


def _from_edge(seen: NDArray[np.bool_], atlas: Atlas) -> NDArray[np.float64]:
    """Return how far each voxel lies from what was not scanned, (k, j, i) mm."""
    if seen.all():  # SciPy measures to a place that is none
        return np.full(seen.shape, np.inf)
    return np.asarray(distance_transform_edt(seen, sampling=atlas.grid.spacing))


def _back(controls: Sequence[Control]) -> RBFInterpolator:
    """Return the deformation: (N, 3) points of the person to their shift to the mean head."""
    person = np.array([control.person for control in controls])
    mean = np.array([control.mean for control in controls])
    doubt = np.array([control.doubt for control in controls])
    return RBFInterpolator(person, mean - person, kernel="linear", degree=1, smoothing=doubt)


def _with_depth(controls: Sequence[Control]) -> list[Control]:
    """Give the controls whose depth is free the depth that the others have there."""
    firm = [control for control in controls if not control.free_depth]
    _check_extent(firm)
    free = [control for control in controls if control.free_depth]
    if not free:
        return firm
    shift = _back(firm)(np.array([control.person for control in free]))
    for control, there in zip(free, shift, strict=True):
        x, _, z = control.person
        firm.append(replace(control, person=np.array([x, control.mean[1] - there[1], z])))
    return firm


def _check_extent(controls: Sequence[Control]) -> None:
    places = np.array([control.person for control in controls]).reshape(-1, 3)
    least = np.linalg.svd(places - places.mean(axis=0), compute_uv=False)[-1] if controls else 0.0
    if len(controls) < 4 or least < LEAST_EXTENT_MM * np.sqrt(len(controls)):
        raise UserError(
            "The landmarks found on bone lie about in one plane, as those of the midline do; the "
            "mean head cannot be laid on them.",
            "Place landmarks of both sides by hand (--landmarks FILE) or use another method.",
        )


def away_from_teeth(points: FoundPoints, height: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 0 at the level of the teeth and 1 away from them; 1 where that level is not known."""
    if not {"ss", "sm"} <= points.keys():
        return np.ones_like(height)
    top, low = points["ss"][0][2], points["sm"][0][2]
    beyond = np.abs(height - (top + low) / 2) - (top - low) / 2
    return np.asarray(np.clip((beyond + TEETH_MARGIN_MM) / TEETH_FADE_MM, 0, 1))


def _voxel_points(atlas: Atlas) -> NDArray[np.float64]:
    index = np.indices(atlas.grid.shape).reshape(3, -1).T.astype(np.float64)
    return atlas.grid.patient_points(index)


def _stride(atlas: Atlas) -> int:
    """Return how many voxels of the atlas lie between points that are computed."""
    return max(1, round(STEP_MM / float(atlas.grid.spacing.max())))


def coarse_points(atlas: Atlas) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """Return frame points `STEP_MM` apart, to beyond the last voxels, and their shape."""
    stride = _stride(atlas)
    k, j, i = (-(-(n - 1) // stride) + 1 for n in atlas.grid.shape)
    index = stride * np.indices((k, j, i)).reshape(3, -1).T.astype(np.float64)
    return atlas.grid.patient_points(index), (k, j, i)


def on_every_voxel(
    values: NDArray[np.float64], shape: tuple[int, int, int], atlas: Atlas
) -> NDArray[np.float64]:
    """Return values at `coarse_points` on every voxel of the atlas, linearly."""
    return np.asarray(
        affine_transform(
            values.reshape(shape),
            np.full(3, 1 / _stride(atlas)),
            output_shape=atlas.grid.shape,
            order=1,
            mode="nearest",
        )
    )
