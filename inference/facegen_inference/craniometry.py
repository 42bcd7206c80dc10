"""Craniometric points and the Frankfurt frame of a skull, found through the mean skull.

The mean skull is laid rigidly on the bone, then deformed smoothly onto it; its landmarks go along
and are moved to the bone's own surface by their definitions.  The frame follows from porions and
orbitalia where they were found, else from the rigid placement.  What is doubtful is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.atlas import load_atlas
from facegen_inference.deformation import carried, deform
from facegen_inference.errors import FrameUnsure, NoHeadFound
from facegen_inference.frame import Frame
from facegen_inference.head_pose import mean_skull
from facegen_inference.landmark_rules import Bone, on_bone
from facegen_inference.landmarks import Landmark, Landmarks
from facegen_inference.progress import Progress, silent
from facegen_inference.registration import (
    HeadFit,
    Points,
    find_head,
    judge,
    refine,
    surface_points,
)
from facegen_inference.skull import Skull
from facegen_inference.volume import Grid, resample

FRAME_CODES = ("po-L", "po-R", "or-L", "or-R")

FOUND_MM = 5.0
"""A point with no bone within this distance of where it should be is inferred, not found."""
MEAN_SKULL_MM = 3.4
"""Residual of the rigid placement above which the frame is in doubt (see `placement_fault`)."""
LEAST_EXPLAINED, LEAST_COVERED, LEAST_SCORE = 0.75, 0.40, 0.40
"""Of a placement that is believed.  Twelve real heads, five of them partial, gave 0.84–0.97,
0.53–0.81 and 0.49–0.74; a head in a thermoplastic mask 0.62, 0.52 and 0.33; the sphere that comes
nearest to a braincase 0.73, 0.47 and 0.34."""
UPRIGHT_SCORE = 0.5
"""An upright placement this good is believed without trying the other ways round."""
UPRIGHT_COSINE = 0.2
"""Cosine between the file's axes and the frame's below which the head lies another way."""
TURN_DEGREES = 9.0
"""Landmarks and rigid placement may disagree about the frame by this much."""


def frankfurt(points: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return patient_from_frame (4×4, rigid) from porions and orbitalia, LPS mm.

    Needs ``po-L``, ``po-R`` and at least one of ``or-L``, ``or-R``.
    """
    left, right = points["po-L"], points["po-R"]
    front = np.mean([points[c] for c in ("or-L", "or-R") if c in points], axis=0)
    origin = (left + right) / 2
    x = (left - right) / np.linalg.norm(left - right)
    z = np.cross(x, origin - front)
    z /= np.linalg.norm(z)
    matrix = np.eye(4)
    matrix[:3, :4] = np.stack([x, np.cross(z, x), z, origin], axis=1)
    return matrix


def locate(skull: Skull) -> list[HeadFit]:
    """Lay the mean skull on the bone; fits best first.

    The placement that `make_skull` found is refined first; a poor one is sought anew, the file's
    own axes believed first and every other way round tried only when that is poor too.

    Raises
    ------
    NoHeadFound
        When there is almost no bone, or nothing that resembles a skull.
    """
    points = surface_points(skull.distance, skull.grid, 7000)
    if skull.placed is not None:
        fit = _refined(points, skull.grid, skull.placed)
        if fit.score >= UPRIGHT_SCORE and fit.frame_from_patient[2, 2] > UPRIGHT_COSINE:
            return [fit]
    fits = find_head(points, mean_skull(), skull.grid)
    if not fits or fits[0].score < UPRIGHT_SCORE:
        others = find_head(points, mean_skull(), skull.grid, every_way=True)
        fits = sorted(fits + others, key=lambda f: -f.score)
    advice = "Choose a CT of a head, or crop the scan to the head."
    if not fits:
        raise NoHeadFound("There is too little bone in the scan to find a head.", advice)
    if fits[0].explained < 0.35 or fits[0].covered < 0.25:
        raise NoHeadFound(
            "No human head was found in the scan.",
            advice,
            explained=round(fits[0].explained, 2),
            covered=round(fits[0].covered, 2),
        )
    return fits


def find_landmarks_and_frame(
    skull: Skull, given: Landmarks | None = None, progress: Progress = silent
) -> tuple[Landmarks, Frame]:
    """Find the landmarks of a skull and its Frankfurt frame.

    Parameters
    ----------
    skull
        The bone.
    given
        Points placed by the examiner, LPS mm; they override what is found.  With both porions
        and an orbitale among them the frame is theirs (method ``given``).

    Returns
    -------
    Landmarks in LPS mm with provenance and confidence, and the frame.

    Raises
    ------
    NoHeadFound
        When there is no head.
    FrameUnsure
        When the placement is doubtful; its ``details["landmarks"]`` hold what was found.
    """
    given = {c: replace(p, provenance="manual", confidence=1.0) for c, p in (given or {}).items()}
    progress(0.0, "finding the head")
    by_hand = {c: np.array(p.position) for c, p in given.items() if c in FRAME_CODES}
    if _enough(by_hand):
        start = np.asarray(np.linalg.inv(frankfurt(by_hand)), dtype=np.float64)
        points = surface_points(skull.distance, skull.grid, 7000)
        fit = _refined(points, skull.grid, start)
    else:
        fits = locate(skull)
        fit = fits[0]
    progress(0.3, "placing landmarks")
    found = _place(skull, fit.frame_from_patient, progress)
    landmarks: Landmarks = {**found, **given}
    if _enough(by_hand):
        matrix = frankfurt(by_hand)
        return landmarks, Frame(matrix, "given", _plane_residual(matrix, by_hand), 1.0)
    _check_fit(fit, landmarks)
    return landmarks, _frame(fit, landmarks)


def _enough(points: dict[str, NDArray[np.float64]]) -> bool:
    return {"po-L", "po-R"} <= points.keys() and bool({"or-L", "or-R"} & points.keys())


def _refined(points: Points, grid: Grid, start: NDArray[np.float64]) -> HeadFit:
    matrix = refine(points, mean_skull(), start, (9, 6, 4))
    return judge(points, mean_skull(), matrix, grid)


def _place(skull: Skull, frame_from_patient: NDArray[np.float64], progress: Progress) -> Landmarks:
    """Deform the mean skull onto the bone and take its landmarks along."""
    atlas = load_atlas()
    patient_from_frame = np.asarray(np.linalg.inv(frame_from_patient), dtype=np.float64)
    bone = resample(
        skull.distance, skull.grid.patient_from_voxel, atlas.grid, 999.0, patient_from_frame
    )
    seen = resample(
        skull.observed, skull.grid.patient_from_voxel, atlas.grid, 0.0, patient_from_frame
    )
    observed = (bone < 998) & (seen > 0.99)
    mean = mean_skull().distance
    subject = np.where(observed, np.clip(bone, -40, 40), mean).astype(np.float32)
    field, field_grid = deform(mean, subject, atlas.grid)
    progress(0.8, "placing landmarks")
    codes = list(atlas.landmarks)
    start = np.array([atlas.landmarks[c] for c in codes])
    there = carried(start, field, field_grid)
    voxel = atlas.grid.voxel_points(there).T
    scanned = map_coordinates(observed.astype(np.float32), voxel, order=1, mode="constant") > 0.5
    back = patient_from_frame
    about = {
        code: (point @ back[:3, :3].T + back[:3, 3], bool(was_scanned))
        for code, point, was_scanned in zip(codes, there, scanned, strict=True)
    }
    surface = skull.mesh.vertices
    found = _on_bone({c: about[c] for c in FRAME_CODES}, surface, patient_from_frame)
    level = _frankfurt_of(found)
    rest = {c: p for c, p in about.items() if c not in FRAME_CODES}
    found |= _on_bone(rest, surface, patient_from_frame if level is None else level)
    return {code: found[code] for code in codes}


def _on_bone(
    about: dict[str, tuple[NDArray[np.float64], bool]],
    surface: NDArray[np.float64],
    patient_from_frame: NDArray[np.float64],
) -> Landmarks:
    """Move points to the bone by their definitions, whose directions are the frame's.

    Parameters
    ----------
    about
        Code → where the deformed mean skull has it, LPS mm, and whether it was scanned there.
    surface
        (N, 3) vertices of the bone's surface, LPS mm.
    patient_from_frame
        4×4, the axes in which extremes are meant.
    """
    m = np.linalg.inv(patient_from_frame)
    bone = Bone(surface @ m[:3, :3].T + m[:3, 3])
    found: Landmarks = {}
    for code, (place, was_scanned) in about.items():
        spot, gap = on_bone(code, m[:3, :3] @ place + m[:3, 3], bone)
        bone_there = was_scanned and gap <= FOUND_MM
        if bone_there:
            place = patient_from_frame[:3, :3] @ spot + patient_from_frame[:3, 3]
        x, y, z = (float(v) for v in place)
        confidence = float(np.exp(-((gap / FOUND_MM) ** 2))) if bone_there else 0.1
        found[code] = Landmark(
            code, (x, y, z), "automatic" if bone_there else "inferred", round(confidence, 3)
        )
    return found


def _frankfurt_of(landmarks: Landmarks) -> NDArray[np.float64] | None:
    """Return patient_from_frame from the porions and orbitalia that were found, or None."""
    points = _frame_points(landmarks)
    return frankfurt(points) if _enough(points) else None


def _frame_points(landmarks: Landmarks) -> dict[str, NDArray[np.float64]]:
    return {
        code: np.array(landmarks[code].position)
        for code in FRAME_CODES
        if code in landmarks and landmarks[code].provenance != "inferred"
    }


def _plane_residual(
    patient_from_frame: NDArray[np.float64], points: dict[str, NDArray[np.float64]]
) -> float:
    """Return how far the points lie from the frame's xy plane (root mean square, mm)."""
    inverse = np.linalg.inv(patient_from_frame)
    heights = [(inverse[:3, :3] @ p + inverse[:3, 3])[2] for p in points.values()]
    return float(np.sqrt(np.mean(np.square(heights))))


@dataclass
class _Unsure:
    sentence: str
    advice: str = (
        "Check the orientation of the scan, or place both porions and an orbitale by hand "
        "(--landmarks FILE)."
    )

    def error(self, landmarks: Landmarks, **details: object) -> FrameUnsure:
        return FrameUnsure(self.sentence, self.advice, landmarks=landmarks, **details)


def placement_fault(fit: HeadFit) -> str:
    """Return what is doubtful about a rigid placement, one sentence; empty where nothing is.

    Doubtful is what complete or partial heads of the cohort do not have.
    """
    up = fit.frame_from_patient[:3, :3]
    if up[2, 2] < UPRIGHT_COSINE or up[1, 1] < UPRIGHT_COSINE:
        return "The head seems to lie another way than the file says (upside down, or facing back)."
    if (
        fit.residual_mm > MEAN_SKULL_MM
        or fit.explained < LEAST_EXPLAINED
        or fit.covered < LEAST_COVERED
        or fit.score < LEAST_SCORE
    ):
        return "The skull could not be aligned with certainty."
    return ""


def _check_fit(fit: HeadFit, landmarks: Landmarks) -> None:
    """Refuse a doubtful placement."""
    values = {
        "residual_mm": round(fit.residual_mm, 2),
        "explained": round(fit.explained, 2),
        "covered": round(fit.covered, 2),
    }
    fault = placement_fault(fit)
    if fault:
        raise _Unsure(fault).error(landmarks, **values)


def _frame(fit: HeadFit, landmarks: Landmarks) -> Frame:
    registered = np.asarray(np.linalg.inv(fit.frame_from_patient), dtype=np.float64)
    confidence = round(min(1.0, fit.score / 0.6), 3)
    points = _frame_points(landmarks)
    if not _enough(points):
        return Frame(registered, "registration", fit.residual_mm, confidence)
    matrix = frankfurt(points)
    turn = matrix[:3, :3].T @ registered[:3, :3]
    angle = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    if angle > TURN_DEGREES:
        raise _Unsure(
            "Porions and orbitalia contradict the rest of the skull about the Frankfurt plane."
        ).error(landmarks, angle_degrees=round(angle, 1))
    return Frame(matrix, "landmarks", _plane_residual(matrix, points), confidence)
