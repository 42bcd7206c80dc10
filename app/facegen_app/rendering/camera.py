"""Standard views of a head, and the letters that tell left from right in any view.

A view is a direction in the Frankfurt frame (x the examinee's left, y posterior, z superior), so
a head that lay askew in the scanner is still shown straight.  No VTK here: plain geometry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_SECOND_LETTER = 0.45
"""A second letter is written when the direction leans more than this (a cosine) its way."""


@dataclass(frozen=True)
class View:
    """A standard view.

    Attributes
    ----------
    name
        Stable name, used in file names: ``lateral-left``.
    title
        What is written on the picture.
    toward_camera
        Unit vector from the head to the viewer, frame axes.
    up
        Unit vector that points up in the picture, frame axes.
    """

    name: str
    title: str
    toward_camera: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)


_HALF = float(np.sqrt(0.5))

VIEWS: dict[str, View] = {
    view.name: view
    for view in (
        View("frontal", "Frontal", (0.0, -1.0, 0.0)),
        View("three-quarter-right", "Right three-quarter", (-_HALF, -_HALF, 0.0)),
        View("three-quarter-left", "Left three-quarter", (_HALF, -_HALF, 0.0)),
        View("lateral-right", "Right lateral", (-1.0, 0.0, 0.0)),
        View("lateral-left", "Left lateral", (1.0, 0.0, 0.0)),
        View("vertex", "Vertex", (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),
    )
}


@dataclass(frozen=True)
class Pose:
    """Where a parallel camera stands, in patient space.

    Attributes
    ----------
    centre
        The point in the middle of the picture, (3,) LPS mm.
    toward_camera, up
        Unit vectors, (3,), LPS.
    half_height
        Half the picture's height, mm.
    """

    centre: Vector
    toward_camera: Vector
    up: Vector
    half_height: float

    @property
    def right(self) -> Vector:
        """Unit vector that points right in the picture, (3,) LPS."""
        return np.asarray(np.cross(self.up, self.toward_camera))

    def pixel_of(self, point: Vector, size: tuple[int, int]) -> tuple[float, float]:
        """Return where a point, (3,) LPS mm, is seen: pixels from the upper left.

        Parameters
        ----------
        point
            Any point.
        size
            Width and height of the picture, pixels.
        """
        width, height = size
        pixels_per_mm = height / (2 * self.half_height)
        offset = np.asarray(point) - self.centre
        x = (width - 1) / 2 + float(offset @ self.right) * pixels_per_mm
        y = (height - 1) / 2 - float(offset @ self.up) * pixels_per_mm
        return x, y


def pose_for(
    view: View, patient_from_frame: Vector, points: Vector, aspect: float, margin: float = 1.2
) -> Pose:
    """Return the pose that shows all points, centred.

    Parameters
    ----------
    view
        The standard view.
    patient_from_frame
        4×4 rigid; only its rotation is used.
    points
        (N, 3) LPS mm, what must be visible.
    aspect
        Width of the picture divided by its height.
    margin
        How much larger than the points the picture is.
    """
    rotation = patient_from_frame[:3, :3]
    toward = rotation @ np.array(view.toward_camera)
    up = rotation @ np.array(view.up)
    right = np.cross(up, toward)
    axes = np.stack([right, up, toward])
    seen = points @ axes.T
    low, high = seen.min(axis=0), seen.max(axis=0)
    half = max((high[1] - low[1]) / 2, (high[0] - low[0]) / 2 / aspect)
    return Pose(((low + high) / 2) @ axes, toward, up, float(max(half, 1.0) * margin))


def direction_letters(direction: Vector) -> str:
    """Return the patient letters of a direction in the frame, as on a CT: ``L``, ``RA``.

    Parameters
    ----------
    direction
        (3,) unit vector in the Frankfurt frame or LPS: x left, y posterior, z superior.
    """
    named = [("L", "R"), ("P", "A"), ("S", "I")]
    order = np.argsort(-np.abs(direction), kind="stable")
    letters = ""
    for axis in order:
        if letters and abs(direction[axis]) < _SECOND_LETTER:
            break
        letters += named[axis][0] if direction[axis] > 0 else named[axis][1]
        if len(letters) == 2:
            break
    return letters


def round_length(longest_mm: float) -> float:
    """Return the roundest length (1, 2 or 5 times a power of ten, mm) not above `longest_mm`."""
    power = 10.0 ** np.floor(np.log10(max(longest_mm, 1e-6)))
    return float(max(step * power for step in (1, 2, 5) if step * power <= longest_mm * 1.0001))
