"""The face coloured by how uncertain it is, and the legend in millimetres."""

from __future__ import annotations

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkLookupTable, vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkRenderingCore import vtkActor, vtkActor2D, vtkPolyDataMapper2D, vtkRenderer

from facegen_app.rendering.annotations import new_text, write
from facegen_app.rendering.look import AMBIENT, BAND_COLOURS, Colour, Look

_STEPS = 128
_AMBIENT = 0.32
"""More than for a plain face: a colour must read the same in the shade."""

_UNKNOWN: Colour = (0.55, 0.55, 0.55)


class Bands:
    """Colours a mesh by its half-width of the 90 % band, mm, and says which colour is how much."""

    def __init__(self, renderer: vtkRenderer, look: Look) -> None:
        self.wanted = False
        self._table = _table()
        self._bar, self._corners = _bar(renderer, self._table)
        self._title = new_text(renderer, look.ink)
        self._marks = [new_text(renderer, look.ink) for _ in range(3)]
        self._top_mm = 1.0
        self._show_legend(False)

    def set_look(self, look: Look) -> None:
        """Change the colours of the legend's words."""
        for actor in (self._title, *self._marks):
            actor.GetTextProperty().SetColor(*look.ink)

    def dress(self, actor: vtkActor, top_mm: float | None) -> None:
        """Colour an actor by its mesh's band, from 0 to `top_mm`; plain where None or unwanted."""
        mapper, coloured = actor.GetMapper(), self.wanted and top_mm is not None
        mapper.SetScalarVisibility(coloured)
        actor.GetProperty().SetAmbient(_AMBIENT if coloured else AMBIENT)
        if top_mm is not None:
            self._top_mm = top_mm
            mapper.SetScalarModeToUsePointData()
            mapper.SetLookupTable(self._table)
            mapper.SetUseLookupTableScalarRange(False)
            mapper.SetScalarRange(0.0, top_mm)
            mapper.SetInterpolateScalarsBeforeMapping(True)
        self._show_legend(coloured and bool(actor.GetVisibility()))

    def place(self, size: tuple[int, int], scale: float) -> None:
        """Put the legend at the upper left, beneath the title.

        Parameters
        ----------
        size
            Width and height, pixels.
        scale
            Pixels per unit of a normal screen.
        """
        left, top = 16 * scale, size[1] - 76 * scale
        long, wide = min(140 * scale, 0.26 * size[1]), 10 * scale
        write(self._title, "90 % band, ± mm", left, top, 12 * scale)
        low = top - 14 * scale - long
        for step in range(_STEPS + 1):
            y = low + long * step / _STEPS
            self._corners.SetPoint(2 * step, left, y, 0.0)
            self._corners.SetPoint(2 * step + 1, left + wide, y, 0.0)
        self._corners.Modified()
        texts = ("0", f"{self._top_mm / 2:g}", f"≥ {self._top_mm:g}")
        for share, actor, text in zip((0.0, 0.5, 1.0), self._marks, texts, strict=True):
            y = low + long * share - 4 * scale
            write(actor, text, left + wide + 6 * scale, y, 12 * scale)

    def _show_legend(self, shown: bool) -> None:
        for prop in (self._bar, self._title, *self._marks):
            prop.SetVisibility(shown)


def _table() -> vtkLookupTable:
    """Return the colours from none to most; one that tells as much to the colour-blind."""
    table = vtkLookupTable()
    table.SetNumberOfTableValues(_STEPS)
    at = np.linspace(0, len(BAND_COLOURS) - 1, _STEPS)
    known = np.arange(len(BAND_COLOURS))
    mixed = [np.interp(at, known, channel) for channel in np.array(BAND_COLOURS).T]
    for step, (red, green, blue) in enumerate(zip(*mixed, strict=True)):
        table.SetTableValue(step, red, green, blue, 1.0)
    table.SetNanColor(*_UNKNOWN, 1.0)
    return table


def _bar(renderer: vtkRenderer, table: vtkLookupTable) -> tuple[vtkActor2D, vtkPoints]:
    """Add the coloured bar; returns its actor and the corners that place it."""
    corners, cells = vtkPoints(), vtkCellArray()
    corners.SetNumberOfPoints(2 * (_STEPS + 1))
    for step in range(_STEPS):
        cells.InsertNextCell(4)
        for corner in (2 * step, 2 * step + 1, 2 * step + 3, 2 * step + 2):
            cells.InsertCellPoint(corner)
    data = vtkPolyData()
    data.SetPoints(corners)
    data.SetPolys(cells)
    data.GetCellData().SetScalars(numpy_to_vtk(np.arange(_STEPS, dtype=np.float32), deep=True))
    mapper = vtkPolyDataMapper2D()
    mapper.SetInputData(data)
    mapper.SetLookupTable(table)
    mapper.SetScalarRange(0.0, _STEPS - 1.0)
    mapper.SetUseLookupTableScalarRange(False)
    actor = vtkActor2D()
    actor.SetMapper(mapper)
    renderer.AddViewProp(actor)
    return actor, corners
