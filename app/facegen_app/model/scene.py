"""What the 3-D view shows and how: visible, opaque, coloured; and the view last asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from facegen_app.model.event import Event

Colour = tuple[float, float, float]
"""Red, green and blue, 0..1."""

LAYER_NAMES = ("skull", "face")


@dataclass(frozen=True)
class Layer:
    """How one mesh is shown; opacity 0..1."""

    visible: bool
    opacity: float
    colour: Colour


DEFAULT_LAYERS = {
    "skull": Layer(True, 1.0, (0.86, 0.83, 0.76)),
    "face": Layer(True, 0.55, (0.80, 0.60, 0.50)),
}


class SceneModel:
    """The layers of the scene.

    Attributes
    ----------
    layer_changed
        Told the layer's name after it changed; not when nothing changed.
    view_chosen
        Told the name of the standard view that is wanted.
    """

    def __init__(self) -> None:
        self._layers = dict(DEFAULT_LAYERS)
        self.layer_changed: Event[str] = Event()
        self.view_chosen: Event[str] = Event()

    def layer(self, name: str) -> Layer:
        """Return how a layer is shown."""
        return self._layers[name]

    def set_visible(self, name: str, visible: bool) -> None:
        """Show or hide a layer."""
        self._change(name, replace(self._layers[name], visible=visible))

    def set_opacity(self, name: str, opacity: float) -> None:
        """Set a layer's opacity; held within 0..1."""
        self._change(name, replace(self._layers[name], opacity=min(max(opacity, 0.0), 1.0)))

    def set_colour(self, name: str, colour: Colour) -> None:
        """Set a layer's colour."""
        self._change(name, replace(self._layers[name], colour=colour))

    def choose_view(self, name: str) -> None:
        """Ask for a standard view."""
        self.view_chosen.emit(name)

    def _change(self, name: str, layer: Layer) -> None:
        if layer != self._layers[name]:
            self._layers[name] = layer
            self.layer_changed.emit(name)
