"""Smooth random fields: samples of Gaussian processes on lattices, and where randomness starts.

A field with the covariance exp(-d²/2l²) is white noise filtered with a Gaussian of SD l/√2.  Sums
of such fields over several lengths l are the multi-scale kernels of Gaussian process morphable
models (Lüthi, Gerig, Jud & Vetter 2018, IEEE TPAMI 40(8):1860-1873); adding a field to its mirror
image is the symmetrised kernel of Gerig et al. 2018 (Morphable face models: an open framework).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from facegen_inference.volume import Grid

Floats = NDArray[np.float64]

_SIGMA_STEPS = 2.0
"""Lattice points per SD of the filter: a cubic spline between them is then exact to 1 %."""
_MARGIN = 8
"""Lattice points of noise beyond the region wanted, so that the filter never meets an edge."""


def stream(seed: int, number: int, use: str) -> np.random.RandomState:
    """Return random numbers that depend on nothing but seed, person and what they are for.

    `numpy.random.RandomState` draws the same numbers in every version of NumPy.
    """
    words = [seed, number, *use.encode()]
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(words)))


@dataclass(frozen=True)
class Lattice:
    """A box symmetric about x = 0 on which fields are handed on, points `step` mm apart.

    Attributes
    ----------
    grid
        Axis-aligned, (k, j, i) = (z, y, x) of the frame, equal spacing.
    """

    grid: Grid

    @staticmethod
    def over(box: Grid, step: float) -> Lattice:
        """Return a lattice that covers an axis-aligned frame grid."""
        low, high = box.corners().min(axis=0), box.corners().max(axis=0)
        half = float(np.abs([low[0], high[0]]).max())
        low, high = np.array([-half, *low[1:]]), np.array([half, *high[1:]])
        count = np.ceil((high - low) / step).astype(int) + 1
        low[0] = -step * (count[0] - 1) / 2
        return Lattice(aligned_grid(low, step, (int(count[2]), int(count[1]), int(count[0]))))

    @property
    def across(self) -> Floats:
        """Coordinates x of the last axis, mm."""
        step, count = float(self.grid.spacing[0]), self.grid.shape[2]
        return np.asarray(step * (np.arange(count) - (count - 1) / 2), dtype=np.float64)


def aligned_grid(low: Floats, step: float, shape: tuple[int, int, int]) -> Grid:
    """Return the axis-aligned grid of the frame that starts at `low` (x, y, z) mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = step * np.eye(3)[:, ::-1]
    matrix[:3, 3] = low
    return Grid(shape, matrix)


def grid_points(grid: Grid) -> Floats:
    """Return all points of a grid in its space, (N, 3) mm, the last axis fastest."""
    return grid.patient_points(np.indices(grid.shape).reshape(3, -1).T.astype(np.float64))


def unit_field(lattice: Lattice, length_mm: float, random: np.random.RandomState) -> Floats:
    """Return a sample with mean 0, variance 1 and covariance exp(-d²/2l²), (k, j, i)."""
    step = length_mm / np.sqrt(2.0) / _SIGMA_STEPS
    ratio = float(lattice.grid.spacing[0]) / step
    inner = [int(np.ceil((n - 1) * ratio)) + 1 for n in lattice.grid.shape]
    shape = [n + 2 * _MARGIN for n in inner]
    noise = random.standard_normal(shape)
    smooth = gaussian_filter(noise, _SIGMA_STEPS, mode="constant") / _filtered_sd()
    return np.asarray(
        affine_transform(
            smooth, np.full(3, ratio), np.full(3, float(_MARGIN)), order=3,
            output_shape=lattice.grid.shape, mode="nearest",
        )
    )  # fmt: skip


@cache
def _filtered_sd() -> float:
    """Return the SD that unit white noise has after the filter."""
    point = np.zeros(2 * _MARGIN + 1)
    point[_MARGIN] = 1.0
    return float((gaussian_filter(point, _SIGMA_STEPS) ** 2).sum() ** 1.5)


def mostly_symmetric(field: Floats, lattice: Lattice, length_mm: float, uneven: float) -> Floats:
    """Return a field whose odd part about x = 0 has the share `uneven` of the variance.

    Parameters
    ----------
    field
        (k, j, i) from `unit_field`; a scalar, or the component of a vector along y or z.
    uneven
        0 symmetric, 0.5 no relation between the sides, 1 antisymmetric.

    Returns
    -------
    Unit variance everywhere, the midline included.
    """
    mirrored = field[:, :, ::-1]
    even, odd = (field + mirrored) / np.sqrt(2), (field - mirrored) / np.sqrt(2)
    near = np.exp(-((2 * lattice.across) ** 2) / (2 * length_mm**2))
    sd = np.sqrt((1 - uneven) * (1 + near) + uneven * (1 - near))
    return np.asarray((np.sqrt(1 - uneven) * even + np.sqrt(uneven) * odd) / sd)


def mostly_mirrored(field: Floats, uneven: float) -> Floats:
    """Return the x component of a displacement that is mirrored about x = 0 like the face.

    It fades to `uneven` at the midline, which moves sideways only as far as a face is uneven.
    """
    mirrored = field[:, :, ::-1]
    even, odd = (field + mirrored) / np.sqrt(2), (field - mirrored) / np.sqrt(2)
    return np.asarray(np.sqrt(1 - uneven) * odd + np.sqrt(uneven) * even)
