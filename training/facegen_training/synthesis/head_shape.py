"""The shape of a made person: the mean head under a smooth random displacement.

A Gaussian process morphable model (see `facegen_training.synthesis.random_fields`) with three
lengths.  Displacements point from the person back to the mean head, so that a field of the person
is the mean head's field read at the displaced place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.volume import Grid
from facegen_training.synthesis.random_fields import (
    Lattice,
    mostly_mirrored,
    mostly_symmetric,
    stream,
    unit_field,
)

Floats = NDArray[np.float64]

SCALES_MM = ((80.0, 3.3), (30.0, 1.6), (14.0, 0.55))
"""Length and SD of each component of the displacement: size and proportions of the head, of its
parts, of details.  That bones of different people lie 2-4 mm apart after the best rigid fit is
measured (cohort of the project's atlas); how it is shared between the lengths is our choice, made
so that made heads lie as far apart (tests/training/synthesis/test_head_shape.py)."""
UNEVEN = 0.08
"""Share of the variance that differs between left and right: our choice."""
LATTICE_MM = 4.0
_INVERSE_STEPS = 25


@dataclass(frozen=True)
class Displacement:
    """Where each point of a person comes from: p on the person, p + u(p) on the mean head.

    Attributes
    ----------
    field
        (3, K, J, I) float32, u as (x, y, z) mm on the lattice's points.
    lattice
        Its lattice in the frame.
    """

    field: NDArray[np.float32]
    lattice: Lattice

    def at(self, points: Floats) -> Floats:
        """Return u at (N, 3) frame points, mm; beyond the lattice the nearest."""
        voxel = self.lattice.grid.voxel_points(points).T
        return np.stack([map_coordinates(u, voxel, order=1, mode="nearest") for u in self.field], 1)

    def to_person(self, points: Floats) -> Floats:
        """Carry (N, 3) points of the mean head to the person, mm.

        Fixed-point iteration of p = q − u(p) (Chen et al. 2008); converges where u changes by less
        than it moves.
        """
        there = points - self.at(points)
        for _ in range(_INVERSE_STEPS):
            there = points - self.at(there)
        return np.asarray(there)


def stretch_sd(distance_mm: Floats) -> Floats:
    """Return the SD that shape gives to the distance of two points so far apart, along it, mm."""
    variance = [
        2 * sd**2 * -np.expm1(-(distance_mm**2) / (2 * length**2)) for length, sd in SCALES_MM
    ]
    return np.asarray(np.sqrt(np.sum(variance, axis=0)))


def draw_shape(box: Grid, seed: int, number: int) -> Displacement:
    """Return a person's displacement.

    Parameters
    ----------
    box
        The mean head's grid, axis-aligned.
    seed, number
        Of the cohort, of the person.
    """
    lattice = Lattice.over(box, LATTICE_MM)
    random = stream(seed, number, "shape")
    total = np.zeros((3, *lattice.grid.shape))
    for length, sd in SCALES_MM:
        total[0] += sd * mostly_mirrored(unit_field(lattice, length, random), UNEVEN)
        for axis in (1, 2):
            drawn = unit_field(lattice, length, random)
            total[axis] += sd * mostly_symmetric(drawn, lattice, length, UNEVEN)
    return Displacement(total.astype(np.float32), lattice)
