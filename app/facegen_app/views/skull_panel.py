"""Step 2: what of the skull is there, what is missing, and what to know about it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QGridLayout, QWidget

from facegen_app.model.summary import Part
from facegen_app.views.section import Section, label
from facegen_app.views.tokens import UNIT


class SkullPanel(Section):
    """Says what was found; nothing here needs to be done."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(UNIT * 2)
        self._grid.setVerticalSpacing(UNIT // 2)
        self._grid.setColumnStretch(0, 1)
        self._bone = label("", "small")
        self._warnings = label("", "warning", wrap=True)
        self.body.addLayout(self._grid)
        self.body.addWidget(self._bone)
        self.body.addWidget(self._warnings)
        self.show_skull((), "", ())

    def show_skull(self, parts: Sequence[Part], bone: str, warnings: Sequence[str]) -> None:
        """Show each part with its state, how bone was told, and what the examiner must read."""
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for line, part in enumerate(parts):
            kind = "small" if part.present else "warning"
            self._grid.addWidget(label(part.name.capitalize(), "body"), line, 0)
            self._grid.addWidget(label(part.state, kind), line, 1)
        for widget, text in ((self._bone, bone), (self._warnings, "\n".join(warnings))):
            widget.setText(text)
            widget.setVisible(bool(text))
