"""Fit the template method on prepared people and write its file.

Everything comes from the prepared fields; no scan is read.  Registered once on a blurred mean and
once on the sharp one, then once more from what the shape model expects, so that what a scan
does not show follows the rest of that skull.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.errors import UserError
from facegen_inference.face_region import predicted_region
from facegen_inference.face_surface import FACTOR50, FACTOR90
from facegen_inference.progress import Progress, part, silent
from facegen_inference.template_model import VERSION, TemplateModel, write_template
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
from facegen_training.template.regression import (
    Scores,
    Tried,
    cross_validated,
    filled,
    regressed,
    scores,
)

FEWEST = 8
"""People without whom nothing can be said of variation."""
REACH_MM, STEP_MM = 24.0, 1.0
"""How far along the normal the true skin is looked for, and in what steps."""
OTHERS = 6
"""Directions of what shape does not tell that are kept."""
LEAST_SD_MM = 0.5


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
    """

    surfaces: Surfaces
    basis: SmoothBasis
    mean: Fields
    coefficients: NDArray[np.float64]
    depth: NDArray[np.float64]


def fit_template(data: Dataset, rows: list[int], out: Path, progress: Progress = silent) -> Path:
    """Fit the template on some prepared people and write its file.

    Parameters
    ----------
    data
        Prepared people.
    rows
        Positions of those to fit on; nobody else is looked at.
    out
        File to write (``.npz``).
    progress
        Told after each person; may raise `Cancelled`.

    Returns
    -------
    `out`.

    Raises
    ------
    UserError
        For fewer than `FEWEST` people, or when their mean has no skull or face.
    """
    if len(rows) < FEWEST:
        raise UserError(
            f"{len(rows)} people are too few for a template.", f"Give at least {FEWEST} people."
        )
    people = _People(data, rows)
    surfaces, basis, mean = _mean_of(people, part(progress, 0.0, 0.35))
    group = _laid(people, surfaces, basis, mean, part(progress, 0.35, 0.97))
    model = model_of(group, data)
    write_template(model, out)
    progress(1.0, "template written")
    return out


class _People:
    """Reads prepared people, on their grid and on the coarse one."""

    def __init__(self, data: Dataset, rows: list[int]) -> None:
        self.grid = data.spec.grid
        self.coarse_grid = coarse_grid(self.grid)
        self.count = len(rows)
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
    return Group(surfaces, basis, mean, mirror.both(final), both)


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


def model_of(group: Group, data: Dataset) -> TemplateModel:
    """Return the template of a group, its regression chosen by cross-validation."""
    surfaces = group.surfaces
    outer = OuterBone(surfaces.bone, surfaces.bone_normals, group.basis.at(surfaces.bone))
    people = len(group.depth) // 2
    importance = _importance(surfaces)
    kernel = kernel_of(outer, group.coefficients)
    tried = cross_validated(kernel, group.depth, np.tile(np.arange(people), 2), importance)
    found = scores_of(outer, group.coefficients)
    full, mean = filled(group.depth)
    shape = shape_model(outer, group.coefficients, found)
    spread, others, calibration = _missed(tried, importance, people)
    return TemplateModel(
        bone=surfaces.bone,
        bone_normals=surfaces.bone_normals,
        skin=surfaces.skin,
        skin_normals=surfaces.skin_normals,
        centres=group.basis.centres,
        weights=group.basis.weights,
        shape_mean=shape.mean,
        shape_modes=shape.modes,
        depth_mean=mean,
        depth_modes=regressed(tried.choice, found, full, importance),
        other_modes=others,
        spread=spread,
        skin_field=group.mean.skin.astype(np.float64),
        field_matrix=coarse_grid(data.spec.grid).patient_from_voxel,
        about={
            "version": VERSION,
            "spec": json.loads(data.spec.to_json()),
            "people": people,
            "manifest_sha256": data.manifest_sha256,
            "regression": tried.choice.kind,
            "rank": tried.choice.rank,
            "error_mm": tried.error_mm,
            "calibration": calibration,
        },
    )


def _importance(surfaces: Surfaces) -> NDArray[np.float64]:
    """Return the area that each point of skin stands for where a face is predicted, (M,) mm²."""
    corners = surfaces.skin[surfaces.triangles]
    edge = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    third = np.linalg.norm(edge, axis=1) / 6
    area = np.bincount(surfaces.triangles.ravel(), np.repeat(third, 3), len(surfaces.skin))
    return np.asarray(np.where(predicted_region(surfaces.skin), area, 0.02 * area))


def _missed(
    tried: Tried, importance: NDArray[np.float64], people: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[float]]:
    """Return spread, leading directions and the bands' factors of what was missed."""
    known = np.isfinite(tried.missed)
    missed = np.where(known, tried.missed, 0.0)
    count = np.maximum(known.sum(axis=0), 1)
    spread = np.maximum(np.sqrt((missed**2).sum(axis=0) / count), LEAST_SD_MM)
    weighted = filled(tried.missed)[0] * np.sqrt(importance)
    _, vectors = np.linalg.eigh(weighted @ weighted.T)
    top = vectors[:, ::-1][:, : min(OTHERS, people - 1)]
    modes = top.T @ filled(tried.missed)[0] / np.sqrt(len(missed))
    modes *= np.where((modes @ importance) < 0, -1.0, 1.0)[:, None]
    share = (np.abs(missed) / spread)[known]
    weight = np.broadcast_to(importance, known.shape)[known]
    order = np.argsort(share)
    cumulative = np.cumsum(weight[order]) / weight.sum()
    at50, at90 = (float(share[order][np.searchsorted(cumulative, p)]) for p in (0.5, 0.9))
    return spread, modes, [round(at50 / FACTOR50, 4), round(at90 / FACTOR90, 4)]
