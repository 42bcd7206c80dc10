"""Craniometric points in words: names, where the examiner puts them, and how each was found."""

from __future__ import annotations

FRAME_CODES = ("po-L", "po-R", "or-L", "or-R")
"""The points that make the Frankfurt frame; both porions and one orbitale are enough."""

_NAMES = {
    "po": "Porion",
    "or": "Orbitale",
    "v": "Vertex",
    "op": "Opisthocranion",
    "g": "Glabella",
    "n": "Nasion",
    "mn": "Midnasal",
    "rhi": "Rhinion",
    "ans": "Anterior nasal spine",
    "ss": "Subspinale",
    "mp": "Mid-philtrum",
    "pr": "Prosthion",
    "id": "Infradentale",
    "sm": "Supramentale",
    "pg": "Pogonion",
    "gn": "Gnathion",
    "me": "Menton",
    "mso": "Mid-supraorbital",
    "mio": "Mid-infraorbital",
    "ac": "Alare curvature",
    "zy": "Zygion",
    "sC": "Supra canine",
    "iC": "Infra canine",
    "ecm2s": "Supra second molar",
    "ecm2i": "Infra second molar",
    "mr": "Mid-ramus",
    "mmb": "Mid-mandibular border",
    "go": "Gonion",
}
"""As the tables of tissue depths name them."""

_PAIRED = frozenset(
    {"po", "or", "mso", "mio", "ac", "zy", "sC", "iC", "ecm2s", "ecm2i", "mr", "mmb", "go"}
)
_SIDES = {"L": "left", "R": "right"}
_PLACES = {
    "po": "the highest point on the rim of the bony ear opening",
    "or": "the lowest point on the lower rim of the orbit",
}
_PROVENANCES = {
    "automatic": "automatic",
    "manual": "placed by hand",
    "mirrored": "mirrored",
    "inferred": "inferred",
}
_HIGH, _MODERATE = 0.8, 0.4
"""Confidence is exp(−(gap to bone / 5 mm)²): above 2.4 mm it is not high, above 4.8 mm low."""

CODES = FRAME_CODES + tuple(
    code
    for name in _NAMES
    if name not in ("po", "or")
    for code in ((f"{name}-L", f"{name}-R") if name in _PAIRED else (name,))
)
"""Every point that can be placed, in the order of a list."""


def name_of(code: str) -> str:
    """Return a point's name with the examinee's side: ``Porion, left``."""
    stem, _, side = code.partition("-")
    name = _NAMES.get(stem, stem)
    return f"{name}, {_SIDES[side]}" if side in _SIDES else name


def place_of(code: str) -> str:
    """Return in words where a point of the frame lies on the examinee; empty for other points."""
    stem, _, side = code.partition("-")
    place = _PLACES.get(stem, "")
    return f"{place}, on the examinee's {_SIDES[side]}" if place else ""


def source_of(provenance: str, confidence: float) -> str:
    """Return how a point was found and how sure that is: ``automatic, high``.

    A point placed by hand has no measure of confidence: it is the examiner's.
    """
    words = _PROVENANCES.get(provenance, provenance)
    if provenance == "manual":
        return words
    if confidence >= _HIGH:
        return f"{words}, high"
    return f"{words}, moderate" if confidence >= _MODERATE else f"{words}, low"
