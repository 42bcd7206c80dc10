"""Skull against face: from the fade, the wipe and the colours of uncertainty to the scene."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from facegen_app.controllers.overlay import Overlay
from facegen_app.model.scene import SceneModel

if TYPE_CHECKING:
    from facegen_app.views.main_window import MainWindow

_STEP = 0.02
"""How far a key moves the line, as a share of the width."""


class Review:
    """Keeps panel and scene as the `SceneModel` says, and the model as the user wishes."""

    def __init__(self, scene: SceneModel, window: MainWindow, overlay: Overlay) -> None:
        self._model, self._window, self._overlay = scene, window, overlay
        panel, view, commands = window.review_panel, window.scene_view, window.commands
        panel.blend_wished.connect(scene.set_blend)
        panel.wiping_wished.connect(scene.set_wiping)
        panel.bands_wished.connect(scene.set_bands)
        panel.dragged.connect(view.hold)
        for wish in (panel.wipe_wished, view.wipe_wished):
            wish.connect(scene.move_wipe)
        commands["wipe"].triggered.connect(lambda *_: scene.set_wiping(scene.wipe is None))
        commands["uncertainty"].triggered.connect(lambda *_: scene.set_bands(not scene.bands))
        for name, step in (("wipe_left", -_STEP), ("wipe_right", _STEP)):
            commands[name].triggered.connect(partial(self._step, step))
        scene.compared.connect(self._show)
        scene.layer_changed.connect(lambda _name: self._show_line())
        overlay.shown_changed.connect(self._show)
        self._show()

    def _step(self, step: float, *_: object) -> None:
        """Move the line by a key; the first press shows it where it last stood."""
        if self._model.wipe is None:
            self._model.set_wiping(True)
        else:
            self._model.move_wipe(self._model.wipe + step)

    def _show(self) -> None:
        model, window = self._model, self._window
        face, bands = self._overlay.has_face, self._overlay.has_bands
        window.review_panel.show_state(model.blend, model.wipe, model.bands)
        window.review_panel.set_ready(face=face, bands=bands)
        for name in ("wipe", "wipe_left", "wipe_right"):
            window.commands[name].setEnabled(face)
        window.commands["uncertainty"].setEnabled(bands)
        view = window.scene_view
        if view.has_scene:
            view.scene.set_wipe(model.wipe)
            view.scene.set_bands(model.bands)
            view.request_moving_frame()
        self._show_line()

    def _show_line(self) -> None:
        """Let the line be dragged where it is seen."""
        view = self._window.scene_view
        seen = view.has_scene and view.scene.is_wiped
        view.show_wipe(self._model.wipe if seen else None)
