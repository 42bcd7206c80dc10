"""What the look is made of: one type scale, one spacing unit, and the colours of two themes."""

from __future__ import annotations

from dataclasses import dataclass

UNIT = 8
"""The spacing unit, pixels; every margin and gap is a multiple or half of it."""

SMALL, BODY, TITLE, DISPLAY = 11, 13, 14, 20
"""The type scale, pixels."""


@dataclass(frozen=True)
class Theme:
    """Colours by what they are for, ``#RRGGBB``.

    Attributes
    ----------
    name
        ``dark`` or ``light``.
    stage
        Behind the head.
    panel, raised, line
        Surfaces that hold controls, the controls themselves, and edges.
    text, quiet, faint
        Words: to be read first, beside it, and of what is off.
    accent, accent_hover, on_accent
        The one colour that says "this", the same under the mouse, and words on it.
    warning
        Words that the examiner must read.
    """

    name: str
    stage: str
    panel: str
    raised: str
    line: str
    text: str
    quiet: str
    faint: str
    accent: str
    accent_hover: str
    on_accent: str
    warning: str


DARK = Theme(
    name="dark",
    stage="#25262A",
    panel="#2D3035",
    raised="#3A3E45",
    line="#4B5059",
    text="#E6E8EA",
    quiet="#B7BDC5",
    faint="#A3AAB4",
    accent="#7FB4E6",
    accent_hover="#96C3EE",
    on_accent="#10161C",
    warning="#E3B868",
)

LIGHT = Theme(
    name="light",
    stage="#E8EAED",
    panel="#F6F7F8",
    raised="#FFFFFF",
    line="#CDD2D8",
    text="#1B1F24",
    quiet="#495059",
    faint="#5F6771",
    accent="#1F65AD",
    accent_hover="#2B75C2",
    on_accent="#FFFFFF",
    warning="#855000",
)

THEMES = {theme.name: theme for theme in (DARK, LIGHT)}

FILM, FILM_TEXT, FILM_QUIET, FILM_LINE = "#000000", "#E6E8EA", "#B7BDC5", "#7FB4E6"
"""Slices are read on black in either theme, as on a light box."""

TEXT_PAIRS = (
    ("text", "panel"), ("text", "raised"), ("text", "stage"), ("text", "line"),
    ("quiet", "panel"), ("quiet", "raised"), ("quiet", "stage"),
    ("faint", "panel"), ("faint", "raised"), ("faint", "stage"),
    ("accent", "panel"), ("accent", "raised"),
    ("on_accent", "accent"), ("on_accent", "accent_hover"),
    ("warning", "panel"), ("warning", "stage"),
)  # fmt: skip
"""Every pair of words and what they stand on, by the names of `Theme`."""


def rgb(colour: str) -> tuple[float, float, float]:
    """Return red, green and blue, 0..1, of ``#RRGGBB``."""
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue
