"""Make the averages that ship: mean skull, mean skin and its spread, and the demo head.

In: people prepared on a grid round the whole head (``facegen-train prepare --shipped
--whole-head``), those who train and validate; people of the test part are never averaged.
Out: ``atlas.npz``, which `facegen_inference.atlas` reads, and ``demo_head.npz``, which
`facegen_inference.demo_head` reads.

The files in the resources were made by an earlier form of this code and are not reproduced bit
by bit: there the scans were read anew instead of prepared, one sharp head was the first template,
vertebrae were cut off the average, not off each person, and the landmarks' starting points stood
in that template's frame.  This form has not been run over all the people whose average ships.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, label
from scipy.spatial import cKDTree

from facegen_inference.craniometry import FRAME_CODES, frankfurt
from facegen_inference.errors import UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.progress import Progress, part, silent
from facegen_inference.surface import isosurface
from facegen_inference.volume import Grid
from facegen_training.atlas.mean_head import (
    LEAST_SHARE,
    Array,
    HeadFields,
    group_mean,
    nearest_known,
    rigid_mean,
)
from facegen_training.atlas.vault_cap import capped, redistanced
from facegen_training.cohort.dataset import Dataset

Points = NDArray[np.float64]

LEAST_PEOPLE = 50
"""Fewer are not averaged: what ships must be no one's shape."""
WHOLE_HEAD = PreprocessSpec(shape=(142, 141, 96), clip_mm=40.0)
"""The model's grid continued over vertex and occiput."""
THINNED_MM = 0.7
"""What averaging takes off the bone: where walls do not quite meet, the mean of them is thinner.
Chosen by eye on the mean that ships."""
SPECK_MM3 = 3200.0
"""Smaller loose pieces of the mean bone are left-overs, not mandible or cranium."""
TUBE_MM, REACH_MM = 2.2, 12.0
"""How thin the tube is in which a landmark slides, and how far it may."""
_STEP_MM = 0.05


def build_atlas(data: Dataset, out: Path, progress: Progress = silent) -> list[Path]:
    """Average prepared people and write ``atlas.npz`` and ``demo_head.npz``.

    Parameters
    ----------
    data
        People on a grid that covers the whole head and is symmetric about x = 0.
    out
        Folder to write to, made when missing.
    progress
        Told after each person.

    Returns
    -------
    The files written.

    Raises
    ------
    UserError
        For fewer than `LEAST_PEOPLE` people, or a grid that ends inside the head.
    """
    rows = [*data.rows("train"), *data.rows("validation")]
    if len(rows) < LEAST_PEOPLE:
        raise UserError(
            f"{len(rows)} people are too few for an average that is no one's own head.",
            f"Prepare at least {LEAST_PEOPLE} people of the parts train and validation.",
        )
    _check_grid(data.spec.grid)
    mean = group_mean(data, rows, progress=part(progress, 0.0, 0.95))
    atlas, demo = finished(data, rows, mean)
    out.mkdir(parents=True, exist_ok=True)
    return [write_arrays(out / "atlas.npz", atlas), write_arrays(out / "demo_head.npz", demo)]


def finished(
    data: Dataset, rows: list[int], mean: HeadFields
) -> tuple[dict[str, NDArray[np.generic]], dict[str, NDArray[np.generic]]]:
    """Return the contents of both files from a group's mean: closed, marked, in its own frame."""
    grid, people = data.spec.grid, len(rows)
    bone = (mean.bone - THINNED_MM).astype(np.float32)
    head = capped(HeadFields(bone, mean.skin, mean.people), grid, people)
    bone = _without_specks(head.bone, grid)
    points = landmarks_on(bone, grid)
    turn = frankfurt({code: points[code] for code in FRAME_CODES})

    rigid, spread = rigid_mean(data, rows)
    known = rigid.people >= LEAST_SHARE * people
    skin = np.where(known, rigid.skin, head.skin)
    spread = nearest_known(spread, known)
    bone, skin, spread, model, bone_n, skin_n = (
        _turned(a, grid, turn)
        for a in (bone, skin, spread, head.skin, mean.people, rigid.people)
    )  # fmt: skip
    back = np.linalg.inv(turn)
    places = {code: back[:3, :3] @ p + back[:3, 3] for code, p in points.items()}
    common: dict[str, NDArray[np.generic]] = {
        "frame_from_voxel": grid.patient_from_voxel,
        "landmark_codes": np.array(list(places)),
        "landmark_positions": np.array(list(places.values())),
        "people": np.array(people),
    }
    atlas = {
        "bone": _stored(bone, -20, 40),
        "skin": _stored(skin, -40, 40),
        "skin_sd": _stored(spread, 0, 40),
        "bone_people": np.round(bone_n).astype(np.uint16),
        "skin_people": np.round(skin_n).astype(np.uint16),
    }
    demo = {"skin": _stored(model, -30, 30), "bone": _stored(bone, -15, 30)}
    return {**atlas, **common}, {**demo, **common}


def landmarks_on(bone: Array, grid: Grid) -> dict[str, Points]:
    """Return the landmarks on a mean skull, code → (3,) frame mm, exactly symmetric.

    From its hand-chosen place (``atlas_landmarks.toml``) each slides along its direction to the
    farthest bone in a thin tube, or to the nearest bone when the tube is empty.

    Parameters
    ----------
    bone
        (k, j, i) float32 signed distance, mm, symmetric.
    grid
        Its grid.

    Raises
    ------
    UserError
        When there is no bone.
    """
    surface = isosurface(bone, grid.patient_from_voxel, 0.0).vertices
    if not len(surface):
        raise UserError("The average of these people has no bone.", "Check the prepared people.")
    tree = cKDTree(surface)
    tube = max(TUBE_MM, 1.1 * float(grid.spacing[0]))
    text = (files("facegen_training.atlas") / "atlas_landmarks.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    found = {}
    for code, row in table["midline"].items():
        start, outward = np.array(row["at"]), np.array(row["outward"])
        found[code] = _slid(start, outward, surface, tree, tube) * [0, 1, 1]
    mirror = np.array([-1.0, 1.0, 1.0])
    for code, row in table["paired"].items():
        start, outward = np.array(row["at"]), np.array(row["outward"])
        left = _slid(start, outward, surface, tree, tube)
        right = _slid(start * mirror, outward * mirror, surface, tree, tube) * mirror
        found[f"{code}-L"] = (left + right) / 2
        found[f"{code}-R"] = found[f"{code}-L"] * mirror
    return found


def _slid(start: Points, outward: Points, surface: Points, tree: cKDTree, tube: float) -> Points:
    direction = outward / np.linalg.norm(outward)
    offset = surface - start
    along = offset @ direction
    across = np.linalg.norm(offset - along[:, None] * direction, axis=1)
    inside = (across < tube) & (np.abs(along) < REACH_MM)
    target = start + along[inside].max() * direction if inside.any() else start
    return np.asarray(surface[tree.query(target)[1]])


def _without_specks(bone: Array, grid: Grid) -> Array:
    """Return the bone without small loose pieces."""
    pieces, _ = label(bone < 0)
    size = np.bincount(pieces.ravel()) * float(np.prod(grid.spacing))
    specks = (size < SPECK_MM3)[pieces] & (pieces > 0)
    if not specks.any():
        return bone
    return redistanced(np.where(specks, np.float32(2), bone), grid)


def _turned(values: Array, grid: Grid, old_from_new: NDArray[np.float64]) -> Array:
    """Return values of the old frame on the same grid of the new one."""
    matrix = grid.voxel_from_patient @ old_from_new @ grid.patient_from_voxel
    moved = affine_transform(values, matrix[:3, :3], matrix[:3, 3], order=1, mode="nearest")
    return np.asarray(moved, dtype=np.float32)


def _check_grid(grid: Grid) -> None:
    low, high = grid.corners().min(axis=0), grid.corners().max(axis=0)
    if abs(low[0] + high[0]) > 0.01 or high[0] < 90 or high[1] < 110 or high[2] < 125:
        raise UserError(
            "The people are prepared on a grid that ends inside the head.",
            "Prepare them with facegen-train prepare --shipped --whole-head.",
        )


def _stored(values: Array, low: float, high: float) -> NDArray[np.float16]:
    steps = np.round(np.clip(values, low, high) / _STEP_MM)
    return np.asarray((steps * _STEP_MM).astype(np.float16))


def write_arrays(path: Path, arrays: dict[str, NDArray[np.generic]]) -> Path:
    """Write a compressed ``.npz`` under a temporary name, then rename it; returns `path`."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)
    return path
