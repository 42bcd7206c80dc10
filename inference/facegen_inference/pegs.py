"""Depth pegs on a skull: where the skin should be at each craniometric point.

A peg stands on a landmark, points away from the bone, and is as long as a table of soft-tissue
depths says.  Depths of paired points are measured square to the skin, so their pegs stand the way
the mean head has its skin nearest; those of the midline stay in the profile.
All points here are in the Frankfurt frame, mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from facegen_inference import mean_skin
from facegen_inference.atlas import Atlas
from facegen_inference.depth_table import DepthTable
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks
from facegen_inference.skull import Skull

Point = NDArray[np.float64]
FoundPoints = dict[str, tuple[Point, float]]
"""Code → (frame point, confidence) of landmarks found on bone."""

DIRECTIONS: dict[str, tuple[float, float, float]] = {
    "op": (0, 1, 0),
    "v": (0, 0, 1),
    "sg": (0, -1, 0.2),
    "g": (0, -1, 0.1),
    "n": (0, -1, 0),
    "mn": (0, -0.9, 0.4),
    "rhi": (0, -0.85, 0.5),
    "ss": (0, -1, 0),
    "mp": (0, -1, 0),
    "pr": (0, -1, 0),
    "id": (0, -1, 0),
    "sm": (0, -1, 0),
    "pg": (0, -1, 0),
    "gn": (0, -0.7, -0.7),
    "me": (0, 0, -1),
    "fe": (0.75, -0.65, 0.1),
    "mso": (0.15, -1, 0.1),
    "mio": (0.3, -0.9, -0.2),
    "or": (0.3, -0.9, -0.2),
    "lo": (0.8, -0.6, 0),
    "im": (0.5, -0.85, -0.1),
    "ac": (0.35, -0.93, 0),
    "zy": (1, -0.15, 0),
    "sgl": (1, 0, 0.1),
    "go": (1, 0.1, -0.3),
    "sC": (0.45, -0.9, 0),
    "iC": (0.45, -0.9, 0),
    "ecm2s": (0.85, -0.5, 0),
    "ecm2i": (0.85, -0.5, 0),
    "mr": (1, -0.2, 0),
    "mm": (1, -0.2, 0),
    "mmb": (0.85, -0.35, -0.35),
}
"""Which way the skin lies from each point (frame axes; x is outward on the point's own side)."""

LEAST_CONFIDENCE = 0.2
SMOOTH_MM = 3.0
NEAREST_COSINE = 0.9
"""The nearest skin is taken when it lies within 26 degrees of the way that `DIRECTIONS` says."""
STRAY_COSINE = 0.5
"""A bone normal that strays more than 60 degrees from the expected way is not followed."""


@dataclass(frozen=True)
class Peg:
    """One depth peg.

    Attributes
    ----------
    code
        Its landmark, or ``prn`` for the tip of the nose.
    base, direction
        (3,) point on bone and unit vector away from it, frame mm.
    mean_mm, sd_mm
        Depth and its standard deviation between people.
    confidence
        Of the landmark, 0..1.
    """

    code: str
    base: Point
    direction: Point
    mean_mm: float
    sd_mm: float
    confidence: float

    def tip(self, steps: float) -> Point:
        """Return where the skin should be, `steps` standard deviations from the mean depth.

        Never nearer to bone than a third of the mean depth.
        """
        length = max(self.mean_mm + steps * self.sd_mm, self.mean_mm / 3)
        return np.asarray(self.base + length * self.direction)


class BoneNormals:
    """Outward directions of a skull's surface, smoothed over a few millimetres."""

    def __init__(self, skull: Skull, frame: Frame) -> None:
        spacing = skull.grid.spacing
        smooth = gaussian_filter(skull.distance, SMOOTH_MM / spacing)
        self._gradient = np.gradient(smooth)
        self._grid = skull.grid
        self._to_frame = frame.frame_from_patient[:3, :3]
        self._frame = frame

    def at(self, point: Point) -> Point:
        """Return the unit gradient of the distance to bone at a frame point, frame axes."""
        m = self._frame.patient_from_frame
        voxel = self._grid.voxel_points((m[:3, :3] @ point + m[:3, 3])[None])
        g = [map_coordinates(a, voxel.T, order=1, mode="nearest")[0] for a in self._gradient]
        # The gradient is a covector: from voxel axes to patient axes by the inverse transpose.
        patient = np.linalg.inv(self._grid.patient_from_voxel[:3, :3]).T @ np.array(g)
        return unit(self._to_frame @ patient)


def unit(v: Point) -> Point:
    """Return a vector of length 1 in the same direction."""
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-9))


def expected_direction(code: str) -> Point | None:
    """Return the unit vector that `DIRECTIONS` gives for a landmark with its side, or None."""
    base, _, side = code.partition("-")
    if base not in DIRECTIONS:
        return None
    direction = np.array(DIRECTIONS[base], dtype=np.float64)
    if side == "R":
        direction[0] = -direction[0]
    return unit(direction)


def peg_direction(code: str, normal: Point) -> Point | None:
    """Return which way a peg points: midway between the bone's normal and the expected way."""
    expected = expected_direction(code)
    if expected is None:
        return None
    if float(normal @ expected) < STRAY_COSINE:
        return expected
    direction = normal + expected
    if "-" not in code:  # pegs of the midline stay in it
        direction[0] = 0.0
    return unit(direction)


def ways_to_skin(atlas: Atlas) -> dict[str, Point]:
    """Return code → unit vector from a point of the mean skull to the skin its depth ends at.

    For paired points that is the nearest skin, unless it strays from where the field measures
    (`NEAREST_COSINE`): from the upper second molar the nearest skin is that of the lips.
    Subspinale's depth ends at subnasale (Hona & Stephan 2024 name it ss-sn'): straight ahead of
    subspinale there is columella and nose.
    """
    ends = {
        code: mean_skin.nearest_skin(atlas, np.array(point))
        for code, point in atlas.landmarks.items()
        if "-" in code and expected_direction(code) is not None
    }
    if "ss" in atlas.landmarks:
        ends["ss"] = mean_skin.nose_base(atlas)
    ways = {
        code: unit(end - np.array(atlas.landmarks[code]))
        for code, end in ends.items()
        if end is not None
    }
    expected = {code: expected_direction(code) for code in ways}
    return {
        code: way
        for code, way in ways.items()
        if (usual := expected[code]) is not None and float(way @ usual) >= NEAREST_COSINE
    }


def usable_points(landmarks: Landmarks, frame: Frame) -> FoundPoints:
    """Return code → (frame point, confidence) of the landmarks that were found on bone."""
    m = frame.frame_from_patient
    return {
        code: (m[:3, :3] @ np.asarray(p.position) + m[:3, 3], p.confidence)
        for code, p in landmarks.items()
        if p.provenance != "inferred" and p.confidence >= LEAST_CONFIDENCE
    }


def place_pegs(
    points: FoundPoints,
    normals: BoneNormals,
    table: DepthTable,
    spare_sd: dict[str, float],
    ways: dict[str, Point],
) -> list[Peg]:
    """Stand a peg of the table on every landmark that has one.

    Parameters
    ----------
    points
        Code → (frame point, confidence).
    normals
        Of the skull.
    table
        Depths.
    spare_sd
        Code → standard deviation where the table itself has none, mm.
    ways
        Code → unit vector to the skin on the mean head (see `ways_to_skin`); other pegs stand
        between the bone's own normal and what `DIRECTIONS` says.
    """
    pegs = []
    for code, depth in table.depths.items():
        if code not in points:
            continue
        point, confidence = points[code]
        direction = ways.get(code)
        if direction is None:
            direction = peg_direction(code, normals.at(point))
        if direction is None:
            continue
        sd = depth.sd_mm if depth.sd_mm is not None else spare_sd.get(code, 0.25 * depth.mean_mm)
        pegs.append(Peg(code, point, direction, depth.mean_mm, sd, confidence))
    return pegs
