"""How much of the bone near each point of the face is missing in a skull, and what that costs.

A network that was shown damaged skulls still gives a face over them; how unsure it is there its
spread need not know.  As the bone goes, so does what it says of the skin, and how much the skin
varies between people comes in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from facegen_inference.atlas import load_atlas
from facegen_inference.volume import Grid, resample

Floats = NDArray[np.float32]

SHELL_MM = 3.0
"""Bone of the mean skull counts this near its surface."""
THERE_MM, GONE_MM = 6.0, 12.0
"""Up to the first distance from a place of the mean skull's surface the person's own bone is there
(bones of different people lie 2 to 4 mm apart), from the second on it is missing.  Chosen on 8
people: whole skulls miss 2 % in the lower face, without mandible the chin misses 99 %."""
NEARBY_MM = 8.0
"""SD of the Gaussian that weighs bone by its distance to a point."""
_STEP_MM = 4.0
_FAR_MM = 40.0
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class MissingBone:
    """Fields on one grid, whose space is the Frankfurt frame.

    Attributes
    ----------
    share
        (k, j, i) float32, 0 where all the bone nearby is there, 1 where none is.
    prior
        (k, j, i) float32, standard deviation of the skin between people, mm.
    grid
        Of both.
    """

    share: Floats
    prior: Floats
    grid: Grid

    def widened(self, spread: Floats, points: NDArray[np.float64]) -> Floats:
        """Return the spread at points with what missing bone adds.

        Parameters
        ----------
        spread
            (N,) mm, one SD where all bone is there.
        points
            (N, 3) frame mm, on the skin.

        Returns
        -------
        (N,) mm, never less than `spread`.

        Notes
        -----
        variance = own variance + share * prior variance: the prediction's own, and as much of
        what people differ by as there is bone missing.  Own and prior are added, not blended,
        because a face over missing bone is not the mean face: it follows what bone is left, and
        on 8 people without mandible the skin of the chin missed it by 6.9 mm (root mean square)
        where the prior is 5.9 mm and whole skulls miss by 2.3 mm.
        """
        share, prior = self._at(points)
        return np.asarray(np.sqrt(spread**2 + share * prior**2), dtype=np.float32)

    def needed(self, wanted: Floats, points: NDArray[np.float64]) -> Floats:
        """Return the spread that `widened` makes into a wanted one: its inverse.

        Parameters
        ----------
        wanted
            (N,) mm.
        points
            (N, 3) frame mm, on the skin.

        Returns
        -------
        (N,) mm; 0 where missing bone alone makes at least the wanted spread.
        """
        share, prior = self._at(points)
        return np.asarray(np.sqrt(np.maximum(wanted**2 - share * prior**2, 0)), dtype=np.float32)

    def _at(self, points: NDArray[np.float64]) -> tuple[Floats, Floats]:
        """Return share and prior at (N, 3) points, (N,) each."""
        at = self.grid.voxel_points(points).T
        share, prior = (
            np.asarray(map_coordinates(values, at, order=1, mode="nearest", output=np.float32))
            for values in (self.share, self.prior)
        )
        return share, prior


def missing_bone(bone: Floats, grid: Grid) -> MissingBone:
    """Compare the bone a network is shown with the mean skull.

    Parameters
    ----------
    bone
        (k, j, i) float32, channel 0 of `facegen_inference.preprocess.preprocess`: distance to
        bone, mm, large where there is none or the scanner did not look.
    grid
        Its grid, in the Frankfurt frame.
    """
    step = max(1, round(_STEP_MM / float(grid.spacing[0])))
    coarse = _every(grid, step)
    atlas = load_atlas()
    mean = resample(atlas.bone, atlas.grid.patient_from_voxel, coarse, _FAR_MM)
    prior = resample(atlas.skin_sd, atlas.grid.patient_from_voxel, coarse, 0.0)
    shell = (np.abs(mean) < SHELL_MM).astype(np.float32)
    gone = np.clip((bone[::step, ::step, ::step] - THERE_MM) / (GONE_MM - THERE_MM), 0, 1)
    sigma = NEARBY_MM / coarse.spacing
    near, lost = (
        gaussian_filter(values, sigma, mode="constant", truncate=5.0)
        for values in (shell, shell * gone.astype(np.float32))
    )
    share = np.where(near > _LEAST_WEIGHT, lost / np.maximum(near, _LEAST_WEIGHT), 0)
    return MissingBone(np.clip(share, 0, 1).astype(np.float32), prior, coarse)


def _every(grid: Grid, step: int) -> Grid:
    """Return the grid of every `step`-th voxel."""
    matrix = grid.patient_from_voxel.copy()
    matrix[:3, :3] *= step
    k, j, i = (-(-n // step) for n in grid.shape)
    return Grid((k, j, i), matrix)
