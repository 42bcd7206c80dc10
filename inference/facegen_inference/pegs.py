"""Depth pegs on a skull: where the skin should be at each craniometric point.

A peg stands on a landmark, points away from the bone, and is as long as a table of soft-tissue
depths says.  One more peg marks the tip of the nose, which no depth table can give.
All points here are in the Frankfurt frame, mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from facegen_inference.depth_table import DepthTable
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks
from facegen_inference.skull import Skull

Point = NDArray[np.float64]

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
STRAY_COSINE = 0.5
"""A bone normal that strays more than 60 degrees from the expected way is not followed."""
NASAL_DEPTH_MM = (8.0, 45.0)
NASAL_BONE_MM = (14.0, 36.0)
"""Nasion to rhinion; in coarse scans the thin end of the nasal bones is lost and rhinion lies too
high, which would make the nose far too long."""
NASAL_TIP_SD_MM = 3.0
"""Spread given to the tip of the nose, an assumption: the rule states none that was read."""


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
        return _unit(self._to_frame @ patient)


def _unit(v: Point) -> Point:
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-9))


def expected_direction(code: str) -> Point | None:
    """Return the unit vector that `DIRECTIONS` gives for a landmark with its side, or None."""
    base, _, side = code.partition("-")
    if base not in DIRECTIONS:
        return None
    direction = np.array(DIRECTIONS[base], dtype=np.float64)
    if side == "R":
        direction[0] = -direction[0]
    return _unit(direction)


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
    return _unit(direction)


def usable_points(landmarks: Landmarks, frame: Frame) -> dict[str, tuple[Point, float]]:
    """Return code → (frame point, confidence) of the landmarks that were found on bone."""
    m = frame.frame_from_patient
    return {
        code: (m[:3, :3] @ np.asarray(p.position) + m[:3, 3], p.confidence)
        for code, p in landmarks.items()
        if p.provenance != "inferred" and p.confidence >= LEAST_CONFIDENCE
    }


def place_pegs(
    points: dict[str, tuple[Point, float]],
    normals: BoneNormals,
    table: DepthTable,
    spare_sd: dict[str, float],
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
    """
    pegs = []
    for code, depth in table.depths.items():
        if code not in points:
            continue
        point, confidence = points[code]
        direction = peg_direction(code, normals.at(point))
        if direction is None:
            continue
        sd = depth.sd_mm if depth.sd_mm is not None else spare_sd.get(code, 0.25 * depth.mean_mm)
        pegs.append(Peg(code, point, direction, depth.mean_mm, sd, confidence))
    return pegs


def nose_tip(points: dict[str, tuple[Point, float]]) -> Peg | None:
    """Return a peg to the tip of the nose, or None where bone it needs is missing or lost.

    Rynn, Wilkinson & Peters 2010 (doi 10.1007/s12024-009-9124-6): with X nasion-acanthion and
    Y rhinion-subspinale, pronasale lies 0.83 Y - 3.5 in front of the nasion-prosthion plane and
    0.9 X - 2 below nasion along it; and 0.93 Y - 6 in front of subspinale along the Frankfurt
    plane.  The two estimates of its projection are averaged.
    """
    needed = ("n", "rhi", "ss", "pr", "ans")
    if not all(code in points for code in needed):
        return None
    n, rhi, ss, pr, ans = (points[code][0] for code in needed)
    if not NASAL_BONE_MM[0] <= float(np.linalg.norm(n - rhi)) <= NASAL_BONE_MM[1]:
        return None
    x, y = float(np.linalg.norm(n - ans)), float(np.linalg.norm(rhi - ss))
    down = _unit((pr - n) * [0, 1, 1])
    forward = np.array([0.0, down[2], -down[1]])
    tip = n + (0.83 * y - 3.5) * forward + (0.9 * x - 2.0) * down
    tip[0] = np.mean([n[0], ss[0]])
    tip[1] = (tip[1] + ss[1] - (0.93 * y - 6.0)) / 2
    depth = float(ss[1] - tip[1])
    if not NASAL_DEPTH_MM[0] <= depth <= NASAL_DEPTH_MM[1]:
        return None
    direction = _unit(tip - ss)
    # Half the weight of a depth peg: one point must not draw the face out to a spike.
    confidence = min(points[code][1] for code in needed) / 2
    length = float(np.linalg.norm(tip - ss))
    return Peg("prn", ss, direction, length, NASAL_TIP_SD_MM, confidence)
