"""One colour for each way in which a landmark comes about, in the list as on the skull."""

from __future__ import annotations

from facegen_app.model.scene import Colour

_COLOURS: dict[str, Colour] = {
    "automatic": (0.36, 0.63, 0.93),
    "manual": (0.36, 0.84, 0.53),
    "mirrored": (0.93, 0.68, 0.26),
    "inferred": (0.93, 0.68, 0.26),
}


def colour_of(provenance: str) -> Colour:
    """Return red, green and blue, 0..1."""
    return _COLOURS[provenance]
