"""Soft-tissue landmarks that a profile shows: tip of the nose, its base, and the chin.

Read off the midline profile of a skin by the same rule on a true and on a predicted face.  The
corners of the mouth cannot be found by geometry alone and are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facegen_inference.face_region import (
    REGION_NAMES,
    LandmarksInFrame,
    RegionDefinition,
    face_regions,
)
from facegen_inference.mesh import Mesh

STRIP_MM = 4.0
"""Half-width of the strip of skin around the midline that makes the profile."""
STEP_MM = 1.0
FOLD_MM = 25.0
"""How far below the tip of the nose its base is looked for."""


def profile(points: NDArray[np.float64], middle: float) -> NDArray[np.float64]:
    """Return the foremost point of each millimetre of height near the midline, (N, 3), top first.

    Parameters
    ----------
    points
        (M, 3) skin points in the Frankfurt frame, mm.
    middle
        x of the midline, mm.
    """
    strip = points[np.abs(points[:, 0] - middle) < STRIP_MM]
    if not len(strip):
        return strip
    row = np.floor(strip[:, 2] / STEP_MM).astype(int)
    order = np.lexsort((strip[:, 1], -row))
    strip, row = strip[order], row[order]
    first = np.concatenate([[True], row[1:] != row[:-1]])
    return np.asarray(strip[first])


def soft_landmarks(
    skin: Mesh, landmarks: LandmarksInFrame | None, rules: RegionDefinition
) -> dict[str, NDArray[np.float64]]:
    """Find ``pronasale``, ``subnasale`` and ``pogonion`` on a skin in the Frankfurt frame.

    Parameters
    ----------
    skin
        Vertices in the Frankfurt frame, mm.
    landmarks
        Bone landmarks in the frame, which place the regions; None for an adult's mean.
    rules
        The definition of the regions.

    Returns
    -------
    Name → (3,) frame mm; what cannot be found is missing.
    """
    code = face_regions(skin.vertices, landmarks, rules)
    nose = skin.vertices[code == REGION_NAMES.index("nose")]
    chin = skin.vertices[code == REGION_NAMES.index("chin")]
    found: dict[str, NDArray[np.float64]] = {}
    middle = 0.0
    if len(nose):
        tip = nose[np.argmin(nose[:, 1])]
        found["pronasale"] = tip
        middle = float(tip[0])
        line = profile(skin.vertices[code > 0], middle)
        base = _fold(line, tip)
        if base is not None:
            found["subnasale"] = base
    chin_line = profile(chin, middle)
    if len(chin_line):
        found["pogonion"] = chin_line[np.argmin(chin_line[:, 1])]
    return found


def _fold(line: NDArray[np.float64], tip: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the point of the profile farthest behind the chord from nose tip to upper lip."""
    below = line[(line[:, 2] < tip[2]) & (line[:, 2] > tip[2] - FOLD_MM)]
    if len(below) < 5:
        return None
    chord = below[-1] - tip
    chord = chord / max(float(np.linalg.norm(chord)), 1e-9)
    offset = below - tip
    behind = offset[:, 1] - (offset @ chord) * chord[1]
    deepest = int(np.argmax(behind))
    return below[deepest] if behind[deepest] > 0 else None
