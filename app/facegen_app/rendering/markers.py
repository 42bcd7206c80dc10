"""Landmarks on the skull: a small sphere at each point, and its name beside it.

Spheres and names keep their size on the screen, so that a closer look places a point more finely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from vtkmodules.vtkFiltersSources import vtkSphereSource
from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkRenderer, vtkTextActor

from facegen_app.rendering.camera import Pose
from facegen_app.rendering.look import Colour, Look

_RADIUS, _CHOSEN_RADIUS = 5.0, 7.0
"""Of the spheres, in pixels of a normal screen."""


@dataclass(frozen=True)
class Marker:
    """One point to be shown.

    Attributes
    ----------
    position
        LPS, mm.
    colour
        Red, green and blue, 0..1.
    text
        What is written beside it; nothing where empty.
    chosen
        Whether it is the one that is worked on: larger, its name always readable.
    """

    position: tuple[float, float, float]
    colour: Colour
    text: str = ""
    chosen: bool = False


class Markers:
    """Draws markers into a renderer."""

    def __init__(self, renderer: vtkRenderer, look: Look) -> None:
        self._renderer, self._look = renderer, look
        self._ball = vtkSphereSource()
        self._ball.SetRadius(1.0)
        self._ball.SetThetaResolution(24)
        self._ball.SetPhiResolution(16)
        self._shown: tuple[Marker, ...] = ()
        self._spheres: list[vtkActor] = []
        self._names: list[vtkTextActor] = []

    @property
    def shown(self) -> tuple[Marker, ...]:
        """What is drawn."""
        return self._shown

    def show(self, markers: Sequence[Marker]) -> None:
        """Draw these instead of what was drawn before."""
        for prop in (*self._spheres, *self._names):
            self._renderer.RemoveViewProp(prop)
        self._shown = tuple(markers)
        self._spheres = [self._sphere(one) for one in markers]
        self._names = [self._name(one) for one in markers]
        for prop in (*self._spheres, *self._names):
            self._renderer.AddViewProp(prop)

    def set_look(self, look: Look) -> None:
        """Change the colours of the names."""
        self._look = look
        self.show(self._shown)

    def place(
        self, pose: Pose, size: tuple[int, int], scale: float, hidden: Sequence[bool]
    ) -> None:
        """Set sizes and names for one picture.

        Parameters
        ----------
        pose
            Where the camera stands.
        size
            Width and height, pixels.
        scale
            Pixels per unit of a normal screen.
        hidden
            For each marker, whether bone lies in front of it: its name is left out or says so.
        """
        width, height = size
        mm = 2 * pose.half_height / height * scale
        for marker, sphere, name, is_hidden in zip(
            self._shown, self._spheres, self._names, hidden, strict=True
        ):
            sphere.SetScale(mm * (_CHOSEN_RADIUS if marker.chosen else _RADIUS))
            x, y = pose.pixel_of(np.array(marker.position), size)
            style = name.GetTextProperty()
            below = 26 if is_hidden else 5  # clear of the name of what lies in front
            outward = -1 if x < 0.48 * width else 1  # names never cover the middle of the face
            name.SetDisplayPosition(
                round(x + 12 * outward * scale), round(height - 1 - y - below * scale)
            )
            if outward < 0:
                style.SetJustificationToRight()
            else:
                style.SetJustificationToLeft()
            name.SetInput(f"{marker.text} (behind)" if is_hidden else marker.text)
            style.SetFontSize(round(13 * scale))
            name.SetVisibility(bool(marker.text) and (marker.chosen or not is_hidden))

    def _sphere(self, marker: Marker) -> vtkActor:
        mapper = vtkPolyDataMapper()
        mapper.SetInputConnection(self._ball.GetOutputPort())
        actor = vtkActor()
        actor.SetMapper(mapper)
        actor.SetPosition(*marker.position)
        surface = actor.GetProperty()
        surface.SetColor(*marker.colour)
        surface.SetAmbient(0.45)
        surface.SetDiffuse(0.6)
        return actor

    def _name(self, marker: Marker) -> vtkTextActor:
        actor = vtkTextActor()
        actor.SetInput(marker.text)
        style = actor.GetTextProperty()
        style.SetFontFamilyToArial()
        style.SetBold(marker.chosen)
        style.SetColor(*self._look.ink)
        style.SetBackgroundColor(*self._look.background)
        style.SetBackgroundOpacity(0.7)
        return actor
