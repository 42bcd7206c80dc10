"""The three slices: crosshair, grey values, and what is under the cursor."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from facegen_app.model.planes import PLANE_NAMES, PlaneName
from facegen_app.model.slices import SliceModel
from facegen_app.views.slice_view import SlicePicture

if TYPE_CHECKING:
    from facegen_app.views.slices_panel import SlicesPanel


class Slices:
    """Keeps the slice views as the `SliceModel` says, and the model as the user wishes."""

    def __init__(self, model: SliceModel, panel: SlicesPanel) -> None:
        self._model, self._panel = model, panel
        for name in PLANE_NAMES:
            view = panel.slices[name]
            view.crosshair_wished.connect(partial(self._move, name))
            view.step_wished.connect(partial(model.step, name))
            view.hovered.connect(partial(self._read, name))
        panel.window_wished.connect(model.set_window)
        model.cursor_changed.connect(self._show)
        model.window_changed.connect(self._show)
        self._show()

    def _move(self, plane: PlaneName, column: float, row: float) -> None:
        if self._model.volume is not None:
            shape = self._model.volume.array.shape
            index = self._model.index(plane)
            self._model.move_to(self._model.planes[plane].voxel_at(column, row, index, shape))

    def _read(self, plane: PlaneName, pixel: tuple[float, float] | None) -> None:
        """Show the value and the place under the cursor; without one, at the crosshair."""
        volume = self._model.volume
        if volume is None:
            self._panel.show_reading(None)
            return
        voxel = self._model.cursor
        if pixel is not None:
            index = self._model.index(plane)
            voxel = self._model.planes[plane].voxel_at(*pixel, index, volume.array.shape)
        reading = self._model.reading(voxel)
        if reading is None:
            self._panel.show_reading(None)
        else:
            hounsfield, point = reading
            x, y, z = (float(value) for value in point)
            self._panel.show_reading((hounsfield, x, y, z))

    def _show(self) -> None:
        """Show all three slices through the crosshair."""
        self._panel.show_window(self._model.window)
        volume = self._model.volume
        for name in PLANE_NAMES:
            if volume is None:
                self._panel.slices[name].show_picture(None)
                continue
            plane = self._model.planes[name]
            title = QCoreApplication.translate("Slices", "{plane} {number} / {count}").format(
                plane=_title(name),
                number=self._model.index(name) + 1,
                count=volume.array.shape[plane.through],
            )
            crosshair = plane.pixel_of(self._model.cursor, volume.array.shape)
            self._panel.slices[name].show_picture(
                SlicePicture(
                    self._model.picture(name),
                    plane.spacing,
                    crosshair,
                    plane.letters,
                    title,
                    self._model.shown(name),
                )
            )
        self._read("axial", None)


def _title(name: PlaneName) -> str:
    titles = {
        "axial": QCoreApplication.translate("Slices", "Axial"),
        "coronal": QCoreApplication.translate("Slices", "Coronal"),
        "sagittal": QCoreApplication.translate("Slices", "Sagittal"),
    }
    return titles[name]
