"""What the 3-D view shows and how: layers, fade and wipe between them, the view asked for."""

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


_SOLID_UNTIL = 0.6
"""Share of the way from skull to face up to which the skull stays solid."""


class SceneModel:
    """The layers of the scene, and how skull and face are compared.

    Attributes
    ----------
    layer_changed
        Told the layer's name after it changed; not when nothing changed.
    view_chosen
        Told the name of the standard view that is wanted.
    compared
        Told after `blend`, `wipe` or `bands` changed.
    """

    def __init__(self) -> None:
        self._layers = dict(DEFAULT_LAYERS)
        self.layer_changed: Event[str] = Event()
        self.view_chosen: Event[str] = Event()
        self.compared: Event[()] = Event()
        self._blend = DEFAULT_LAYERS["face"].opacity
        self._wiping, self._line = False, 0.5
        self._bands, self._bare = False, False

    def layer(self, name: str) -> Layer:
        """Return how a layer is shown."""
        return self._layers[name]

    def shown(self, name: str) -> Layer:
        """Return how a layer is to be drawn; while the skull is bare, it alone and solid."""
        layer = self._layers[name]
        return replace(layer, visible=name == "skull", opacity=1.0) if self._bare else layer

    @property
    def blend(self) -> float:
        """The way from skull (0) to face (1) that was last asked for."""
        return self._blend

    @property
    def wipe(self) -> float | None:
        """Where the line between skull and face stands, 0..1 of the width; None without one."""
        return self._line if self._wiping else None

    @property
    def bands(self) -> bool:
        """Whether the face is coloured by its 90 % band."""
        return self._bands

    @property
    def bare(self) -> bool:
        """Whether the skull is shown alone and solid, whatever the layers say."""
        return self._bare

    def set_blend(self, blend: float) -> None:
        """Fade between skull (0) and face (1): sets both opacities and ends the wipe.

        The face grows denser all the way; the skull stays solid at first, so that in between the
        face is seen over whole bone, and is gone at the end.
        """
        self._blend = min(max(blend, 0.0), 1.0)
        self._wiping = False
        self.set_opacity("face", self._blend)
        self.set_opacity("skull", (1.0 - self._blend) / (1.0 - _SOLID_UNTIL))
        self.compared.emit()

    def set_wiping(self, wiping: bool) -> None:
        """Show skull and face side by side along a line, where it last stood, or end that."""
        if wiping != self._wiping:
            self._wiping = wiping
            self.compared.emit()

    def move_wipe(self, share: float) -> None:
        """Put the line at a share of the picture's width; held within 0..1."""
        self._wiping, self._line = True, min(max(share, 0.0), 1.0)
        self.compared.emit()

    def set_bands(self, coloured: bool) -> None:
        """Colour the face by its 90 % band, or not."""
        if coloured != self._bands:
            self._bands = coloured
            self.compared.emit()

    def set_bare(self, bare: bool) -> None:
        """Show the skull alone and solid whatever the layers say, or end that."""
        if bare != self._bare:
            self._bare = bare
            for name in LAYER_NAMES:
                self.layer_changed.emit(name)

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
