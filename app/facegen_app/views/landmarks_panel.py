"""Step 3: the landmarks, where each comes from, the frame they make, and placing them by hand."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QToolButton, QWidget

from facegen_app.views.landmark_list import LandmarkList, Row
from facegen_app.views.section import Section, label
from facegen_app.views.tokens import UNIT


@dataclass(frozen=True)
class PanelState:
    """What the panel shows.

    Attributes
    ----------
    status
        A few words on the points as a whole; a warning where `question` is set.
    frame
        Where the Frankfurt frame comes from.
    every
        Whether every point is in the list.
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
    frame: str = ""
    every: bool = False
    rows: tuple[Row, ...] = ()
    chosen: str = ""
    question: tuple[str, str] = ("", "")
    hint: str = ""
    placing: bool = False
    enabled: frozenset[str] = frozenset()


class LandmarksPanel(Section):
    """List of points, and what can be done with them.

    Emits wishes: every point or few, a point chosen, placing begun or
    stopped, the found place accepted, a placement undone, a file read or written, the face made.
    """

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
        self._status = label("", "small")
        self._frame = label("", "small", wrap=True)
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
        self._status.setText(state.status[:1].upper() + state.status[1:])
        sentence, advice = state.question
        self._status.setProperty("kind", "warning" if sentence else "small")
        self._status.style().polish(self._status)
        for line, text in ((self._sentence, sentence), (self._advice, advice),
                           (self._hint, state.hint), (self._frame, state.frame)):  # fmt: skip
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
        for part in (self._status, self._sentence, self._advice, self.list, files, actions,
                     self._hint, self._frame, self.reconstruct):  # fmt: skip
            if isinstance(part, QWidget):
                self.body.addWidget(part)
            else:
                self.body.addLayout(part)


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
