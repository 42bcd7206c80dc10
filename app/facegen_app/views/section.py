"""A titled section of the side panel: a number, a name and what belongs to this step."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from facegen_app.views.tokens import UNIT


def label(text: str, kind: str, *, wrap: bool = False) -> QLabel:
    """Return a line of text in one of the kinds of the style sheet."""
    line = QLabel(text)
    line.setProperty("kind", kind)
    line.setWordWrap(wrap)
    return line


class Section(QWidget):
    """One step of the work, with a line beneath it.

    Parameters
    ----------
    number, title
        As shown: ``1``, ``Scan``.
    last
        Whether it is the lowest, with no line beneath it.
    """

    def __init__(
        self, number: str, title: str, parent: QWidget | None = None, *, last: bool = False
    ) -> None:
        super().__init__(parent)
        head = QHBoxLayout()
        head.setSpacing(UNIT)
        head.addWidget(label(number, "number"))
        head.addWidget(label(title, "title"), 1)
        line = QFrame()
        line.setProperty("kind", "line")
        self.body = QVBoxLayout()
        self.body.setSpacing(UNIT * 3 // 4)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(UNIT)
        whole.addLayout(head)
        whole.addLayout(self.body)
        whole.addSpacing(UNIT // 2)
        whole.addWidget(line)
        line.setVisible(not last)


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
