"""Step 2: what the face is to be made from and by, and the button that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

from PySide6.QtCore import QT_TRANSLATE_NOOP, Signal
from PySide6.QtGui import QIntValidator
from PySide6.QtWidgets import QComboBox, QFormLayout, QLineEdit, QPushButton, QWidget

from facegen_app.views.section import Section, label
from facegen_app.views.tokens import UNIT

_METHODS = (
    ("neural", str(QT_TRANSLATE_NOOP("FacePanel", "Neural (from CT)"))),
    ("template", str(QT_TRANSLATE_NOOP("FacePanel", "Template (shape and thickness)"))),
    ("tissue-depth", str(QT_TRANSLATE_NOOP("FacePanel", "Tissue depth (table)"))),
    ("mean-face", str(QT_TRANSLATE_NOOP("FacePanel", "Mean face"))),
)
_SEXES = (
    ("unknown", str(QT_TRANSLATE_NOOP("FacePanel", "Not known"))),
    ("female", str(QT_TRANSLATE_NOOP("FacePanel", "Female"))),
    ("male", str(QT_TRANSLATE_NOOP("FacePanel", "Male"))),
)
_BUILDS = (
    ("unknown", str(QT_TRANSLATE_NOOP("FacePanel", "Not known"))),
    ("thin", str(QT_TRANSLATE_NOOP("FacePanel", "Thin"))),
    ("average", str(QT_TRANSLATE_NOOP("FacePanel", "Average"))),
    ("heavy", str(QT_TRANSLATE_NOOP("FacePanel", "Heavy"))),
)

_SHOWN_NOTES = 2
_NOTE_LENGTH = 100
"""Characters of a note that the panel shows; the whole is in its tooltip and in the report."""


@dataclass(frozen=True)
class Choice:
    """What stands in the panel; age in years, None where not known."""

    method: str
    sex: str
    age: int | None
    build: str


class FacePanel(Section):
    """Choose method and profile and ask for the face.

    Emits the wish to reconstruct, with the `Choice`.
    """

    reconstruct_wished = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("2", "Face", parent)
        self._method = _combo(_METHODS, self, self.tr("How the face is predicted from the bone"))
        self._sex = _combo(_SEXES, self, self.tr("As far as known from the bones or the case"))
        self._build = _combo(_BUILDS, self, self.tr("Body build, if anything is known of it"))
        self._age = QLineEdit()
        self._age.setValidator(QIntValidator(0, 120, self._age))
        self._age.setPlaceholderText(self.tr("Not known"))
        self._age.setToolTip(self.tr("Age at death in years, if it is known"))
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setHorizontalSpacing(UNIT * 2)
        form.setVerticalSpacing(UNIT // 2)
        for text, widget in (
            (self.tr("&Method"), self._method),
            (self.tr("Se&x"), self._sex),
            (self.tr("&Age"), self._age),
            (self.tr("&Build"), self._build),
        ):
            form.addRow(text, widget)
        self._button = QPushButton(self.tr("Reconstruct face"))
        self._button.setProperty("kind", "primary")
        self._button.setToolTip(self.tr("Predict the face from the bone (Ctrl+R)"))
        self._button.clicked.connect(self.wish)
        self._device = label("", "small", wrap=True)
        self._warnings = label("", "warning", wrap=True)
        self._notes = label("", "small", wrap=True)
        self._warnings.hide()
        self._notes.hide()
        self.body.addLayout(form)
        self.body.addWidget(self._button)
        self.body.addWidget(self._device)
        self.body.addWidget(self._warnings)
        self.body.addWidget(self._notes)
        self.set_ready(False)

    def choice(self) -> Choice:
        """Return what stands in the panel."""
        age = self._age.text().strip()
        return Choice(
            str(self._method.currentData()),
            str(self._sex.currentData()),
            int(age) if age else None,
            str(self._build.currentData()),
        )

    def wish(self) -> None:
        """Ask for the face, as the button does; nothing while the button is off."""
        if self._button.isEnabled():
            self.reconstruct_wished.emit(self.choice())

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


def _combo(entries: Sequence[tuple[str, str]], panel: FacePanel, tip: str) -> QComboBox:
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    for value, text in entries:
        box.addItem(panel.tr(text), value)
    box.setToolTip(tip)
    return box
