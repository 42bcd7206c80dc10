"""Step 1: what is open, what was found in it, and what to know about it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget

from facegen_app.views.section import Section, label
from facegen_app.views.tokens import UNIT

_SHOWN_WARNINGS = 3


class ScanPanel(Section):
    """Open a scan, choose among its series, read what is said of it.

    Emits wishes: a folder or a file to be opened, another series.
    """

    folder_wished = Signal()
    file_wished = Signal()
    series_wished = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder = QPushButton(self.tr("Open folder…"))
        self._folder.setToolTip(self.tr("Open a folder with a DICOM series"))
        self._file = QPushButton(self.tr("Open file…"))
        self._file.setToolTip(self.tr("Open a DICOM file, archive, NIfTI, NRRD, MHA or skull mesh"))
        self._folder.clicked.connect(self.folder_wished)
        self._file.clicked.connect(self.file_wished)
        buttons = QHBoxLayout()
        buttons.setSpacing(UNIT)
        buttons.addWidget(self._folder)
        buttons.addWidget(self._file)
        self._name = label("", "body", wrap=True)
        self._facts = label("", "small", wrap=True)
        self._warnings = label("", "warning", wrap=True)
        self._series = QComboBox()
        self._series.setToolTip(self.tr("The series that is shown; choose another one here"))
        self._series.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._series.activated.connect(self._on_series)
        self.body.addLayout(buttons)
        for widget in (self._name, self._series, self._facts, self._warnings):
            widget.hide()
            self.body.addWidget(widget)
        self._facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def show_summary(self, title: str, lines: Sequence[str], warnings: Sequence[str]) -> None:
        """Show what is known of the scan; all warnings are in the tooltip."""
        shown = list(warnings[:_SHOWN_WARNINGS])
        if len(warnings) > len(shown):
            shown.append(self.tr("and %n more (point here)", "", len(warnings) - len(shown)))
        for widget, text in (
            (self._name, title),
            (self._facts, "\n".join(lines)),
            (self._warnings, "\n".join(shown)),
        ):
            widget.setText(text)
            widget.setVisible(bool(text))
        self._warnings.setToolTip("\n".join(warnings))

    def show_series(self, series: Sequence[tuple[str, str]], chosen: str) -> None:
        """Offer (identifier, text) of the usable series; hidden when there is no choice."""
        self._series.clear()
        for uid, text in series:
            self._series.addItem(text, uid)
        self._series.setCurrentIndex(max(self._series.findData(chosen), 0))
        self._series.setVisible(len(series) > 1)

    def _on_series(self, index: int) -> None:
        self.series_wished.emit(str(self._series.itemData(index)))
