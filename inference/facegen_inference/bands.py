"""From a predicted spread to the bands on a face: calibration by region, and missing bone.

A band's half-width is what a Gaussian of the spread would have, times the calibration's factor of
the region.  From one region to the next the factor changes smoothly, so that no step stands on the
face; where bone is missing the band grows (`facegen_inference.missing_bone`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from facegen_inference.card import Calibration
from facegen_inference.face_region import REGION_NAMES, LandmarksInFrame, face_regions
from facegen_inference.missing_bone import MissingBone
from facegen_inference.volume import Grid

Floats = NDArray[np.float32]
Points = NDArray[np.float64]

FACTOR50, FACTOR90 = 0.6745, 1.6449
"""Half-widths of the central 50 % and 90 % of a Gaussian, in standard deviations."""
BLEND_MM = 5.0
"""SD of the Gaussian that carries a factor over the border of its region."""
_STEP_MM = 4.0
_ONE_SD = (FACTOR90 - 1) / (FACTOR90 - FACTOR50)
"""Where one SD lies between the half-widths of the 90 % and the 50 % band."""


@dataclass(frozen=True)
class Bands:
    """What turns a spread into bands.

    Attributes
    ----------
    factors
        On the 50 % and the 90 % band of a Gaussian.
    regions
        Region name → factors there, where they differ.
    missing
        Bone that the skull lacks; None where that adds nothing.
    """

    factors: tuple[float, float] = (1.0, 1.0)
    regions: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    missing: MissingBone | None = None

    @staticmethod
    def of(calibration: Calibration, missing: MissingBone | None = None) -> Bands:
        """Return the bands of a model's calibration."""
        return Bands(
            (calibration.factor50, calibration.factor90),
            {one.name: (one.factor50, one.factor90) for one in calibration.regions},
            missing,
        )

    def at(
        self, spread: Floats, points: Points, landmarks: LandmarksInFrame | None = None
    ) -> dict[str, Floats]:
        """Return the vertex data of a face's uncertainty.

        Parameters
        ----------
        spread
            (N,) mm, one SD as the method predicts it.
        points
            (N, 3) on the predicted skin, frame mm.
        landmarks
            The person's, in the frame; they fit the regions.

        Returns
        -------
        ``band50_mm`` and ``band90_mm``, half-widths along the normal, and ``spread_mm``, the SD
        that goes with them: on the straight line between both, as a Gaussian's one SD lies.
        """
        half, most = (
            np.float32(width) * self._widened(spread * self.factor(n, points, landmarks), points)
            for n, width in enumerate((FACTOR50, FACTOR90))
        )
        most = np.maximum(most, half)
        one = np.float32(_ONE_SD) * half + np.float32(1 - _ONE_SD) * most
        return {"spread_mm": one, "band50_mm": half, "band90_mm": most}

    def factor(self, which: int, points: Points, landmarks: LandmarksInFrame | None) -> Floats:
        """Return the factor of the 50 % band (0) or the 90 % band (1) at (N, 3) frame points."""
        values = {name: factors[which] for name, factors in self.regions.items()}
        return blended(values, self.factors[which], points, landmarks)

    def _widened(self, spread: Floats, points: Points) -> Floats:
        return spread if self.missing is None else self.missing.widened(spread, points)


def blended(
    values: Mapping[str, float], other: float, points: Points, landmarks: LandmarksInFrame | None
) -> Floats:
    """Return a value that each region has, changing smoothly where regions meet.

    Parameters
    ----------
    values
        Region name → value.
    other
        Value of a region that `values` does not name.
    points
        (N, 3) frame mm.
    landmarks
        Of the person, in the frame.

    Returns
    -------
    (N,) float32: the mean over the regions near a point, weighed by a Gaussian of `BLEND_MM`;
    what lies outside the face has no say.
    """
    if not values or not len(points):
        return np.full(len(points), other, dtype=np.float32)
    grid = _grid_around(points)
    table = np.array([0.0, *(values.get(name, other) for name in REGION_NAMES[1:])], np.float32)
    code = face_regions(
        grid.patient_points(np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)), landmarks
    ).reshape(grid.shape)
    at = grid.voxel_points(points).T
    total, weight = (
        map_coordinates(
            gaussian_filter(layer, BLEND_MM / _STEP_MM, mode="nearest"), at, order=1, mode="nearest"
        )
        for layer in (table[code], (code > 0).astype(np.float32))
    )
    inside = weight > 1e-3
    return np.where(inside, total / np.where(inside, weight, 1), other).astype(np.float32)


def _grid_around(points: Points) -> Grid:
    """Return a grid of `_STEP_MM` in the frame that reaches beyond the points by 4 `BLEND_MM`."""
    margin = 4 * BLEND_MM
    low = points.min(axis=0) - margin
    count = np.ceil((points.max(axis=0) + margin - low) / _STEP_MM).astype(int) + 1
    matrix = np.eye(4)
    matrix[:3, :3] = _STEP_MM * np.eye(3)[:, ::-1]
    matrix[:3, 3] = low
    return Grid((int(count[2]), int(count[1]), int(count[0])), matrix)
