"""What is written on the 3-D picture: view name, left and right, scale in mm, orientation cube."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkRenderingAnnotation import vtkAnnotatedCubeActor
from vtkmodules.vtkRenderingCore import (
    vtkActor2D,
    vtkPolyDataMapper2D,
    vtkRenderer,
    vtkTextActor,
)

from facegen_app.rendering.camera import Pose, direction_letters, round_length
from facegen_app.rendering.look import Colour, Look


class Labels:
    """Title, edge letters and scale bar, drawn in pixels over the picture."""

    def __init__(self, renderer: vtkRenderer, look: Look) -> None:
        self._title = new_text(renderer, look.ink, bold=True)
        self._note = new_text(renderer, look.quiet_ink)
        self._edges = {
            side: new_text(renderer, look.ink, bold=True, centred=True)
            for side in ("left", "right", "top", "bottom")
        }
        self._scale_text = new_text(renderer, look.ink, centred=True)
        self._bar, self._bar_points = _bar(renderer, look.ink)

    def set_look(self, look: Look) -> None:
        """Change the colours of the writing."""
        for actor in (self._title, self._scale_text, *self._edges.values()):
            actor.GetTextProperty().SetColor(*look.ink)
        self._note.GetTextProperty().SetColor(*look.quiet_ink)
        self._bar.GetProperty().SetColor(*look.ink)

    def place(
        self,
        pose: Pose,
        frame_from_patient: NDArray[np.float64],
        title: str,
        note: str,
        size: tuple[int, int],
        scale: float,
    ) -> None:
        """Write everything for one picture.

        Parameters
        ----------
        pose
            Where the camera stands.
        frame_from_patient
            4×4; directions are named in this frame.
        title, note
            The view's name, and a quieter line beneath it.
        size
            Width and height, pixels.
        scale
            Pixels per unit of a normal screen (device pixel ratio).
        """
        width, height = size
        unit = scale
        inset = 16 * unit
        write(self._title, title, inset, height - inset - 14 * unit, 14 * unit)
        write(self._note, note, inset, height - inset - 34 * unit, 12 * unit)
        rotation = frame_from_patient[:3, :3]
        right, up = rotation @ pose.right, rotation @ pose.up
        middle = (width / 2, height / 2 - 6 * unit)
        top = height - inset - (54 if title else 14) * unit
        places = {
            "left": (-right, inset + 4 * unit, middle[1]),
            "right": (right, width - inset - 4 * unit, middle[1]),
            "top": (up, middle[0], top),
            "bottom": (-up, middle[0], inset),
        }
        for side, (direction, x, y) in places.items():
            write(self._edges[side], direction_letters(direction), x, y, 17 * unit)
        self._place_bar(pose, (width, height), inset, unit)

    def _place_bar(self, pose: Pose, size: tuple[int, int], inset: float, unit: float) -> None:
        """Draw the scale bar at the lower left: a round length, true in this parallel picture."""
        width, height = size
        pixels_per_mm = height / (2 * pose.half_height)
        length = round_length(0.22 * width / pixels_per_mm)
        x0, x1, y = inset, inset + length * pixels_per_mm, inset + 4 * unit
        tick = 4 * unit
        corners = [(x0, y + tick), (x0, y - tick), (x0, y), (x1, y), (x1, y + tick), (x1, y - tick)]
        for index, (x, level) in enumerate(corners):
            self._bar_points.SetPoint(index, x, level, 0.0)
        self._bar_points.Modified()
        self._bar.GetProperty().SetLineWidth(1.6 * unit)
        write(self._scale_text, f"{length:g} mm", (x0 + x1) / 2, y + 9 * unit, 12 * unit)


class OrientationCube:
    """A small cube in the corner whose sides carry the patient letters L R A P S I."""

    def __init__(self, look: Look) -> None:
        self.renderer = vtkRenderer()
        self.renderer.SetLayer(1)
        self.renderer.InteractiveOff()
        self.renderer.SetUseFXAA(True)
        self._cube = _cube(look)
        self.renderer.AddActor(self._cube)
        self.renderer.GetActiveCamera().ParallelProjectionOn()

    def set_look(self, look: Look) -> None:
        """Change the colours of the cube and its letters."""
        self.renderer.RemoveActor(self._cube)
        self._cube = _cube(look)
        self.renderer.AddActor(self._cube)

    def place(
        self,
        pose: Pose,
        frame_from_patient: NDArray[np.float64],
        size: tuple[int, int],
        scale: float,
    ) -> None:
        """Turn the cube as the head is turned and keep its size in pixels."""
        width, height = size
        side = min(92 * scale, 0.25 * min(width, height))
        self.renderer.SetViewport(
            1 - (side + 8 * scale) / width,
            8 * scale / height,
            1 - 8 * scale / width,
            (side + 8 * scale) / height,
        )
        rotation = frame_from_patient[:3, :3]
        camera = self.renderer.GetActiveCamera()
        camera.SetFocalPoint(0.0, 0.0, 0.0)
        camera.SetPosition(*(rotation @ pose.toward_camera * 5))
        camera.SetViewUp(*(rotation @ pose.up))
        camera.SetParallelScale(0.95)
        self.renderer.ResetCameraClippingRange()


def _cube(look: Look) -> vtkAnnotatedCubeActor:
    """Return the lettered cube, axes as in the Frankfurt frame."""
    cube = vtkAnnotatedCubeActor()
    cube.SetXPlusFaceText("L")
    cube.SetXMinusFaceText("R")
    cube.SetYPlusFaceText("P")
    cube.SetYMinusFaceText("A")
    cube.SetZPlusFaceText("S")
    cube.SetZMinusFaceText("I")
    cube.SetXFaceTextRotation(0)
    cube.SetYFaceTextRotation(0)
    cube.SetZFaceTextRotation(90)
    cube.SetFaceTextScale(0.6)
    share = 0.45 if look.background > look.ink else 0.25  # light washes out on a light ground
    shade = tuple(
        (1 - share) * b + share * i for b, i in zip(look.background, look.ink, strict=True)
    )
    cube.GetCubeProperty().SetColor(*shade)
    cube.GetCubeProperty().SetAmbient(0.3)
    cube.SetTextEdgesVisibility(False)
    for letter in (
        cube.GetXPlusFaceProperty(),
        cube.GetXMinusFaceProperty(),
        cube.GetYPlusFaceProperty(),
        cube.GetYMinusFaceProperty(),
        cube.GetZPlusFaceProperty(),
        cube.GetZMinusFaceProperty(),
    ):
        letter.SetColor(*look.ink)
        letter.SetAmbient(1.0)
        letter.SetDiffuse(0.0)
        letter.SetInterpolationToFlat()
    return cube


def new_text(
    renderer: vtkRenderer, colour: Colour, *, bold: bool = False, centred: bool = False
) -> vtkTextActor:
    """Add an empty line of text to a renderer."""
    actor = vtkTextActor()
    style = actor.GetTextProperty()
    style.SetFontFamilyToArial()
    style.SetColor(*colour)
    style.SetBold(bold)
    if centred:
        style.SetJustificationToCentered()
    renderer.AddViewProp(actor)
    return actor


def write(actor: vtkTextActor, text: str, x: float, y: float, size: float) -> None:
    """Set text, place (pixels from the lower left) and height (pixels)."""
    actor.SetInput(text)
    actor.SetDisplayPosition(round(x), round(y))
    actor.GetTextProperty().SetFontSize(round(size))


def _bar(renderer: vtkRenderer, colour: Colour) -> tuple[vtkActor2D, vtkPoints]:
    """Add the scale bar's three lines; returns the actor and the points that place it."""
    points = vtkPoints()
    points.SetData(numpy_to_vtk(np.zeros((6, 3), dtype=np.float32), deep=True))
    lines = vtkCellArray()
    for start, stop in ((0, 1), (2, 3), (4, 5)):
        lines.InsertNextCell(2)
        lines.InsertCellPoint(start)
        lines.InsertCellPoint(stop)
    data = vtkPolyData()
    data.SetPoints(points)
    data.SetLines(lines)
    mapper = vtkPolyDataMapper2D()
    mapper.SetInputData(data)
    actor = vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*colour)
    renderer.AddViewProp(actor)
    return actor, points
