"""The tissue-depth method: a face over depth pegs on the skull, as examiners do by hand.

The mean head is carried onto the skull, nose, eyes and mouth by the rules of `feature_rules`; then
the pegs of a published table move its skin to the depths that the table states, each as far as its
depth is the same from person to person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facegen_inference.atlas import Atlas, load_atlas
from facegen_inference.carried_head import (
    bone_controls,
    bone_on,
    carried_skin,
    coarse_points,
    on_every_voxel,
)
from facegen_inference.depth_table import DEFAULT_TABLE, DepthTable, load_depth_table
from facegen_inference.errors import UserError
from facegen_inference.face import Face, Variant
from facegen_inference.face_surface import face_from_field
from facegen_inference.feature_rules import features
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks
from facegen_inference.mean_face import BUILD_SD, age_warnings, build_steps, profile_notes
from facegen_inference.mean_skin import sampled
from facegen_inference.pegs import (
    BoneNormals,
    FoundPoints,
    Peg,
    place_pegs,
    usable_points,
    ways_to_skin,
)
from facegen_inference.progress import Progress
from facegen_inference.provenance import timed
from facegen_inference.skull import Skull

if TYPE_CHECKING:
    from facegen_inference.reconstruct import Request

LEAST_PEGS = 8
REACH_MM = 20.0
"""How far from a peg its correction reaches (a Gaussian's standard deviation): about half the way
to the next pegs of the cheek."""
MOST_CORRECTION_MM = 25.0


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
        For an unknown table, or when hardly any landmark was found, or none beside the midline.
    """
    table = load_depth_table(request.depth_table)
    timings: dict[str, float] = {}
    with timed(timings, "pegs"):
        atlas = load_atlas(request.atlas)
        progress(0.05, "placing depth pegs")
        points = usable_points(landmarks, frame)
        pegs, notes = pegs_on(points, BoneNormals(skull, frame), atlas, table)
    with timed(timings, "mean head on the skull"):
        progress(0.1, "carrying the mean head onto the skull")
        bone = bone_on(atlas, skull, frame)
        rules = features(points, bone.distance, atlas)
        controls = [*bone_controls(points, atlas), *rules.controls]
        skin = through_pegs(
            carried_skin(controls, points, bone, atlas), [*pegs, *rules.pegs], atlas
        )
    chosen = BUILD_SD.get(request.profile.build, 0.0)
    wanted = {"": chosen, **build_steps(request.variants)}
    spread = spread_field([*pegs, *rules.pegs], atlas)
    meshes = {}
    with timed(timings, "surface"):
        for number, (name, steps) in enumerate(wanted.items()):
            progress(0.3 + 0.7 * number / len(wanted), "a face over the pegs")
            field = (skin - steps * spread).astype(np.float32)
            meshes[name] = face_from_field(field, spread, atlas.grid, skull, frame, landmarks)
    progress(1.0, "face ready")
    warnings = age_warnings(request.profile)
    why = f"the table {table.name} is for {table.sex} sex, {table.age}"
    return Face(
        mesh=meshes.pop(""),
        method="tissue-depth",
        variants=tuple(Variant(name, mesh) for name, mesh in meshes.items()),
        notes=(*warnings, *notes, *rules.notes, *profile_notes(request.profile, why)),
        device="CPU",
        timings=timings,
        warnings=warnings,
    )


def pegs_on(
    points: FoundPoints, normals: BoneNormals, atlas: Atlas, table: DepthTable
) -> tuple[list[Peg], list[str]]:
    """Return the pegs of a table on a skull, and sentences about source and gaps.

    Parameters
    ----------
    points
        Landmarks found on bone, in the frame.
    normals
        Of the skull.
    atlas
        The mean head, which says which way skin lies from paired points.
    table
        Depths.

    Raises
    ------
    UserError
        When fewer than `LEAST_PEGS` can stand.
    """
    default = load_depth_table(DEFAULT_TABLE).depths
    spare = {code: depth.sd_mm for code, depth in default.items() if depth.sd_mm is not None}
    pegs = place_pegs(points, normals, table, spare, ways_to_skin(atlas))
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
    notes.append(
        f"{len(pegs)} depth pegs stand on bone; between them the soft tissue is that of the mean "
        f"of {atlas.people} people."
    )
    if missing:
        notes.append(f"No bone was found for {', '.join(missing)}: no peg there.")
    return pegs, notes


def through_pegs(skin: NDArray[np.float32], pegs: list[Peg], atlas: Atlas) -> NDArray[np.float32]:
    """Move a skin towards the tips of pegs.

    Parameters
    ----------
    skin
        (k, j, i) signed distance on the atlas's grid, mm, negative inside.
    pegs
        In the frame.
    atlas
        Gives the grid.

    Returns
    -------
    (k, j, i) float32, about a signed distance, mm.

    Notes
    -----
    Kriging: how far the skin is from where the pegs have it is a Gaussian field whose standard
    deviation is the median of the pegs' own and whose covariance falls off over `REACH_MM`; each
    peg tells of it with its own standard deviation between people.  A depth that hardly varies
    (glabella, rhinion) is met, one that varies by a third of itself (cheeks, gonion) only heeded.
    """
    tips = np.array([peg.tip(0) for peg in pegs])
    sd = np.array([peg.sd_mm for peg in pegs])
    confidence = np.maximum([peg.confidence for peg in pegs], 0.1)
    off = np.clip(sampled(skin, atlas.grid, tips), -MOST_CORRECTION_MM, MOST_CORRECTION_MM)
    scale = float(np.median(sd)) ** 2
    weights = np.linalg.solve(
        scale * _closeness(tips, tips) + np.diag(sd**2 / confidence), scale * off
    )
    coarse, shape = coarse_points(atlas)
    correction = on_every_voxel(_closeness(coarse, tips) @ weights, shape, atlas)
    return np.asarray(skin - correction, dtype=np.float32)


def _closeness(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exp(-d² / 2 REACH_MM²) of every point of `a` to every one of `b`, (N, M)."""
    squared = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    return np.asarray(np.exp(-squared / (2 * REACH_MM**2)))


def spread_field(pegs: list[Peg], atlas: Atlas) -> NDArray[np.float32]:
    """Return one SD of the skin between the pegs, (k, j, i) float32 mm.

    The table's values weighted by inverse squared distance (Shepard), so never beyond them.
    """
    coarse, shape = coarse_points(atlas)
    tips = np.array([peg.tip(0) for peg in pegs])
    weights = 1 / (((coarse[:, None] - tips[None]) ** 2).sum(axis=2) + 25.0)
    sd = (weights * [peg.sd_mm for peg in pegs]).sum(axis=1) / weights.sum(axis=1)
    return np.asarray(on_every_voxel(sd, shape, atlas), dtype=np.float32)
