"""Letters for the report: embedded fonts, and what to do with a letter that they lack.

Bitstream Vera comes with reportlab and covers western and central European writing.  Any other
letter is taken from a font of the system where one has it, else reduced to its base letter.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import reportlab
from reportlab.lib.fonts import addMapping
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont

REGULAR, BOLD, ITALIC = "FaceGenSans", "FaceGenSans-Bold", "FaceGenSans-Italic"
_OTHER = "FaceGenOther"
_SYSTEM_FONTS = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/Library/Fonts/Arial Unicode.ttf",
    "/System/Library/Fonts/Supplemental/Arial Unicode.ttf",
    "C:/Windows/Fonts/segoeui.ttf",
    "C:/Windows/Fonts/arial.ttf",
)


@cache
def register_fonts() -> None:
    """Make the report's fonts known to reportlab; once in a program."""
    folder = Path(reportlab.__file__).parent / "fonts"
    for name, file in ((REGULAR, "Vera"), (BOLD, "VeraBd"), (ITALIC, "VeraIt")):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{file}.ttf")))
    addMapping(REGULAR, 0, 0, REGULAR)
    addMapping(REGULAR, 1, 0, BOLD)
    addMapping(REGULAR, 0, 1, ITALIC)


@cache
def _covered(name: str) -> frozenset[int]:
    """Return the code points that a registered font can write."""
    register_fonts()
    return frozenset(pdfmetrics.getFont(name).face.charToGlyph)


@cache
def _other_font() -> str | None:
    """Register the first system font found and return its name, or None."""
    for file in _SYSTEM_FONTS:
        try:
            pdfmetrics.registerFont(TTFont(_OTHER, file))
        except (TTFError, OSError):
            continue
        addMapping(_OTHER, 0, 0, _OTHER)
        addMapping(_OTHER, 1, 0, _OTHER)
        addMapping(_OTHER, 0, 1, _OTHER)
        return _OTHER
    return None


def writable(text: str) -> str:
    """Return `text` with letters that the embedded fonts lack reduced to what they can write."""
    return "".join(_reduced(letter) for letter in text if letter.isprintable())


def markup(text: str) -> str:
    """Return any text as reportlab paragraph markup that shows every letter it can.

    Line breaks become breaks; nothing in the text is taken for markup.
    """
    return "<br/>".join(
        "".join(_letter(letter) for letter in line if letter.isprintable())
        for line in text.splitlines()
    )


def _letter(letter: str) -> str:
    if ord(letter) in _covered(REGULAR):
        return escape(letter)
    other = _other_font()
    if other is not None and ord(letter) in _covered(other):
        return f'<font name="{other}">{escape(letter)}</font>'
    return escape(_reduced(letter))


def _reduced(letter: str) -> str:
    covered = _covered(REGULAR)
    if ord(letter) in covered:
        return letter
    base = [part for part in unicodedata.normalize("NFKD", letter) if ord(part) in covered]
    return "".join(base) or "?"
