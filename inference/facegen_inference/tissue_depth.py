"""The tissue-depth method: a smooth face through the tips of depth pegs, as examiners do by hand.

The mean face is carried to the peg tips by a smooth deformation, so that between pegs it stays
face-like; what distance remains is then taken up.  The tip of the nose follows Rynn 2010.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import affine_transform, map_coordinates

from facegen_inference.atlas import Atlas, load_atlas
from facegen_inference.depth_table import DEFAULT_TABLE, DepthTable, load_depth_table
from facegen_inference.errors import UserError
from facegen_inference.face import Face, Variant
from facegen_inference.face_surface import face_from_field
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks
from facegen_inference.mean_face import BUILD_SD, build_steps, profile_notes
from facegen_inference.pegs import (
    BoneNormals,
    Peg,
    expected_direction,
    nose_tip,
    place_pegs,
    usable_points,
)
from facegen_inference.progress import Progress
from facegen_inference.provenance import timed
from facegen_inference.skull import Skull

if TYPE_CHECKING:
    from facegen_inference.reconstruct import Request

LEAST_PEGS = 8
STEP_MM = 6.0
"""The deformation is smooth: computed at points so far apart, linear between them."""
STIFFNESS = 3.0
"""Smoothing of the deformation (biharmonic splines, mm)."""
REST_STIFFNESS = 1.0
MAX_SHIFT_MM = 25.0
FURTHEST_SKIN_MM = 60.0


@dataclass(frozen=True)
class _Pair:
    """A peg, and where the mean face has its skin."""

    peg: Peg
    mean_skin: NDArray[np.float64]


def predict_face(
    skull: Skull, frame: Frame, landmarks: Landmarks, request: Request, progress: Progress
) -> Face:
    """Reconstruct a face from a table of tissue depths.

    Parameters
    ----------
    skull, frame, landmarks
        Of one person, patient space (LPS mm); landmarks not found on bone are left out.
    request
        ``depth_table``, ``profile.build``, ``variants`` and ``atlas`` have influence.
    progress
        Told how far the work is; may raise `Cancelled`.

    Raises
    ------
    UserError
        For an unknown table, or when hardly any landmark was found.
    """
    table = load_depth_table(request.depth_table)
    timings: dict[str, float] = {}
    with timed(timings, "pegs"):
        atlas = load_atlas(request.atlas)
        progress(0.05, "placing depth pegs")
        pegs, notes = pegs_on(skull, frame, landmarks, table)
        pairs = _paired(pegs, atlas)
    chosen = BUILD_SD.get(request.profile.build, 0.0)
    wanted = {"": chosen, **build_steps(request.variants)}
    spread = spread_field(pegs, atlas)
    meshes = {}
    with timed(timings, "surface"):
        for number, (name, steps) in enumerate(wanted.items()):
            progress(0.2 + 0.8 * number / len(wanted), "a face through the pegs")
            field = face_field(pairs, atlas, steps)
            meshes[name] = face_from_field(field, spread, atlas.grid, skull, frame, landmarks)
    progress(1.0, "face ready")
    why = f"the table {table.name} is for {table.sex} sex, {table.age}"
    return Face(
        mesh=meshes.pop(""),
        method="tissue-depth",
        variants=tuple(Variant(name, mesh) for name, mesh in meshes.items()),
        notes=(*notes, *profile_notes(request.profile, why)),
        device="CPU",
        timings=timings,
    )


def pegs_on(
    skull: Skull, frame: Frame, landmarks: Landmarks, table: DepthTable
) -> tuple[list[Peg], list[str]]:
    """Return the pegs of a table on a skull, and sentences about source and gaps.

    Raises
    ------
    UserError
        When fewer than `LEAST_PEGS` can stand.
    """
    points = usable_points(landmarks, frame)
    default = load_depth_table(DEFAULT_TABLE).depths
    spare = {code: depth.sd_mm for code, depth in default.items() if depth.sd_mm is not None}
    pegs = place_pegs(points, BoneNormals(skull, frame), table, spare)
    if len(pegs) < LEAST_PEGS:
        raise UserError(
            f"Only {len(pegs)} points of the table were found on bone; "
            f"the tissue-depth method needs {LEAST_PEGS}.",
            "Place landmarks by hand (--landmarks FILE) or use another method.",
        )
    notes = [
        f"Tissue depths of the table {table.name} ({table.population}): {table.source}; "
        f"verification: {table.verification}."
    ]
    if not table.has_sd:
        notes.append(f"The table states no spread; that of {DEFAULT_TABLE} was taken.")
    missing = sorted(set(table.depths) - {peg.code for peg in pegs})
    notes.append(f"{len(pegs)} depth pegs stand on bone.")
    if missing:
        notes.append(f"No bone was found for {', '.join(missing)}: no peg there.")
    tip = nose_tip(points)
    if tip is None:
        notes.append("The tip of the nose follows the mean face: its bone is missing or blurred.")
        return pegs, notes
    notes.append(
        "The tip of the nose follows Rynn, Wilkinson & Peters 2010 (coefficients read second-hand)."
    )
    return [*pegs, tip], notes


def _paired(pegs: list[Peg], atlas: Atlas) -> list[_Pair]:
    """Return the pegs whose place on the mean face is known, with that place."""
    pairs = []
    for peg in pegs:
        if peg.code == "prn":
            spot = mean_nose_tip(atlas)
        elif peg.code in atlas.landmarks:
            base = np.array(atlas.landmarks[peg.code])
            expected = expected_direction(peg.code)
            spot = None if expected is None else _skin_along(atlas, base, expected)
        else:
            spot = None
        if spot is not None and np.linalg.norm(peg.tip(0) - spot) <= 2 * MAX_SHIFT_MM:
            pairs.append(_Pair(peg, spot))
    return pairs


def _skin_at(atlas: Atlas, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean skin's signed distance at (N, 3) frame points, mm."""
    at = atlas.grid.voxel_points(points).T
    return np.asarray(map_coordinates(atlas.skin, at, order=1, mode="nearest"), dtype=np.float64)


def _skin_along(
    atlas: Atlas, base: NDArray[np.float64], direction: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return where a ray from bone leaves the mean face for good, or None."""
    depth = np.arange(0.0, FURTHEST_SKIN_MM, 0.5)
    values = _skin_at(atlas, base + depth[:, None] * direction)
    inside = np.flatnonzero(values < 0)
    if not len(inside) or inside[-1] + 1 >= len(depth):
        return None
    last = inside[-1]
    part = values[last] / (values[last] - values[last + 1])
    return np.asarray(base + (depth[last] + 0.5 * part) * direction)


def mean_nose_tip(atlas: Atlas) -> NDArray[np.float64] | None:
    """Return the most anterior point of the mean skin in the midline below nasion, frame mm."""
    if not {"n", "ss"} <= atlas.landmarks.keys():
        return None
    top, low = atlas.landmarks["n"][2] - 10, atlas.landmarks["ss"][2] - 3
    rows = [
        _skin_along(atlas, np.array([0.0, atlas.landmarks["ss"][1], z]), np.array([0.0, -1, 0]))
        for z in np.arange(low, top, 1.0)
    ]
    found = [row for row in rows if row is not None]
    return min(found, key=lambda row: float(row[1])) if found else None


def _stride(atlas: Atlas) -> int:
    """Return how many voxels of the atlas lie between points that are computed."""
    return max(1, round(STEP_MM / float(atlas.grid.spacing.max())))


def _coarse_points(atlas: Atlas) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """Return frame points `_stride` voxels apart, to beyond the last voxels, and their shape."""
    stride = _stride(atlas)
    k, j, i = (-(-(n - 1) // stride) + 1 for n in atlas.grid.shape)
    index = stride * np.indices((k, j, i)).reshape(3, -1).T.astype(np.float64)
    return atlas.grid.patient_points(index), (k, j, i)


def _full(
    values: NDArray[np.float64], shape: tuple[int, int, int], atlas: Atlas
) -> NDArray[np.float64]:
    """Return coarse values on every voxel of the atlas, linearly."""
    return np.asarray(
        affine_transform(
            values.reshape(shape),
            np.full(3, 1 / _stride(atlas)),
            output_shape=atlas.grid.shape,
            order=1,
            mode="nearest",
        )
    )


def face_field(pairs: list[_Pair], atlas: Atlas, steps: float) -> NDArray[np.float32]:
    """Return a signed distance to a skin through the peg tips.

    Parameters
    ----------
    pairs
        Pegs and their places on the mean face.
    atlas
        The mean face.
    steps
        Standard deviations of depth from the table's means.

    Returns
    -------
    (k, j, i) float32 on the atlas's grid, mm, negative inside; exact in sign at the tips up to
    the smoothing, a distance approximately.

    Notes
    -----
    Two biharmonic splines (kernel r in three dimensions): one carries points at the tips back to
    the mean face, the other takes up what is left of the distance there.
    """
    tips = np.array([pair.peg.tip(steps) for pair in pairs])
    rest_points = np.array([pair.mean_skin for pair in pairs])
    doubt = 1 / np.maximum([pair.peg.confidence for pair in pairs], 0.1)
    coarse, shape = _coarse_points(atlas)
    back = RBFInterpolator(
        tips, rest_points - tips, kernel="linear", degree=1, smoothing=STIFFNESS * doubt
    )
    shift = np.clip(back(coarse), -MAX_SHIFT_MM, MAX_SHIFT_MM)
    full = np.stack([_full(shift[:, axis], shape, atlas) for axis in range(3)], axis=-1)
    index = np.indices(atlas.grid.shape).reshape(3, -1).T.astype(np.float64)
    points = atlas.grid.patient_points(index) + full.reshape(-1, 3)
    carried = _skin_at(atlas, points).reshape(atlas.grid.shape)
    at_tips = map_coordinates(carried, atlas.grid.voxel_points(tips).T, order=1, mode="nearest")
    left = RBFInterpolator(
        tips, at_tips, kernel="linear", degree=0, smoothing=REST_STIFFNESS * doubt
    )
    correction = _full(np.clip(left(coarse), -MAX_SHIFT_MM, MAX_SHIFT_MM), shape, atlas)
    return np.asarray(carried - correction, dtype=np.float32)


def spread_field(pegs: list[Peg], atlas: Atlas) -> NDArray[np.float32]:
    """Return one SD of the skin between the pegs, (k, j, i) float32 mm.

    The table's values weighted by inverse squared distance (Shepard), so never beyond them.
    """
    coarse, shape = _coarse_points(atlas)
    tips = np.array([peg.tip(0) for peg in pegs])
    weights = 1 / (((coarse[:, None] - tips[None]) ** 2).sum(axis=2) + 25.0)
    sd = (weights * [peg.sd_mm for peg in pegs]).sum(axis=1) / weights.sum(axis=1)
    return np.asarray(_full(sd, shape, atlas), dtype=np.float32)
