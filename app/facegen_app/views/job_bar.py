"""What is being worked on, how far it is, and the button that stops it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from facegen_app.views.section import label
from facegen_app.views.tokens import UNIT


class JobBar(QWidget):
    """Step, bar and cancel; while nothing runs, a note.  Emits the wish to cancel."""

    cancel_wished = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._step = label("", "small", wrap=True)
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self._cancel = QPushButton(self.tr("Cancel"))
        self._cancel.setToolTip(self.tr("Stop this work; nothing is changed (Esc)"))
        self._cancel.clicked.connect(self.cancel_wished)
        column = QVBoxLayout()
        column.setSpacing(UNIT // 2)
        column.addStretch(1)
        column.addWidget(self._step)
        column.addWidget(self._bar)
        column.addStretch(1)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(UNIT * 2)
        row.addLayout(column, 1)
        row.addWidget(self._cancel)
        self.setFixedWidth(300)
        self.show_idle()

    def show_progress(self, fraction: float, step: str) -> None:
        """Show how far the work is; fraction 0..1."""
        self._step.setText(step[:1].upper() + step[1:])
        self._bar.setValue(round(1000 * fraction))
        self._set_shown(True)

    def show_note(self, text: str) -> None:
        """Say something where the step of running work is said; nothing while work runs."""
        if self._cancel.isHidden():
            self._step.setText(text)
            self._step.setVisible(bool(text))

    @property
    def note(self) -> str:
        """What is written."""
        return self._step.text()

    def show_idle(self) -> None:
        """Show that nothing runs."""
        self._step.setText("")
        self._set_shown(False)

    def _set_shown(self, shown: bool) -> None:
        for widget in (self._step, self._bar, self._cancel):
            widget.setVisible(shown)
