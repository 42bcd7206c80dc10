"""Step 5: what the face is to be made by, and the button that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

from PySide6.QtCore import QT_TRANSLATE_NOOP, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from facegen_app.views.choice_box import choice_box
from facegen_app.views.section import Section, label
from facegen_app.views.tokens import UNIT

_METHODS = (
    ("neural", str(QT_TRANSLATE_NOOP("FacePanel", "Neural (from CT)"))),
    ("template", str(QT_TRANSLATE_NOOP("FacePanel", "Template (shape and thickness)"))),
    ("tissue-depth", str(QT_TRANSLATE_NOOP("FacePanel", "Tissue depth (table)"))),
    ("mean-face", str(QT_TRANSLATE_NOOP("FacePanel", "Mean face"))),
)
_SHOWN_NOTES = 2
_NOTE_LENGTH = 100
"""Characters of a note that the panel shows; the whole is in its tooltip and in the report."""


class FacePanel(Section):
    """Choose the method and ask for the face.

    Emits the wish to reconstruct, with the name of the method.
    """

    reconstruct_wished = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        entries = [(value, self.tr(text)) for value, text in _METHODS]
        self._method = choice_box(entries, self.tr("How the face is predicted from the bone"))
        name = QLabel(self.tr("&Method"))
        name.setBuddy(self._method)
        row = QHBoxLayout()
        row.setSpacing(UNIT * 2)
        row.addWidget(name)
        row.addWidget(self._method, 1)
        self._button = QPushButton(self.tr("Reconstruct face"))
        self._button.setProperty("kind", "primary")
        self._button.setToolTip(self.tr("Predict the face from the bone (Ctrl+R)"))
        self._button.clicked.connect(self.wish)
        self._device = label("", "small", wrap=True)
        self._warnings = label("", "warning", wrap=True)
        self._notes = label("", "small", wrap=True)
        self._warnings.hide()
        self._notes.hide()
        self.body.addLayout(row)
        self.body.addWidget(self._button)
        self.body.addWidget(self._device)
        self.body.addWidget(self._warnings)
        self.body.addWidget(self._notes)
        self.set_ready(False)

    def wish(self) -> None:
        """Ask for the face, as the button does; nothing while the button is off."""
        if self._button.isEnabled():
            self.reconstruct_wished.emit(str(self._method.currentData()))

    def set_ready(self, ready: bool) -> None:
        """Turn the button on once there is a skull with a frame."""
        self._button.setEnabled(ready)

    def show_device(self, text: str) -> None:
        """Name where the face will be, or was, computed."""
        self._device.setText(text)
        self._device.setVisible(bool(text))

    def show_notes(self, notes: Sequence[str], warnings: Sequence[str] = ()) -> None:
        """Show what is said of the face that was made; those notes that are warnings in full."""
        others = [note for note in notes if note not in warnings]
        shown = [shorten(note, _NOTE_LENGTH, placeholder=" …") for note in others[:_SHOWN_NOTES]]
        if len(others) > _SHOWN_NOTES:
            shown.append(self.tr("and %n more (point here)", "", len(others) - _SHOWN_NOTES))
        for widget, lines in ((self._warnings, warnings), (self._notes, shown)):
            widget.setText("\n".join(lines))
            widget.setVisible(bool(lines))
        self._notes.setToolTip("\n".join(others))
