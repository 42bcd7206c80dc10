"""The cut between skull and neck, where joints and coarse voxels have grown them together."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

Points = NDArray[np.float64]

JOINT_MM = -21.0
"""Height of the joint between occiput and atlas in the Frankfurt frame, z mm."""
_SKULL, _NECK = 1, 2


def neck_voxels(
    bone: NDArray[np.bool_],
    index: NDArray[np.intp],
    frame: Points,
    spacing: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which bone voxels belong to the cervical spine.

    Parameters
    ----------
    bone
        (k, j, i) bone voxels.
    index
        (N, 3) their indices.
    frame
        (N, 3) their places in (about) the Frankfurt frame, mm.
    spacing
        Voxel size along k, j, i, mm.

    Returns
    -------
    (N,) bool.

    Notes
    -----
    Bone that is surely skull and bone that is surely vertebra are markers of a watershed that
    floods from the thickest bone, so that it meets in thin joints; a ridge at the height where
    the occiput rests on the atlas decides where the joint cannot be seen.
    """
    x, y, z = np.abs(frame[:, 0]), frame[:, 1], frame[:, 2]
    near = (z < 0) & (z > -75) & (x < 62) & (y > -55) & (y < 75)
    neck = (z <= -75) & (x < 35) & (y > -22)
    if not near.any():
        return neck
    low, high = index[near].min(axis=0), index[near].max(axis=0) + 1
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    local = tuple((index[near] - low).T)
    shape = tuple(int(n) for n in high - low)
    markers = np.zeros(shape, dtype=np.uint8)
    markers[local] = _markers(x[near], y[near], z[near])
    ridge = np.zeros(shape, dtype=np.float32)
    ridge[local] = 5 * np.exp(-(((z[near] - JOINT_MM) / 4) ** 2)) * (x[near] < 32)
    label = _flooded(bone[box], markers, ridge, spacing)
    result = neck.copy()
    result[near] |= label[local] == _NECK
    return result


def _markers(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return what is surely skull or surely neck, by place; `x` is the distance from mid."""
    marker = np.zeros(len(x), dtype=np.uint8)
    skull = (z > -12) | (y < -46) | ((x > 40) & (y < 2)) | ((x > 40) & (z > -28))
    marker[skull | ((y > 42) & (z > -32))] = _SKULL
    vertebra = (z < -42) & (y > -24) & (x < 36)
    dens = (z < -31) & (x < 10) & (y > -20) & (y < 8)
    marker[vertebra | dens | ((z < -48) & (y > 4))] = _NECK
    return marker


def _flooded(
    bone: NDArray[np.bool_],
    markers: NDArray[np.uint8],
    ridge: NDArray[np.float32],
    spacing: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Return the marker that floods each voxel first, thick bone before thin, (k, j, i)."""
    image = sitk.GetImageFromArray(bone.astype(np.uint8))
    image.SetSpacing([float(s) for s in spacing[::-1]])
    depth = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True
    )
    relief = -np.minimum(sitk.GetArrayFromImage(depth), 6.0) + ridge
    relief[~bone] += 20
    flooded = sitk.MorphologicalWatershedFromMarkers(
        sitk.GetImageFromArray(relief.astype(np.float32)),
        sitk.GetImageFromArray(markers),
        markWatershedLine=False,
        fullyConnected=False,
    )
    return np.asarray(sitk.GetArrayFromImage(flooded))
