"""The bone of the head in a scan: what remains without couch, holder, spine and shoulders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from facegen_inference.bone import BoneLevels, bone_voxels
from facegen_inference.errors import NoHeadFound
from facegen_inference.head import Box, head_box
from facegen_inference.volume import Volume

_MIN_HEAD_MM3 = 20_000.0
_MIN_PIECE_MM3 = 60.0


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
    notes
        Sentences about what was removed.
    """

    keep: NDArray[np.bool_]
    box: Box
    level: float
    notes: tuple[str, ...] = ()


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
    box = head_box(volume, levels.level)
    bone = bone_voxels(volume.array[box], volume.spacing, levels)
    if volume.observed is not None:
        bone &= volume.observed[box]
    keep, notes = _head_pieces(bone, volume.spacing)
    amount = float(keep.sum() * np.prod(volume.spacing))
    if amount < _MIN_HEAD_MM3:
        raise NoHeadFound(
            "There is too little bone for a head in the scan.",
            "Choose a CT of a head in Hounsfield units.",
            bone_cm3=round(amount / 1000, 1),
        )
    return HeadBone(keep, box, levels.level, notes)


def _head_pieces(
    bone: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return the largest piece, and the others that lie within its bounding box."""
    least = max(2, round(_MIN_PIECE_MM3 / float(np.prod(spacing))))
    image = sitk.GetImageFromArray(bone.view(np.uint8))
    label = sitk.RelabelComponent(sitk.ConnectedComponent(image, True), least)
    pieces = sitk.GetArrayFromImage(label)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(label)
    if shape.GetNumberOfLabels() == 0:
        return np.zeros_like(bone), ()
    size = np.array(bone.shape[::-1])
    main = np.array(shape.GetBoundingBox(1))
    low, high = main[:3] - 4, main[:3] + main[3:] + 4
    kept = np.zeros(shape.GetNumberOfLabels() + 1, dtype=bool)
    kept[1] = True
    for n in range(2, len(kept)):
        b = np.array(shape.GetBoundingBox(n))
        touches = (b[:3] <= 0).any() or (b[:3] + b[3:] >= size).any()
        within = (b[:3] >= low).all() and (b[:3] + b[3:] <= high).all()
        kept[n] = within and not touches
    return kept[pieces], ()
