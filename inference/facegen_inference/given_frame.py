"""Whether points placed by hand can be what they are called: left and right not exchanged.

Three points make a frame whatever they are.  Exchanged porions turn it upside down, and the face
would be made for a head that hangs from its neck; the bone itself tells the two apart.
"""

from __future__ import annotations

import numpy as np

from facegen_inference.errors import FrameUnsure
from facegen_inference.frame import Frame
from facegen_inference.head_pose import mean_skull
from facegen_inference.landmarks import Landmarks
from facegen_inference.registration import judge, refine, surface_points
from facegen_inference.skull import Skull

_BETTER = 1.5
"""How many times better the skull must fit the other way round for the sides to be exchanged.
The mean skull under two smooth warps, whole and cut to five parts, scored 0.38 to 0.82 in its own
frame and 0.09 to 0.19 in the exchanged one; tests/inference/test_given_frame.py does the like."""

_OTHER_WAY = np.diag([-1.0, 1.0, -1.0, 1.0])
"""From the frame of exchanged porions to the frame that was meant: half a turn about its y axis."""


def check_sides(skull: Skull, landmarks: Landmarks, frame: Frame) -> None:
    """Refuse placed points whose left and right are exchanged.

    Parameters
    ----------
    skull
        The bone.
    landmarks
        Code → point, LPS mm; those of provenance ``manual`` are checked.
    frame
        The frame made with them.

    Raises
    ------
    FrameUnsure
        Its ``details["landmarks"]`` hold the points placed by hand.
    """
    placed = {code: p for code, p in landmarks.items() if p.provenance == "manual"}
    if not placed:
        return
    if frame.method == "given" and _fits_better_the_other_way(skull, frame):
        raise FrameUnsure(
            "The left and the right porion seem to be exchanged: the head would hang upside down.",
            "Left and right are the examinee's; place the two porions by hand again "
            "(--landmarks FILE).",
            landmarks=placed,
        )
    to_left = frame.patient_from_frame[:3, 0]
    for code, point in placed.items():
        other = landmarks.get(f"{code[:-2]}-R") if code.endswith("-L") else None
        if other is None or other.provenance != "manual":
            continue
        if (np.array(point.position) - np.array(other.position)) @ to_left < 0:
            raise FrameUnsure(
                f"The points {code} and {other.code} are exchanged: the left lies on the right.",
                "Left and right are the examinee's; place the two by hand again "
                "(--landmarks FILE).",
                landmarks=placed,
            )


def _fits_better_the_other_way(skull: Skull, frame: Frame) -> bool:
    """Return whether the mean skull fits the bone far better when the frame is turned over."""
    points = surface_points(skull.distance, skull.grid, 7000)
    scores = []
    for start in (frame.frame_from_patient, _OTHER_WAY @ frame.frame_from_patient):
        matrix = refine(points, mean_skull(), start, (9, 6, 4))
        scores.append(judge(points, mean_skull(), matrix, skull.grid).score)
    given, turned = scores
    return turned > _BETTER * given
