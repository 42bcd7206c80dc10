"""What in a scan is bone: its level in HU, and the voxels above it that metal did not make.

Decides on grey values alone; which of the bone belongs to the head is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

Voxels = NDArray[np.bool_]

LEVEL_HU = 250.0
"""Bone level on sharp, calibrated scans with soft tissue."""
COARSE_LEVEL_HU = 170.0
"""Bone level at voxels of 4.5 mm and more, where thin bone is diluted."""
FLOOR_HU = 40.0
"""What lies around bone once everything else is taken away: soft tissue."""
METAL_HU = 2500.0
_SOFT_TISSUE_HU = 45.0


@dataclass(frozen=True)
class BoneLevels:
    """What grey values say about bone in one scan.

    Attributes
    ----------
    level
        HU of the bone surface.
    sure
        HU that only bone, tooth and metal reach: not contrast, not the cradle of a dry skull.
    reach_mm
        Voxels between both levels are bone only this near (along an axis) to sure ones.
    """

    level: float
    sure: float
    reach_mm: float


def bone_levels(array: NDArray[np.int16], spacing: NDArray[np.float64]) -> BoneLevels:
    """Return the HU levels that separate bone from the rest of this scan.

    Sharp scans get `LEVEL_HU`, coarse ones less (partial volume dilutes thin bone), and scans
    whose soft tissue does not lie where Hounsfield put it (cone beam) are shifted with it.  For a
    dry skull lying in something denser than the level (a cradle), the valley between both
    materials is what only bone reaches.

    Parameters
    ----------
    array
        (k, j, i) int16 HU.
    spacing
        Voxel size in mm along k, j, i.
    """
    coarse = np.clip((float(spacing.max()) - 2.5) / 2.0, 0.0, 1.0)
    level = float(LEVEL_HU + coarse * (COARSE_LEVEL_HU - LEVEL_HU))
    step = tuple(max(1, int(2.0 // s)) for s in spacing)
    few = array[:: step[0], :: step[1], :: step[2]]
    counts, edges = np.histogram(few, bins=np.arange(-1100, 3200, 20))
    centres = edges[:-1] + 10
    soft = counts[(centres > -450) & (centres < level)].sum()
    bone = counts[centres > level].sum()
    if soft > 1.5 * bone:
        level += _soft_tissue_shift(counts, centres)
        return BoneLevels(level, level + 150, max(4.0, 1.6 * float(spacing.max())))
    valley = _valley(counts, centres)
    if valley <= level:
        return BoneLevels(level, level + 150, max(4.0, 1.6 * float(spacing.max())))
    return BoneLevels(level, valley, max(1.5, 1.1 * float(spacing.max())))


def _soft_tissue_shift(counts: NDArray[np.int64], centres: NDArray[np.float64]) -> float:
    """Return how far the soft-tissue peak lies from its place; 0 when it is about right, HU."""
    near = (centres > -450) & (centres < 500)
    smooth = ndimage.gaussian_filter1d(counts.astype(float), 1.5)
    shift = float(centres[near][np.argmax(smooth[near])]) - _SOFT_TISSUE_HU
    return shift if abs(shift) > 150 else 0.0


def _valley(counts: NDArray[np.int64], centres: NDArray[np.float64]) -> float:
    """Return the deepest valley between two materials denser than 150 HU; −inf without one."""
    smooth = ndimage.gaussian_filter1d(counts.astype(float), 2.0)
    use = (centres > 150) & (centres < 2000)
    smooth, at = smooth[use], centres[use]
    left = np.maximum.accumulate(smooth)
    right = np.maximum.accumulate(smooth[::-1])[::-1]
    depth = np.minimum(left, right) / np.maximum(smooth, 1.0)
    # The denser material must be a substantial one, not the tail of noise.
    depth[right < 0.05 * smooth.max()] = 0.0
    best = int(np.argmax(depth))
    return float(at[best]) if depth[best] > 1.8 else -np.inf


def bone_voxels(
    array: NDArray[np.int16], spacing: NDArray[np.float64], levels: BoneLevels
) -> Voxels:
    """Return the voxels that are bone, tooth or metal by their grey value, (k, j, i).

    What never becomes as dense as bone (contrast, cradle) is left out.
    """
    return _near_sure(array, spacing, levels, array >= levels.level)


def metal_slices(array: NDArray[np.int16], spacing: NDArray[np.float64]) -> Voxels:
    """Return which slices k metal may have streaked, (K,) bool.

    Metal is what exceeds `METAL_HU`, or what piles up at the end of a scale that ends sooner.
    """
    top = int(array.max())
    voxel = float(np.prod(spacing))
    clipped = array >= top - 30
    saturated = 1400 < top < METAL_HU and clipped.sum() * voxel > 300
    metal = clipped if saturated else array >= METAL_HU
    area = metal.sum(axis=(1, 2)) * spacing[1] * spacing[2]
    near = ndimage.binary_dilation(area > 12.0, iterations=max(1, round(2.0 / spacing[0])))
    return np.asarray(near)


def opened(
    bone: Voxels,
    spacing: NDArray[np.float64],
    slices: Voxels,
    radius_mm: float,
    hollow: bool,
) -> Voxels:
    """Return bone with what is thinner than two radii taken off in the given slices, (k, j, i).

    With `hollow` a hollow bone counts as thick as its outline.  Where a voxel is larger than the
    radius nothing is taken off.
    """
    if float(spacing[1:].max()) > 1.2 * radius_mm:
        return bone
    result = bone.copy()
    radius = [max(1, round(radius_mm / float(s))) for s in spacing[:0:-1]]
    for k in np.flatnonzero(slices):
        filled = ndimage.binary_fill_holes(bone[k]) if hollow else bone[k]
        flat = sitk.GetImageFromArray(filled.astype(np.uint8))
        core = sitk.BinaryMorphologicalOpening(flat, radius)
        result[k] &= sitk.GetArrayViewFromImage(core) > 0
    return result


def _near_sure(
    array: NDArray[np.int16], spacing: NDArray[np.float64], levels: BoneLevels, bone: Voxels
) -> Voxels:
    """Take away pieces and bulges farther than `reach_mm` from anything that only bone can be."""
    near = (bone & (array >= levels.sure)).view(np.uint8)
    for axis in range(3):
        size = 2 * max(1, round(levels.reach_mm / spacing[axis])) + 1
        near = ndimage.maximum_filter1d(near, size, axis=axis, mode="constant")
    return np.asarray(bone & near.view(bool))
