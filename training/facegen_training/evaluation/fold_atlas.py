"""The mean skin of a fold's training people, in the form of the atlas that ships.

Bone and landmarks stay those that ship: they say where a head lies and what its bone is, and no
skin is in them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from facegen_inference.atlas import Atlas, load_atlas
from facegen_inference.errors import UserError
from facegen_inference.volume import Grid
from facegen_training.atlas.build_atlas import write_arrays
from facegen_training.atlas.mean_head import LEAST_SHARE, Array, nearest_known, rigid_mean
from facegen_training.cohort.dataset import Dataset

PARTS = ("train", "validation")
"""Whom a built-in method is fitted on: nothing of it is calibrated on people who must not be in it,
so that validation people count as well."""


def fitted_rows(data: Dataset) -> list[int]:
    """Return the positions of the people of `PARTS`."""
    return [row for part in PARTS for row in data.rows(part)]


def atlas_of(data: Dataset, shipped: Atlas | None = None) -> Atlas:
    """Return the shipped atlas with the mean skin and its spread of these people instead.

    Parameters
    ----------
    data
        Prepared people; those of `PARTS` are averaged where they lie, with their mirror images.
    shipped
        Gives bone, landmarks and grid.

    Raises
    ------
    UserError
        When there is nobody, or their grid is not symmetric.
    """
    shipped = shipped or load_atlas()
    rows = fitted_rows(data)
    if not rows:
        raise UserError("There is no one to average.", "Prepare people who train.")
    grid = data.spec.grid
    corners = grid.corners()
    if abs(corners[:, 0].min() + corners[:, 0].max()) > 0.01:
        raise UserError(
            "The people are prepared on a grid that is not symmetric.",
            "Prepare them with a grid whose left and right half are alike.",
        )
    mean, spread = rigid_mean(data, rows)
    known = mean.people >= LEAST_SHARE * len(rows)
    skin = _on(nearest_known(mean.skin, known), grid, shipped.grid)
    sd = _on(nearest_known(spread, known), grid, shipped.grid)
    people = _on(np.where(known, mean.people, 0).astype(np.float32), grid, shipped.grid, 0.0)
    counted = len({data.people[row].whose for row in rows})
    return replace(shipped, skin=skin, skin_sd=sd, skin_people=people, people=counted)


def _on(values: Array, grid: Grid, wanted: Grid, outside: float | None = None) -> Array:
    """Return values of one grid in the frame on another; the nearest where it does not reach."""
    matrix = grid.voxel_from_patient @ wanted.patient_from_voxel
    moved = affine_transform(
        values,
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=wanted.shape,
        order=1,
        mode="nearest" if outside is None else "constant",
        cval=outside or 0.0,
    )
    return np.asarray(moved, dtype=np.float32)


def write_atlas(atlas: Atlas, path: Path) -> Path:
    """Write an atlas as `facegen_inference.atlas.load_atlas` reads it; returns `path`."""
    arrays: dict[str, NDArray[np.generic]] = {
        "bone": atlas.bone.astype(np.float16),
        "skin": atlas.skin.astype(np.float16),
        "skin_sd": atlas.skin_sd.astype(np.float16),
        "bone_people": np.round(atlas.bone_people).astype(np.uint16),
        "skin_people": np.round(atlas.skin_people).astype(np.uint16),
        "frame_from_voxel": atlas.grid.patient_from_voxel,
        "landmark_codes": np.array(list(atlas.landmarks)),
        "landmark_positions": np.array(list(atlas.landmarks.values())),
        "people": np.array(atlas.people),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_arrays(path, arrays)
