"""What the panels of the steps are made of: lines of text, a column, and what is behind More."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QToolButton, QVBoxLayout, QWidget

from facegen_app.views.tokens import UNIT


def label(text: str, kind: str, *, wrap: bool = False) -> QLabel:
    """Return a line of text in one of the kinds of the style sheet."""
    line = QLabel(text)
    line.setProperty("kind", kind)
    line.setWordWrap(wrap)
    return line


class Section(QWidget):
    """What is worked with in one step; `body` takes it from top to bottom."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(UNIT)


class More(QWidget):
    """What is seldom needed, behind one button.

    Parameters
    ----------
    inside
        The widget that the button shows and hides.
    tip
        What is behind it.
    """

    def __init__(self, inside: QWidget, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._inside = inside
        self.button = QToolButton()
        self.button.setCheckable(True)
        self.button.setProperty("kind", "opener")
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setToolTip(tip)
        self.button.setText(self.tr("More"))
        self.button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.button.toggled.connect(self._show)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(UNIT // 2)
        whole.addWidget(self.button, 0, Qt.AlignmentFlag.AlignLeft)
        whole.addWidget(inside)
        self._show(False)

    def _show(self, shown: bool) -> None:
        self._inside.setVisible(shown)
        arrow = Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow
        self.button.setArrowType(arrow)
