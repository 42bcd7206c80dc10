"""The left side: the seven steps with their state, and beneath them the one that is worked on."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QT_TRANSLATE_NOOP, Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QLabel,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from facegen_app.model.step_order import State
from facegen_app.views.section import label
from facegen_app.views.step_button import StepButton
from facegen_app.views.tokens import UNIT

WIDTH = 312

_WORDS = {
    "scan": (
        str(QT_TRANSLATE_NOOP("StepsPanel", "Scan")),
        str(QT_TRANSLATE_NOOP("StepsPanel", "Open the CT of a skull, or its surface.")),
    ),
    "skull": (
        str(QT_TRANSLATE_NOOP("StepsPanel", "Skull")),
        str(QT_TRANSLATE_NOOP("StepsPanel", "See what of the skull is there and what is missing.")),
    ),
    "landmarks": (
        str(QT_TRANSLATE_NOOP("StepsPanel", "Landmarks and frame")),
        str(QT_TRANSLATE_NOOP("StepsPanel", "Check the points on the bone; correct what is off.")),
    ),
    "profile": (
        str(QT_TRANSLATE_NOOP("StepsPanel", "Profile")),
        str(QT_TRANSLATE_NOOP("StepsPanel", "Say what is known of the person; leave the rest.")),
    ),
    "face": (
        str(QT_TRANSLATE_NOOP("StepsPanel", "Face")),
        str(QT_TRANSLATE_NOOP("StepsPanel", "Predict the face from the bone.")),
    ),
    "review": (
        str(QT_TRANSLATE_NOOP("StepsPanel", "Review")),
        str(QT_TRANSLATE_NOOP("StepsPanel", "Judge the face against its skull.")),
    ),
    "report": (
        str(QT_TRANSLATE_NOOP("StepsPanel", "Report")),
        str(QT_TRANSLATE_NOOP("StepsPanel", "Save report, meshes and pictures.")),
    ),
}
"""Step → its name, and what is done in it."""


class StepsPanel(QWidget):
    """List of steps, the panel of the current one, and the way to the next.

    Parameters
    ----------
    panels
        Step → what is worked with in it, in order.

    Emits wishes: to work on a step, by its name, or on the next one.
    """

    step_wished = Signal(str)
    next_wished = Signal()

    def __init__(self, panels: Mapping[str, QWidget], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFixedWidth(WIDTH)
        self.buttons: dict[str, StepButton] = {}
        self._pages = QStackedWidget()
        self._doubts: dict[str, QLabel] = {}
        self._names = list(panels)
        group = QButtonGroup(self)
        rows = QVBoxLayout()
        rows.setContentsMargins(UNIT, UNIT, UNIT, UNIT // 2)
        rows.setSpacing(0)
        for number, (name, panel) in enumerate(panels.items(), start=1):
            title, hint = (self.tr(words) for words in _WORDS[name])
            button = StepButton(number, title, hint.removesuffix("."), self)
            button.clicked.connect(lambda _=False, name=name: self.step_wished.emit(name))
            group.addButton(button)
            rows.addWidget(button)
            self.buttons[name] = button
            self._doubts[name] = label("", "warning", wrap=True)
            self._pages.addWidget(_page(hint, self._doubts[name], panel))
        self.next = QPushButton()
        self.next.clicked.connect(self.next_wished)
        line = QFrame()
        line.setProperty("kind", "line")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, UNIT * 3 // 2)
        whole.setSpacing(0)
        whole.addLayout(rows)
        whole.addWidget(line)
        whole.addWidget(self._pages, 1)
        foot = QVBoxLayout()
        foot.setContentsMargins(UNIT * 2, UNIT, UNIT * 2, 0)
        foot.addWidget(self.next)
        whole.addLayout(foot)

    @property
    def current_page(self) -> QWidget:
        """What is worked with in the current step."""
        page = self._pages.currentWidget()
        assert page is not None
        return page

    def show_step(self, name: str, following: str | None, *, advised: bool) -> None:
        """Show the panel of a step, and name the next one.

        Parameters
        ----------
        name, following
            The step, and the one after it, if any.
        advised
            Whether going on is what to do now.
        """
        self.buttons[name].setChecked(True)
        self._pages.setCurrentIndex(self._names.index(name))
        self.next.setVisible(following is not None)
        if following is not None:
            title = self.tr(_WORDS[following][0])
            self.next.setText(self.tr("Next: {step}").format(step=title))
            self.next.setToolTip(self.tr("Go on to {step} (Alt+Right)").format(step=title))
        kind = "primary" if advised else ""
        if self.next.property("kind") != kind:
            self.next.setProperty("kind", kind)
            self.next.style().unpolish(self.next)
            self.next.style().polish(self.next)

    def show_doubt(self, *, stale: str | None, lacking: str | None) -> None:
        """Say on every page which step is stale or has to come first; None where none is."""
        text = ""
        if lacking is not None:
            text = self.tr("First comes the step {step}.").format(step=self.tr(_WORDS[lacking][0]))
        elif stale is not None:
            text = self.tr("{step} is stale: what it was made from has changed.").format(
                step=self.tr(_WORDS[stale][0])
            )
        for line in self._doubts.values():
            line.setText(text)
            line.setVisible(bool(text))

    def show_states(self, states: Mapping[str, State]) -> None:
        """Show how far each step is."""
        for name, state in states.items():
            self.buttons[name].show_state(state)


def _page(hint: str, doubt: QLabel, panel: QWidget) -> QScrollArea:
    """Return what is worked with in a step, below one sentence on it; it scrolls where it must."""
    inside = QWidget()
    inside.setObjectName("panel")
    inside.setMaximumWidth(WIDTH)
    column = QVBoxLayout(inside)
    column.setContentsMargins(UNIT * 2, UNIT * 3 // 2, UNIT * 2, UNIT)
    column.setSpacing(UNIT * 3 // 2)
    column.addWidget(label(hint, "quiet", wrap=True))
    column.addWidget(doubt)
    column.addWidget(panel)
    column.addStretch(1)
    page = QScrollArea()
    page.setWidget(inside)
    page.setWidgetResizable(True)
    page.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    page.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return page
