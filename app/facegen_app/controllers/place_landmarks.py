"""Landmarks in the 3-D view: shown as marks, looked at when chosen, placed by a click on bone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QCoreApplication

from facegen_app.model.landmark_colours import colour_of
from facegen_app.model.landmark_names import FRAME_CODES, name_of
from facegen_app.model.landmarks import LandmarkModel
from facegen_app.model.scene import SceneModel
from facegen_app.model.slices import SliceModel

if TYPE_CHECKING:
    from facegen_app.rendering.markers import Marker
    from facegen_app.views.main_window import MainWindow


class PlaceLandmarks:
    """Keeps the marks on the skull as the `LandmarkModel` says, and turns clicks into points."""

    def __init__(
        self, model: LandmarkModel, scene: SceneModel, slices: SliceModel, window: MainWindow
    ) -> None:
        self._model, self._scene, self._slices, self._window = model, scene, slices, window
        self._was_placing = False
        window.landmarks_panel.placing_wished.connect(model.set_placing)
        window.commands["place_landmark"].triggered.connect(lambda *_: model.set_placing(True))
        window.commands["stop_placing"].triggered.connect(lambda *_: model.set_placing(False))
        window.scene_view.clicked.connect(self._on_click)
        model.changed.connect(self._show)
        model.chosen_changed.connect(self._look_at)

    def _on_click(self, x: float, y: float) -> None:
        """Place the chosen point where the skull was clicked; say so where there is none."""
        if not self._model.placing:
            return
        spot = self._window.scene_view.scene.pick(x, y)
        if spot is None:
            self._say(_tr("There is no bone where you clicked; nothing was placed."))
            return
        code = self._model.chosen
        self._model.place(code, (float(spot[0]), float(spot[1]), float(spot[2])))
        self._go_to(spot)
        self._say(_tr("{name}: placed by hand.").format(name=name_of(code)))

    def _look_at(self, code: str) -> None:
        """Bring a point to the middle of the view, turning the head where bone hides it."""
        point, view = self._model.point(code), self._window.scene_view
        if point is None or not view.has_scene:
            return
        position = np.array(point.position)
        if view.scene.hides(position):
            name = view.scene.view_showing(position)
            if name is not None:
                self._scene.choose_view(name)
            else:
                view.scene.turn_to(position)
                self._window.view_bar.show_view(None)
        view.scene.centre_on(position)
        view.request_frame()
        self._go_to(position)

    def _go_to(self, position: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
        """Put the crosshair of the slices at a point, LPS mm."""
        if self._slices.volume is not None:
            self._slices.move_to(self._slices.volume.grid.voxel_points(position[None])[0])

    def _show(self) -> None:
        view = self._window.scene_view
        self._show_placing()
        if view.has_scene:
            view.scene.set_markers(self._markers())
            view.request_frame()

    def _show_placing(self) -> None:
        """While placing, let clicks be told, and say what to click."""
        placing = self._model.placing
        if placing:
            name = name_of(self._model.chosen)
            self._say(_tr("Placing {name}. Esc stops.").format(name=name[:1].lower() + name[1:]))
        if placing == self._was_placing:
            return
        self._was_placing = placing
        self._window.scene_view.set_aimed(placing)
        if not placing:
            self._say("")

    def _markers(self) -> list[Marker]:
        from facegen_app.rendering.markers import Marker

        markers = []
        for code in self._model.codes if self._model.shown else ():
            point = self._model.point(code)
            if point is None:
                continue
            chosen = code == self._model.chosen
            named = chosen or code in FRAME_CODES or point.provenance == "manual"
            text = name_of(code) if named else ""
            markers.append(Marker(point.position, colour_of(point.provenance), text, chosen))
        return markers

    def _say(self, text: str) -> None:
        self._window.job_bar.show_note(text)


def _tr(text: str) -> str:
    return QCoreApplication.translate("Landmarks", text)
