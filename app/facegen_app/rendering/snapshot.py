"""What a scene showed at one moment, to be drawn again elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facegen_app.rendering.camera import Pose
from facegen_app.rendering.display_mesh import DisplayMesh
from facegen_app.rendering.look import Colour
from facegen_app.rendering.markers import Marker


@dataclass(frozen=True)
class ShownLayer:
    """A layer as it was shown: its mesh, if any, and how."""

    mesh: DisplayMesh | None
    visible: bool
    opacity: float
    colour: Colour


@dataclass(frozen=True)
class Snapshot:
    """What a scene showed.

    Attributes
    ----------
    layers
        Layer name → what it showed.
    pose
        Where the camera stood.
    patient_from_frame
        4×4; the frame in which directions are named.
    title, note
        What was written.
    size
        Width and height, pixels.
    markers
        Landmarks.
    wipe
        Where the line between skull and face stood, as a share of the width; None without.
    bands
        Whether the face was coloured by its 90 % band.
    """

    layers: dict[str, ShownLayer]
    pose: Pose
    patient_from_frame: NDArray[np.float64]
    title: str
    note: str
    size: tuple[int, int]
    markers: tuple[Marker, ...] = ()
    wipe: float | None = None
    bands: bool = False
