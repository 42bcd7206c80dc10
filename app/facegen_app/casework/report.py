"""``report.pdf``: what was done, with what, how good it is and what it is not.

Made from the data of ``result.json`` and the pictures beside it, nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reportlab import rl_config
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

from facegen_app.casework import report_sections as sections
from facegen_app.casework.fonts import BOLD, REGULAR, writable
from facegen_app.casework.report_style import (
    ACCENT,
    LINE,
    MARGIN,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    QUIET,
)
from facegen_inference.intended_use import INTENDED_USE

_TITLE = "Craniofacial reconstruction"
rl_config.useA85 = 0  # pictures as they are: turning them into letters takes most of the time
_TOP, _BOTTOM = 23 * mm, 25 * mm


class _NumberedCanvas(Canvas):  # type: ignore[misc]
    """A canvas that knows how many pages there are before it writes their feet."""

    def __init__(self, *args: Any, case_number: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self._case_number = case_number
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802  (reportlab's name)
        """Keep the page back until all are there."""
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Write all pages with head and foot."""
        for number, page in enumerate(self._pages, start=1):
            self.__dict__.update(page)
            self._margins(number, len(self._pages))
            super().showPage()
        super().save()

    def _margins(self, number: int, count: int) -> None:
        right = PAGE_WIDTH - MARGIN
        self.setStrokeColor(LINE)
        self.setLineWidth(0.5)
        self.setFillColor(ACCENT)
        self.setFont(BOLD, 7.5)
        top = PAGE_HEIGHT - 14 * mm
        self.drawString(MARGIN, top, f"FaceGen  ·  {_TITLE}")
        self.setFillColor(QUIET)
        self.setFont(REGULAR, 7.5)
        if self._case_number:
            self.drawRightString(right, top, writable(f"Case {self._case_number}")[:60])
        self.line(MARGIN, top - 2.5 * mm, right, top - 2.5 * mm)
        foot = 17 * mm
        self.line(MARGIN, foot + 3.5 * mm, right, foot + 3.5 * mm)
        self.setFont(REGULAR, 6.5)
        first, _, rest = INTENDED_USE.partition(". ")
        self.drawString(MARGIN, foot, f"{first}.")
        self.drawString(MARGIN, foot - 3.2 * mm, rest)
        self.drawRightString(right, foot, f"Page {number} of {count}")


def write_report(path: Path, data: dict[str, Any], pictures: Path) -> None:
    """Write the report as an A4 PDF with embedded fonts.

    Parameters
    ----------
    path
        The file.
    data
        What ``result.json`` holds, with ``timings`` and ``outputs``.
    pictures
        Folder of the pictures that `facegen_app.casework.export` wrote.
    """
    case_number = str(data["case"].get("case_number", ""))
    document = BaseDocTemplate(
        str(path),
        pagesize=A4,
        title=f"{_TITLE}, case {case_number}" if case_number else _TITLE,
        author=str(data["case"].get("examiner", "")) or "FaceGen",
        subject=INTENDED_USE,
        creator=f"FaceGen {data['program']['version']}",
        keywords=["craniofacial reconstruction", data["method"], data["inputs"]["sha256"]],
        lang="en",
    )
    frame = Frame(
        MARGIN, _BOTTOM, PAGE_WIDTH - 2 * MARGIN, PAGE_HEIGHT - _TOP - _BOTTOM,
        leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0,
    )  # fmt: skip
    document.addPageTemplates(PageTemplate("page", [frame]))
    story = [part for section in sections.ALL for part in section(data, pictures)]

    def canvas(*args: Any, **options: Any) -> _NumberedCanvas:
        return _NumberedCanvas(*args, case_number=case_number, **options)

    document.build(story, canvasmaker=canvas)
