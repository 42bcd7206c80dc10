"""Fit the template method on prepared people and write its file.

Everything comes from the prepared fields; no scan is read.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facegen_inference.errors import UserError
from facegen_inference.face_region import predicted_region
from facegen_inference.face_surface import FACTOR50, FACTOR90
from facegen_inference.progress import Progress, part, silent
from facegen_inference.template_model import VERSION, TemplateModel, write_template
from facegen_training.cohort.dataset import Dataset
from facegen_training.template.laid_people import (
    Group,
    kernel_of,
    laid,
    scores_of,
    shape_model,
)
from facegen_training.template.mean_shape import Surfaces, coarse_grid
from facegen_training.template.regression import Tried, cross_validated, filled, regressed

FEWEST = 8
"""People without whom nothing can be said of variation."""
OTHERS = 6
"""Directions of what shape does not tell that are kept."""
LEAST_SD_MM = 0.5


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
    people = len({data.people[row].whose for row in rows})
    if people < FEWEST:
        raise UserError(
            f"{people} people are too few for a template.", f"Give at least {FEWEST} people."
        )
    group = laid(data, rows, part(progress, 0.0, 0.97))
    write_template(model_of(group, data), out)
    progress(1.0, "template written")
    return out


def model_of(group: Group, data: Dataset) -> TemplateModel:
    """Return the template of a group, its regression chosen by cross-validation."""
    surfaces = group.surfaces
    outer = group.outer
    people = len(np.unique(group.person))
    importance = _importance(surfaces)
    kernel = kernel_of(outer, group.coefficients)
    tried = cross_validated(kernel, group.depth, group.person, importance)
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
