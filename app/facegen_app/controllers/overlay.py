"""Skull and face over each other: from sliders and view buttons to the scene."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from facegen_app.model.event import Event
from facegen_app.model.scene import LAYER_NAMES, SceneModel

if TYPE_CHECKING:
    from facegen_app.rendering.display_mesh import DisplayMesh
    from facegen_app.views.main_window import MainWindow
    from facegen_inference.frame import Frame

VIEW_NAMES = (
    "lateral-right",
    "three-quarter-right",
    "frontal",
    "three-quarter-left",
    "lateral-left",
    "vertex",
)


class Overlay:
    """Keeps the scene as the `SceneModel` says, and the model as the user wishes.

    Attributes
    ----------
    shown_changed
        Told after another skull or face, or none, is shown.
    """

    def __init__(self, scene: SceneModel, window: MainWindow) -> None:
        self._model, self._window = scene, window
        self._faces: list[DisplayMesh] = []
        self._face: DisplayMesh | None = None
        self.shown_changed: Event[()] = Event()
        panel, view = window.layers_panel, window.scene_view
        for name, row in panel.rows.items():
            row.visible_wished.connect(partial(scene.set_visible, name))
            row.opacity_wished.connect(partial(scene.set_opacity, name))
            row.colour_wished.connect(partial(scene.set_colour, name))
            row.dragged.connect(view.hold)
        panel.variant_wished.connect(self.show_variant)
        window.view_bar.view_wished.connect(scene.choose_view)
        view.moved.connect(partial(window.view_bar.show_view, None))
        for name in VIEW_NAMES:
            window.commands[name].triggered.connect(partial(self._choose_view, name))
        for name in LAYER_NAMES:
            window.commands[f"toggle_{name}"].triggered.connect(partial(self._toggle, name))
        scene.layer_changed.connect(self._show_layer)
        scene.view_chosen.connect(self._show_view)
        for name in LAYER_NAMES:
            self._show_row(name)
        self._show_presence()

    @property
    def has_skull(self) -> bool:
        """Whether a skull is shown."""
        return self._has_skull

    _has_skull = False

    @property
    def has_face(self) -> bool:
        """Whether there is a face to be shown."""
        return bool(self._faces)

    @property
    def has_bands(self) -> bool:
        """Whether the face that is shown carries its 90 % band."""
        return self._face is not None and self._face.band_top_mm is not None

    def show_skull(self, skull: DisplayMesh | None, frame: Frame | None) -> None:
        """Show a skull from the front, in its frame; None takes everything away."""
        self._has_skull = skull is not None
        self._faces, self._face = [], None
        if skull is not None or self._window.scene_view.has_scene:
            scene = self._window.scene_view.scene
            scene.set_mesh("face", None)
            scene.set_mesh("skull", skull)
            scene.set_frame(frame)
        self._window.show_head(skull is not None)
        self._window.layers_panel.show_variants(())
        self._show_presence()
        if skull is not None:
            for name in LAYER_NAMES:
                self._show_layer(name)
            self._model.choose_view("frontal")
        self.shown_changed.emit()

    def show_frame(self, frame: Frame | None) -> None:
        """Show the skull that is there from the front of another frame."""
        self._window.scene_view.scene.set_frame(frame)
        self._model.choose_view("frontal")

    def show_faces(self, faces: Sequence[DisplayMesh], names: Sequence[str]) -> None:
        """Show the first of these faces and offer the others; none takes the face away."""
        self._faces = list(faces)
        self._window.layers_panel.show_variants(list(names))
        self._show_presence()
        if self._window.scene_view.has_scene:
            self.show_variant(0)

    def show_variant(self, number: int) -> None:
        """Show one of the faces; 0 is the face itself."""
        self._face = self._faces[number] if number < len(self._faces) else None
        self._window.scene_view.scene.set_mesh("face", self._face)
        self._show_layer("face")
        self.shown_changed.emit()

    def _choose_view(self, name: str, *_: object) -> None:
        self._model.choose_view(name)

    def _toggle(self, name: str, *_: object) -> None:
        self._model.set_visible(name, not self._model.layer(name).visible)

    def _show_layer(self, name: str) -> None:
        """Show a layer of the model in the panel and in the scene: one frame."""
        self._show_row(name)
        self._show_toggles()
        view = self._window.scene_view
        if view.has_scene:
            layer = self._model.shown(name)
            view.scene.set_layer(
                name, visible=layer.visible, opacity=layer.opacity, colour=layer.colour
            )
            view.request_frame()

    def _show_row(self, name: str) -> None:
        layer = self._model.layer(name)
        self._window.layers_panel.rows[name].show_layer(layer.visible, layer.opacity, layer.colour)

    def _show_view(self, name: str) -> None:
        view = self._window.scene_view
        if view.has_scene:
            view.scene.set_view(name)
            self._window.view_bar.show_view(name)
            view.request_frame()

    def _show_presence(self) -> None:
        """Turn on the controls of what is there."""
        self._window.layers_panel.set_present("skull", self._has_skull)
        self._window.layers_panel.set_present("face", bool(self._faces))
        self._window.view_bar.set_ready(self._has_skull)
        for name in VIEW_NAMES:
            self._window.commands[name].setEnabled(self._has_skull)
        self._show_toggles()

    def _show_toggles(self) -> None:
        """Let layers be shown and hidden where that is seen: not while the skull is bare."""
        for name, present in (("skull", self._has_skull), ("face", bool(self._faces))):
            self._window.commands[f"toggle_{name}"].setEnabled(present and not self._model.bare)
