"""Which part of a face is predicted and scored, and its named regions, in the Frankfurt frame.

There is one definition, a versioned file among the resources (``face_regions.json``); a changed
number there is a new version and makes older scores incomparable.  The predicted face reaches
from the chin to mid-forehead, in front of the ears, ears excluded.  Heights follow the person's
own chin (menton) and nasion where these are known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facegen_inference.errors import UserError
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks

REGION_NAMES = ("outside", "brow", "orbits", "nose", "lips", "chin", "cheeks", "jaw line")
"""Names of the codes 0..7 that `face_regions` returns."""

LandmarksInFrame = Mapping[str, ArrayLike]
"""Code → (x, y, z) in frame mm."""

PLAUSIBLE_HEIGHT_MM = (75.0, 165.0)
"""Menton to nasion of anyone from a small child to a large adult with an open mouth."""


@dataclass(frozen=True)
class RegionDefinition:
    """The numbers of ``face_regions.json``; lengths in mm, heights as fractions menton–nasion."""

    version: int
    face_height_mm: float
    menton: tuple[float, float, float]
    nasion: tuple[float, float, float]
    ear_plane_mm: float
    top_height: float
    jaw_margin_mm: float
    jaw_slope: float
    chin: dict[str, float]
    lips: dict[str, float]
    nose: dict[str, float]
    orbits: dict[str, float]
    brow: dict[str, float]
    jaw_line: dict[str, float]


@cache
def region_definition(path: Path | None = None) -> RegionDefinition:
    """Read the definition that ships, or one from a file of the same form.

    Raises
    ------
    UserError
        When the file is not such a definition.
    """
    source = path or files("facegen_resources") / "face_regions.json"
    try:
        data = json.loads(source.read_text(encoding="utf-8"))
        for key in ("space", "comment"):
            data.pop(key, None)
        for key in ("menton", "nasion"):
            data[key] = tuple(float(v) for v in data[key])
        return RegionDefinition(**data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{getattr(path, 'name', source)} is not a definition of face regions.",
            "Leave --regions away to use the definition that ships.",
            reason=error,
        ) from error


def landmarks_in_frame(landmarks: Landmarks, frame: Frame) -> dict[str, NDArray[np.float64]]:
    """Return code → (x, y, z) in frame mm of landmarks given in LPS mm."""
    m = frame.frame_from_patient
    return {
        code: m[:3, :3] @ np.asarray(point.position) + m[:3, 3] for code, point in landmarks.items()
    }


@dataclass(frozen=True)
class _Canonical:
    """Points in a face of standard height: fraction of height, mm sideways and front to back."""

    height: NDArray[np.float64]
    side: NDArray[np.float64]
    above_jaw: NDArray[np.float64]
    front: NDArray[np.float64]


def _canonical(
    points: NDArray[np.float64], landmarks: LandmarksInFrame | None, rules: RegionDefinition
) -> _Canonical:
    menton, nasion = np.array(rules.menton), np.array(rules.nasion)
    if landmarks is not None:
        given = np.asarray(landmarks.get("me", menton), dtype=np.float64)
        top = np.asarray(landmarks.get("n", nasion), dtype=np.float64)
        if PLAUSIBLE_HEIGHT_MM[0] <= top[2] - given[2] <= PLAUSIBLE_HEIGHT_MM[1]:
            menton, nasion = given, top
    tall = nasion[2] - menton[2]
    scale = tall / rules.face_height_mm
    floor = menton[2] - rules.jaw_margin_mm + rules.jaw_slope * (points[:, 1] - menton[1])
    return _Canonical(
        height=(points[:, 2] - menton[2]) / tall,
        side=np.abs(points[:, 0]) / scale,
        above_jaw=(points[:, 2] - floor) / scale,
        front=-points[:, 1],
    )


def predicted_region(
    points_frame: NDArray[np.float64],
    landmarks_frame: LandmarksInFrame | None = None,
    rules: RegionDefinition | None = None,
) -> NDArray[np.bool_]:
    """Tell which points lie where a face is predicted and scored.

    Parameters
    ----------
    points_frame
        (N, 3) points in the Frankfurt frame, mm, on or near the skin.
    landmarks_frame
        The person's landmarks in the frame; ``me`` and ``n`` fit the region to the person, an
        adult's mean is taken where one is missing.
    rules
        Another definition than the one that ships.

    Returns
    -------
    (N,) bool: above the jaw's lower border, below mid-forehead, in front of the ears.
    """
    rules = rules or region_definition()
    p = _canonical(np.asarray(points_frame, dtype=np.float64), landmarks_frame, rules)
    keep = (p.height <= rules.top_height) & (p.above_jaw >= 0) & (p.front >= rules.ear_plane_mm)
    return np.asarray(keep)


def face_regions(
    points_frame: NDArray[np.float64],
    landmarks_frame: LandmarksInFrame | None = None,
    rules: RegionDefinition | None = None,
) -> NDArray[np.int8]:
    """Name the region of each point.

    Parameters
    ----------
    points_frame, landmarks_frame, rules
        As for `predicted_region`.

    Returns
    -------
    (N,) int8 index into `REGION_NAMES`; 0 outside the predicted region.
    """
    rules = rules or region_definition()
    points = np.asarray(points_frame, dtype=np.float64)
    p = _canonical(points, landmarks_frame, rules)
    code = np.full(len(points), REGION_NAMES.index("cheeks"), dtype=np.int8)

    def mark(name: str, where: NDArray[np.bool_]) -> None:
        code[where] = REGION_NAMES.index(name)

    mark("jaw line", p.above_jaw < rules.jaw_line["height_mm"])
    orbits = rules.orbits
    mark(
        "orbits",
        (p.height >= orbits["bottom"])
        & (p.height < orbits["top"])
        & (p.side < orbits["half_width"]),
    )
    lips = rules.lips
    mark(
        "lips",
        (p.height >= lips["bottom"]) & (p.height < lips["top"]) & (p.side < lips["half_width"]),
    )
    mark("chin", (p.height < rules.chin["top"]) & (p.side < rules.chin["half_width"]))
    nose = rules.nose
    wide = np.where(
        p.height < nose["narrow_above"], nose["half_width_bottom"], nose["half_width_top"]
    )
    mark("nose", (p.height >= nose["bottom"]) & (p.height < nose["top"]) & (p.side < wide))
    mark("brow", p.height >= rules.brow["bottom"])
    mark("outside", ~predicted_region(points, landmarks_frame, rules))
    return code
