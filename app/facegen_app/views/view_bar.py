"""The standard views, in the order in which one would walk around the head."""

from __future__ import annotations

from PySide6.QtCore import QT_TRANSLATE_NOOP, Signal
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QToolButton, QWidget

from facegen_app.views.section import label
from facegen_app.views.tokens import UNIT

_BUTTONS = (
    ("lateral-right", str(QT_TRANSLATE_NOOP("ViewBar", "Right"))),
    ("three-quarter-right", str(QT_TRANSLATE_NOOP("ViewBar", "Right ¾"))),
    ("frontal", str(QT_TRANSLATE_NOOP("ViewBar", "Frontal"))),
    ("three-quarter-left", str(QT_TRANSLATE_NOOP("ViewBar", "Left ¾"))),
    ("lateral-left", str(QT_TRANSLATE_NOOP("ViewBar", "Left"))),
    ("vertex", str(QT_TRANSLATE_NOOP("ViewBar", "Vertex"))),
)


class ViewBar(QWidget):
    """One button for each standard view.  Emits the wish for one, by its name."""

    view_wished = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("panel")
        row = QHBoxLayout(self)
        row.setContentsMargins(UNIT, UNIT // 2, UNIT, UNIT // 2)
        row.setSpacing(UNIT // 2)
        row.addWidget(label(self.tr("3D"), "title"), 1)
        self._group = QButtonGroup(self)
        self.buttons: dict[str, QToolButton] = {}
        for number, (name, text) in enumerate(_BUTTONS, start=1):
            button = QToolButton()
            button.setText(self.tr(text))
            button.setCheckable(True)
            button.setProperty("kind", "segment")
            button.setToolTip(
                self.tr("{view} view of the examinee, in the Frankfurt frame (key {key})").format(
                    view=self.tr(text), key=number
                )
            )
            button.clicked.connect(lambda _=False, name=name: self.view_wished.emit(name))
            self._group.addButton(button)
            self.buttons[name] = button
            row.addWidget(button)

    def show_view(self, name: str | None) -> None:
        """Show which view is chosen; None for a free one."""
        self._group.setExclusive(False)
        for held, button in self.buttons.items():
            button.setChecked(held == name)
        self._group.setExclusive(True)

    def set_ready(self, ready: bool) -> None:
        """Turn the buttons on when there is something to look at."""
        for button in self.buttons.values():
            button.setEnabled(ready)
