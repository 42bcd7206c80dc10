"""How the report looks: one typeface, four sizes, two greys and one colour; A4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image as Pictures
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_CENTER, TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Image, Paragraph, Table, TableStyle

from facegen_app.casework.fonts import BOLD, REGULAR, markup, register_fonts

PAGE_WIDTH, PAGE_HEIGHT = A4
MARGIN = 20 * mm
TEXT_WIDTH = PAGE_WIDTH - 2 * MARGIN
INK, QUIET, LINE, SHADE = (
    HexColor("#1c2733"), HexColor("#5a6673"), HexColor("#c9d0d7"), HexColor("#f2f4f6"),
)  # fmt: skip
ACCENT = HexColor("#1f4e79")
_DOTS_PER_INCH = 300

register_fonts()
BODY = ParagraphStyle(
    "body", fontName=REGULAR, fontSize=8.5, leading=12.2, textColor=INK, spaceAfter=5
)
SMALL = ParagraphStyle("small", BODY, fontSize=7, leading=9.4, spaceAfter=0)
LABEL = ParagraphStyle("label", SMALL, textColor=QUIET)
CODE = ParagraphStyle("code", SMALL, fontSize=6.5, leading=8.8)
SIDE = ParagraphStyle("side", SMALL, fontName=BOLD, textColor=ACCENT)
SIDE_RIGHT = ParagraphStyle("side-right", SIDE, alignment=TA_RIGHT)
CAPTION = ParagraphStyle("caption", SMALL, textColor=QUIET, alignment=TA_CENTER)
TITLE = ParagraphStyle(
    "title", BODY, fontName=BOLD, fontSize=20, leading=25, textColor=ACCENT, spaceAfter=0
)
SUBTITLE = ParagraphStyle("subtitle", BODY, fontSize=11, leading=15, textColor=QUIET, spaceAfter=9)
HEADING = ParagraphStyle(
    "heading", BODY, fontName=BOLD, fontSize=12, leading=16, textColor=ACCENT,
    spaceBefore=11, spaceAfter=5, keepWithNext=1,
)  # fmt: skip
SUBHEADING = ParagraphStyle(
    "subheading", BODY, fontName=BOLD, fontSize=8.5, leading=12, spaceBefore=5, spaceAfter=3,
    keepWithNext=1,
)  # fmt: skip


def text(value: object, style: ParagraphStyle = BODY) -> Paragraph:
    """Return any text as a paragraph; nothing in it is taken for markup."""
    return Paragraph(markup(str(value)), style)


def bullets(sentences: Sequence[str], style: ParagraphStyle = BODY) -> list[Flowable]:
    """Return sentences as a list with bullets."""
    hanging = ParagraphStyle(
        f"{style.name}-bullet", style, leftIndent=4 * mm, bulletIndent=0.5 * mm, spaceAfter=2.5
    )
    return [Paragraph(markup(sentence), hanging, bulletText="•") for sentence in sentences]


def boxed(content: list[Flowable], colour: Color = SHADE) -> Table:
    """Return content on a shaded ground with a bar of colour at its left."""
    box = Table([[content]], colWidths=[TEXT_WIDTH])
    box.setStyle(
        TableStyle([
            ("BACKGROUND", (0, 0), (-1, -1), colour),
            ("LINEBEFORE", (0, 0), (0, -1), 2.5, ACCENT),
            ("LEFTPADDING", (0, 0), (-1, -1), 9),
            ("RIGHTPADDING", (0, 0), (-1, -1), 9),
            ("TOPPADDING", (0, 0), (-1, -1), 6),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
        ])
    )  # fmt: skip
    return box


def facts(rows: Sequence[tuple[str, object]], label_width: float = 44 * mm) -> Table:
    """Return labels and values, one a line, parted by hairlines."""
    cells = [[text(label, LABEL), text(value, SMALL)] for label, value in rows]
    table = Table(cells, colWidths=[label_width, TEXT_WIDTH - label_width])
    table.setStyle(_lined())
    return table


def grid(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    widths: Sequence[float] | None = None,
    numbers_from: int = 1,
) -> Table:
    """Return a table with a head that is repeated on each page; numbers stand right."""
    head = [text(name, LABEL) for name in header]
    right = ParagraphStyle("right", SMALL, alignment=TA_RIGHT)
    head_right = [Paragraph(p.text, ParagraphStyle("r", LABEL, alignment=TA_RIGHT)) for p in head]
    cells = [
        [*head[:numbers_from], *head_right[numbers_from:]],
        *(
            [text(v, SMALL if n < numbers_from else right) for n, v in enumerate(row)]
            for row in rows
        ),
    ]
    share = [TEXT_WIDTH / len(header)] * len(header)
    table = Table(cells, colWidths=list(widths or share), repeatRows=1)
    style = _lined()
    style.add("LINEBELOW", (0, 0), (-1, 0), 0.8, QUIET)
    table.setStyle(style)
    return table


def _lined() -> TableStyle:
    return TableStyle([
        ("LINEBELOW", (0, 0), (-1, -1), 0.35, LINE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
        ("TOPPADDING", (0, 0), (-1, -1), 2.2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.6),
    ])  # fmt: skip


def picture(path: Path, width: float) -> Image:
    """Return a picture at a width (points), reduced to what 300 dots per inch can show."""
    pixels = round(width / 72 * _DOTS_PER_INCH)
    with Pictures.open(path) as opened:
        shown = opened.convert("RGB")
    if shown.width > pixels:
        height = round(shown.height * pixels / shown.width)
        shown = shown.resize((pixels, height), Pictures.Resampling.LANCZOS, reducing_gap=2.0)
    stream = BytesIO()
    shown.save(stream, "BMP")
    stream.seek(0)
    return Image(stream, width, width * shown.height / shown.width)


@dataclass(frozen=True)
class Shown:
    """A picture with its caption; `left` and `right` are the letters at its edges."""

    path: Path
    caption: str
    left: str = ""
    right: str = ""


def picture_row(pictures: Sequence[Shown], width: float | None = None) -> Table:
    """Return pictures side by side over the width of the text, each with a caption."""
    each = TEXT_WIDTH / len(pictures) if width is None else width
    inner = each - 3 * mm
    cells = [
        [picture(shown.path, inner) for shown in pictures],
        [_caption(shown, inner) for shown in pictures],
    ]
    table = Table(cells, colWidths=[each] * len(pictures), hAlign="LEFT")
    table.setStyle(
        TableStyle(
            [
                ("ALIGN", (0, 0), (-1, -1), "CENTER"),
                ("LEFTPADDING", (0, 0), (-1, -1), 1.5 * mm),
                ("RIGHTPADDING", (0, 0), (-1, -1), 1.5 * mm),
                ("TOPPADDING", (0, 0), (-1, -1), 1),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
            ]
        )
    )
    return table


def _caption(shown: Shown, width: float) -> Flowable:
    """Return a caption with the side letters below the edges that they belong to."""
    if not shown.left:
        return text(shown.caption, CAPTION)
    edge = 9 * mm
    table = Table(
        [[text(shown.left, SIDE), text(shown.caption, CAPTION), text(shown.right, SIDE_RIGHT)]],
        colWidths=[edge, width - 2 * edge, edge],
    )
    table.setStyle(
        TableStyle(
            [
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 0),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 0),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
    )
    return table
