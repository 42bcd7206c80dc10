"""Step 4: what is known of the person, and for each field what it influences."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QT_TRANSLATE_NOOP, Signal
from PySide6.QtGui import QIntValidator
from PySide6.QtWidgets import QGridLayout, QLabel, QLineEdit, QWidget

from facegen_app.views.choice_box import choice_box
from facegen_app.views.section import Section, label
from facegen_app.views.tokens import UNIT

_SEXES = (
    ("unknown", str(QT_TRANSLATE_NOOP("ProfilePanel", "Not known"))),
    ("female", str(QT_TRANSLATE_NOOP("ProfilePanel", "Female"))),
    ("male", str(QT_TRANSLATE_NOOP("ProfilePanel", "Male"))),
)
_BUILDS = (
    ("unknown", str(QT_TRANSLATE_NOOP("ProfilePanel", "Not known"))),
    ("thin", str(QT_TRANSLATE_NOOP("ProfilePanel", "Thin"))),
    ("average", str(QT_TRANSLATE_NOOP("ProfilePanel", "Average"))),
    ("heavy", str(QT_TRANSLATE_NOOP("ProfilePanel", "Heavy"))),
)


@dataclass(frozen=True)
class Known:
    """What stands in the panel; age in years, None where not known."""

    sex: str = "unknown"
    age: int | None = None
    build: str = "unknown"


class ProfilePanel(Section):
    """Sex, age and build.  Tells when one of them changed."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        translated = [
            [(value, self.tr(text)) for value, text in entries] for entries in (_SEXES, _BUILDS)
        ]
        self._sex = choice_box(
            translated[0], self.tr("Sex, as far as known from the bones or the case")
        )
        self._build = choice_box(translated[1], self.tr("Body build, if anything is known of it"))
        self._age = QLineEdit()
        self._age.setValidator(QIntValidator(0, 120, self._age))
        self._age.setPlaceholderText(self.tr("Not known"))
        self._age.setToolTip(self.tr("Age at death in years, if it is known"))
        grid = QGridLayout()
        grid.setHorizontalSpacing(UNIT * 2)
        grid.setVerticalSpacing(UNIT // 2)
        grid.setColumnStretch(1, 1)
        for number, (text, widget, influence) in enumerate(
            (
                (self.tr("Se&x"), self._sex, self.tr("No influence on the shape.")),
                (self.tr("&Age"), self._age,
                 self.tr("No influence on the shape; you are warned where a face still grows.")),
                (self.tr("&Build"), self._build,
                 self.tr("Makes the face thinner or heavier.")),
            )
        ):  # fmt: skip
            name = QLabel(text)
            name.setBuddy(widget)
            grid.addWidget(name, 3 * number, 0)
            grid.addWidget(widget, 3 * number, 1)
            grid.addWidget(label(influence, "small", wrap=True), 3 * number + 1, 1)
            grid.setRowMinimumHeight(3 * number + 2, UNIT)
        self.body.addLayout(grid)
        self._sex.currentIndexChanged.connect(lambda _: self.changed.emit())
        self._build.currentIndexChanged.connect(lambda _: self.changed.emit())
        self._age.textChanged.connect(lambda _: self.changed.emit())

    def known(self) -> Known:
        """Return what stands in the panel."""
        age = self._age.text().strip()
        return Known(
            str(self._sex.currentData()),
            int(age) if age else None,
            str(self._build.currentData()),
        )

    def show_known(self, known: Known) -> None:
        """Show what is known of the person."""
        for box, value in ((self._sex, known.sex), (self._build, known.build)):
            box.setCurrentIndex(box.findData(value))
        age = "" if known.age is None else str(known.age)
        if age != self._age.text().strip():
            self._age.setText(age)

    def clear(self) -> None:
        """Know nothing: another person's case begins."""
        self.show_known(Known())
