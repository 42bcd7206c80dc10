"""The landmarks: which there are, where each comes from, and the buttons to place them by hand.

Closed it is one line.  It opens by itself, with what is asked, when the frame is unsure.
"""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from facegen_app.views.landmark_list import LandmarkList, Row
from facegen_app.views.section import label
from facegen_app.views.tokens import UNIT


@dataclass(frozen=True)
class PanelState:
    """What the panel shows.

    Attributes
    ----------
    status
        A few words beside the title; a warning where `question` is set.
    opened, every
        Whether the list is seen, and whether every point is in it.
    rows, chosen
        The points, and the code of the chosen one.
    question
        What is asked of the examiner, and advice; empty where nothing is.
    hint
        What to do next.
    placing
        Whether the next click places the chosen point.
    enabled
        Names of the buttons that are on: place, accept, undo, open, save, reconstruct.
    """

    status: str = ""
    opened: bool = False
    every: bool = False
    rows: tuple[Row, ...] = ()
    chosen: str = ""
    question: tuple[str, str] = ("", "")
    hint: str = ""
    placing: bool = False
    enabled: frozenset[str] = frozenset()


class LandmarksPanel(QWidget):
    """List of points, and what can be done with them.

    Emits wishes: the list opened or closed, every point or few, a point chosen, placing begun or
    stopped, the found place accepted, a placement undone, a file read or written, the face made.
    """

    open_wished = Signal(bool)
    every_wished = Signal(bool)
    choice_wished = Signal(str)
    placing_wished = Signal(bool)
    accept_wished = Signal()
    undo_wished = Signal()
    file_wished = Signal()
    save_wished = Signal()
    reconstruct_wished = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.opener = QToolButton()
        self.opener.setText(self.tr("Landmarks"))
        self.opener.setProperty("kind", "opener")
        self.opener.setCheckable(True)
        self.opener.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.opener.setToolTip(self.tr("Show the craniometric points, and place them by hand"))
        self.opener.clicked.connect(self.open_wished)
        self._status = label("", "small")
        self._sentence = label("", "warning", wrap=True)
        self._advice = label("", "small", wrap=True)
        self.list = LandmarkList(self)
        self.list.chosen.connect(self.choice_wished)
        self.list.place_wished.connect(lambda: self.placing_wished.emit(True))
        self._hint = label("", "small", wrap=True)
        self._make_buttons()
        self._lay_out()
        self.show_state(PanelState())

    def show_state(self, state: PanelState) -> None:
        """Show all of it; emits nothing."""
        self.opener.setChecked(state.opened)
        self.opener.setArrowType(
            Qt.ArrowType.DownArrow if state.opened else Qt.ArrowType.RightArrow
        )
        self._status.setText(state.status)
        sentence, advice = state.question
        self._status.setProperty("kind", "warning" if sentence else "small")
        self._status.style().polish(self._status)
        self._inside.setVisible(state.opened)
        for line, text in ((self._sentence, sentence), (self._advice, advice),
                           (self._hint, state.hint)):  # fmt: skip
            line.setText(text)
            line.setVisible(bool(text))
        self.list.show_rows(state.rows, state.chosen)
        self.more.setChecked(state.every)
        self.more.setText(self.tr("Fewer points") if state.every else self.tr("More points"))
        self.place.setChecked(state.placing)
        for name, button in self.buttons.items():
            button.setEnabled(name in state.enabled)
        self.reconstruct.setVisible("reconstruct" in state.enabled or bool(sentence))

    def _make_buttons(self) -> None:
        self.place = QPushButton(self.tr("Place"))
        self.place.setCheckable(True)
        self.place.setToolTip(self.tr("Place the chosen point by a click on the skull (P)"))
        self.place.clicked.connect(self.placing_wished)
        self.accept = _button(
            self.tr("Accept"), self.tr("Take the chosen point where it was found as placed by hand")
        )
        self.undo = _button(self.tr("Undo"), self.tr("Take the last placement back (Ctrl+Z)"))
        self.open = _segment(self.tr("Open…"), self.tr("Read points from a landmarks file"))
        self.save = _segment(
            self.tr("Save…"), self.tr("Write the points placed by hand to a landmarks file")
        )
        self.more = _segment("", self.tr("Show every craniometric point, or those of the frame"))
        self.more.setCheckable(True)
        self.reconstruct = QPushButton(self.tr("Reconstruct again"))
        self.reconstruct.setProperty("kind", "primary")
        self.reconstruct.setToolTip(self.tr("Make the frame and the face from the placed points"))
        self.buttons = {
            "place": self.place,
            "accept": self.accept,
            "undo": self.undo,
            "open": self.open,
            "save": self.save,
            "reconstruct": self.reconstruct,
        }
        for button, wish in (
            (self.accept, self.accept_wished), (self.undo, self.undo_wished),
            (self.open, self.file_wished), (self.save, self.save_wished),
            (self.reconstruct, self.reconstruct_wished),
        ):  # fmt: skip
            button.clicked.connect(lambda _=False, wish=wish: wish.emit())
        self.more.clicked.connect(self.every_wished)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self.opener)
        head.addStretch(1)
        head.addWidget(self._status)
        files = QHBoxLayout()
        files.setSpacing(UNIT // 2)
        files.addWidget(self.more)
        files.addStretch(1)
        files.addWidget(self.open)
        files.addWidget(self.save)
        actions = QHBoxLayout()
        actions.setSpacing(UNIT)
        for button in (self.place, self.accept, self.undo):
            actions.addWidget(button, 1)
        self._inside = QWidget()
        inside = QVBoxLayout(self._inside)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(UNIT * 3 // 4)
        inside.addWidget(self._sentence)
        inside.addWidget(self._advice)
        inside.addWidget(self.list)
        inside.addLayout(files)
        inside.addLayout(actions)
        inside.addWidget(self._hint)
        inside.addWidget(self.reconstruct)
        line = QFrame()
        line.setProperty("kind", "line")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(UNIT)
        whole.addLayout(head)
        whole.addWidget(self._inside)
        whole.addWidget(line)


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    return button


def _segment(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setProperty("kind", "segment")
    return button
