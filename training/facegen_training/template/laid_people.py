"""People laid on their own mean: who lies where, and how deep their skin is over it.

Everyone is registered once to a blurred mean and once to the sharp one, then again by what their
shapes say skulls do, so that what a scan does not show follows the rest of that skull.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.progress import Progress, part
from facegen_inference.template_registration import (
    BoneField,
    OuterBone,
    Points,
    SmoothBasis,
    register,
    smooth_basis,
)
from facegen_inference.template_shape import ShapeModel
from facegen_inference.volume import Grid
from facegen_training.cohort.dataset import Dataset
from facegen_training.template.mean_shape import (
    Fields,
    FieldSum,
    Surfaces,
    Warp,
    coarse_fields,
    coarse_grid,
    surfaces_of,
)
from facegen_training.template.regression import Scores, scores

REACH_MM, STEP_MM = 24.0, 1.0
"""How far along the normal the true skin is looked for, and in what steps."""


@dataclass(frozen=True)
class Group:
    """The people of a fit, laid on the mean.

    Attributes
    ----------
    surfaces
        Mean bone and skin.
    basis
        Smooth functions.
    mean
        Mean fields on the coarse grid.
    coefficients
        (2 n, R, 3) displacement of each person, then of their mirror images.
    depth
        (2 n, M) mm: where the true skin lies; NaN where not known.
    person
        (2 n,) whose scan each row is, numbered from 0.
    """

    surfaces: Surfaces
    basis: SmoothBasis
    mean: Fields
    coefficients: NDArray[np.float64]
    depth: NDArray[np.float64]
    person: NDArray[np.int64]

    @property
    def outer(self) -> OuterBone:
        """The surface that was registered."""
        bone = self.surfaces.bone
        return OuterBone(bone, self.surfaces.bone_normals, self.basis.at(bone))


def laid(data: Dataset, rows: list[int], progress: Progress) -> Group:
    """Return some prepared people laid on their mean.

    Parameters are those of `facegen_training.template.fit_template.fit_template`.
    """
    people = _People(data, rows)
    surfaces, basis, mean = _mean_of(people, part(progress, 0.0, 0.35))
    return _laid(people, surfaces, basis, mean, part(progress, 0.35, 1.0))


class _People:
    """Reads prepared people, on their grid and on the coarse one."""

    def __init__(self, data: Dataset, rows: list[int]) -> None:
        self.grid = data.spec.grid
        self.coarse_grid = coarse_grid(self.grid)
        self.count = len(rows)
        number: dict[str, int] = {}
        whose = [number.setdefault(data.people[row].whose, len(number)) for row in rows]
        self.person = np.array(whose, dtype=np.int64)
        self._data, self._rows = data, rows

    def full(self, number: int) -> Fields:
        """Return one person's fields."""
        return Fields(*self._data.fields(self._rows[number]).numpy())

    def coarse(self, number: int) -> Fields:
        """Return one person's fields on the coarse grid."""
        return coarse_fields(self.full(number), self.grid)


def _mean_of(people: _People, progress: Progress) -> tuple[Surfaces, SmoothBasis, Fields]:
    """Return mean surfaces sharp, a basis for their displacement, and mean fields."""
    blurred = FieldSum.empty(people.coarse_grid.shape)
    coarse = []
    for number in range(people.count):
        coarse.append(people.coarse(number))
        blurred.add(coarse[-1])
        progress(0.2 * (number + 1) / people.count, "averaging")
    outer, basis, _ = _registrable(blurred.mean(), people.coarse_grid)
    warp = Warp(basis, people.coarse_grid)
    sharp = FieldSum.empty(people.coarse_grid.shape)
    for number, one in enumerate(coarse):
        found = register(outer, BoneField(one.bone, one.observed, people.coarse_grid))
        sharp.add(warp(one, found.coefficients))
        progress(0.2 + 0.8 * (number + 1) / people.count, "mean skull")
    mean = sharp.mean()
    _, basis, surfaces = _registrable(mean, people.coarse_grid)
    return surfaces, basis, mean


def _registrable(mean: Fields, grid: Grid) -> tuple[OuterBone, SmoothBasis, Surfaces]:
    surfaces = surfaces_of(mean, grid)
    basis = smooth_basis(np.concatenate([surfaces.bone, surfaces.skin]))
    outer = OuterBone(surfaces.bone, surfaces.bone_normals, basis.at(surfaces.bone))
    return outer, basis, surfaces


def _laid(
    people: _People, surfaces: Surfaces, basis: SmoothBasis, mean: Fields, progress: Progress
) -> Group:
    """Register everyone to the sharp mean, the second time from what their own shape suggests."""
    outer = OuterBone(surfaces.bone, surfaces.bone_normals, basis.at(surfaces.bone))
    mirror = Mirror(surfaces, basis)
    first = []
    for number in range(people.count):
        one = people.full(number)
        bone = BoneField(one.bone, one.observed, people.grid)
        first.append(register(outer, bone).coefficients)
        progress(0.6 * (number + 1) / people.count, "registration")
    rough = mirror.both(np.array(first))
    shape = shape_model(outer, rough, scores_of(outer, rough))
    final = np.empty((people.count, *shape.mean.shape))
    depth = np.empty((people.count, len(surfaces.skin)))
    for number in range(people.count):
        one = people.full(number)
        bone = BoneField(one.bone, one.observed, people.grid)
        final[number] = shape.register(bone).coefficients
        carried = surfaces.skin + mirror.at_skin @ final[number]
        depth[number] = true_depth(one, people.grid, carried, surfaces.skin_normals)
        progress(0.6 + 0.4 * (number + 1) / people.count, "depth of skin")
    both = np.concatenate([depth, depth[:, surfaces.skin_mirror]])
    return Group(surfaces, basis, mean, mirror.both(final), both, np.tile(people.person, 2))


class Mirror:
    """Mirrors displacements that are written in a basis symmetric about x = 0."""

    def __init__(self, surfaces: Surfaces, basis: SmoothBasis) -> None:
        self.at_skin = basis.at(surfaces.skin)
        image = basis.at(surfaces.skin * [-1.0, 1.0, 1.0])
        self._turn = np.linalg.lstsq(self.at_skin, image, rcond=None)[0]

    def both(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, R, 3) coefficients followed by those of the mirror images."""
        mirrored = np.einsum("rq,nqc->nrc", self._turn, coefficients) * [-1.0, 1.0, 1.0]
        return np.concatenate([coefficients, mirrored])


def kernel_of(outer: OuterBone, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return inner products of displacements of the bone, (n, n) mm², a mean over points."""
    metric = outer.basis_at.T @ outer.basis_at / len(outer.points)
    seen = np.einsum("rq,nqc->nrc", metric, coefficients)
    return np.asarray(np.einsum("nrc,mrc->nm", coefficients, seen, optimize=True))


def scores_of(outer: OuterBone, coefficients: NDArray[np.float64]) -> Scores:
    """Return the components of everyone's shape."""
    everyone = np.ones(len(coefficients), dtype=bool)
    return scores(kernel_of(outer, coefficients), everyone, everyone)


def shape_model(outer: OuterBone, coefficients: NDArray[np.float64], found: Scores) -> ShapeModel:
    """Return mean and components of displacements in coefficients of the basis."""
    mean = coefficients.mean(axis=0)
    modes = np.einsum("nk,nrc->krc", found.train, coefficients - mean) / len(coefficients)
    return ShapeModel(outer, mean, modes)


def true_depth(one: Fields, grid: Grid, points: Points, normals: Points) -> NDArray[np.float64]:
    """Return where the true skin is met along normals, (M,) mm outward; NaN where it is not.

    Parameters
    ----------
    one
        A person's fields.
    grid
        Their grid.
    points, normals
        (M, 3) frame mm and unit vectors.
    """
    way = np.arange(-REACH_MM, REACH_MM + STEP_MM, STEP_MM)
    line = (points[:, None] + way[None, :, None] * normals[:, None]).reshape(-1, 3)
    at = grid.voxel_points(line).T
    skin, valid = (
        map_coordinates(a, at, order=1, mode=mode).reshape(len(points), -1)
        for a, mode in ((one.skin, "nearest"), (one.valid, "constant"))
    )
    inside, outside = skin[:, :-1], skin[:, 1:]
    known = (valid[:, :-1] > 0.99) & (valid[:, 1:] > 0.99)
    crossed = (inside < 0) & (outside >= 0) & known
    share = inside / np.where(crossed, inside - outside, 1.0)
    where = np.where(crossed, way[:-1] + share * STEP_MM, np.inf)
    nearest = where[np.arange(len(points)), np.abs(where).argmin(axis=1)]
    return np.where(np.isfinite(nearest), nearest, np.nan)
