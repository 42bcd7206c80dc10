"""The wipe: skull at the left of an upright line in the picture, face at its right."""

from __future__ import annotations

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPlane, vtkPolyData
from vtkmodules.vtkRenderingCore import vtkActor2D, vtkMapper, vtkPolyDataMapper2D, vtkRenderer

from facegen_app.rendering.camera import Pose
from facegen_app.rendering.look import Colour, Look

HANDLE_RADIUS = 12.0
"""Of the round handle in the middle of the line, pixels of a normal screen."""

_CORNERS = 32


class Wipe:
    """Cuts two meshes along one plane that holds the line and the direction of view.

    Attributes
    ----------
    share
        Where the line stands, 0..1 of the picture's width; None without one.
    has_handle
        Whether the line has something to take hold of; a saved picture needs none.
    """

    def __init__(self, renderer: vtkRenderer, look: Look) -> None:
        self.share: float | None = None
        self.has_handle = True
        self._left, self._right = vtkPlane(), vtkPlane()
        self._line = _Shape(renderer, [range(0, 2)])
        self._disc = _Shape(renderer, polygons=[range(_CORNERS)])
        self._arrows = _Shape(renderer, polygons=[range(0, 3), range(3, 6)])
        self.set_look(look)
        self.show(False, None, None)

    def set_look(self, look: Look) -> None:
        """Change the colours of line and handle."""
        self._line.set_colour(look.ink)
        self._disc.set_colour(look.ink)
        self._arrows.set_colour(look.background)

    def show(self, shown: bool, skull: vtkMapper | None, face: vtkMapper | None) -> None:
        """Cut both meshes and draw the line; or neither."""
        for mapper, plane in ((skull, self._left), (face, self._right)):
            if mapper is not None:
                mapper.RemoveAllClippingPlanes()
                if shown:
                    mapper.AddClippingPlane(plane)
        self._line.actor.SetVisibility(shown)
        for shape in (self._disc, self._arrows):
            shape.actor.SetVisibility(shown and self.has_handle)

    def place(self, pose: Pose, size: tuple[int, int], scale: float) -> None:
        """Put plane and line where the camera needs them.

        Parameters
        ----------
        pose
            Where the camera stands.
        size
            Width and height, pixels.
        scale
            Pixels per unit of a normal screen.
        """
        if self.share is None:
            return
        width, height = size
        aside = (self.share - 0.5) * width * 2 * pose.half_height / height
        for plane, side in ((self._left, -pose.right), (self._right, pose.right)):
            plane.SetOrigin(*(pose.centre + aside * pose.right))
            plane.SetNormal(*side)
        x, y, radius = self.share * width, height / 2, HANDLE_RADIUS * scale
        self._line.move(np.array([[x, 0.0], [x, float(height)]]))
        self._line.actor.GetProperty().SetLineWidth(2.0 * scale)
        turn = 2 * np.pi * np.arange(_CORNERS) / _CORNERS
        self._disc.move(np.array([x, y]) + radius * np.stack([np.cos(turn), np.sin(turn)], -1))
        arrow = radius * np.array([[0.65, 0.0], [0.2, 0.4], [0.2, -0.4]])
        mirrored = arrow * np.array([-1.0, 1.0])
        self._arrows.move(np.array([x, y]) + np.concatenate([arrow, mirrored]))


class _Shape:
    """Lines and polygons in pixels over the picture."""

    def __init__(
        self,
        renderer: vtkRenderer,
        lines: list[range] | None = None,
        polygons: list[range] | None = None,
    ) -> None:
        self._points = vtkPoints()
        data = vtkPolyData()
        data.SetPoints(self._points)
        for cells, put in ((lines, data.SetLines), (polygons, data.SetPolys)):
            held = vtkCellArray()
            for cell in cells or ():
                held.InsertNextCell(len(cell))
                for corner in cell:
                    held.InsertCellPoint(corner)
            put(held)
        mapper = vtkPolyDataMapper2D()
        mapper.SetInputData(data)
        self.actor = vtkActor2D()
        self.actor.SetMapper(mapper)
        renderer.AddViewProp(self.actor)

    def set_colour(self, colour: Colour) -> None:
        self.actor.GetProperty().SetColor(*colour)

    def move(self, corners: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
        """Put the corners, (N, 2) pixels from the lower left, in their places."""
        flat = np.column_stack([corners, np.zeros(len(corners))]).astype(np.float32)
        self._points.SetData(numpy_to_vtk(flat, deep=True))
        self._points.Modified()
