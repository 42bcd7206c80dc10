"""One step of the case: its number or a tick, its name, and a word where it is stale."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from facegen_app.model.step_order import State
from facegen_app.views.style import current_theme
from facegen_app.views.tokens import BODY, SMALL, UNIT, Theme

_ROW = 4 * UNIT - 2
_RADIUS = 9.0


class StepButton(QAbstractButton):
    """A row of the list of steps; checked while the step is worked on.

    The state is told by shape and word as well as by colour.
    """

    def __init__(self, number: int, name: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._number, self._tip = number, tip
        self._state = State.NOT_STARTED
        self.setText(name)
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.show_state(State.NOT_STARTED)

    @property
    def state(self) -> State:
        """The state that is shown."""
        return self._state

    def show_state(self, state: State) -> None:
        """Show how far the step is."""
        self._state = state
        said = {
            State.NOT_STARTED: self.tr("not started"),
            State.DONE: self.tr("done"),
            State.STALE: self.tr("stale: what it rests on has changed"),
        }[state]
        self.setToolTip(
            self.tr("{tip} (Ctrl+{number}). {said}.").format(
                tip=self._tip, number=self._number, said=said[:1].upper() + said[1:]
            )
        )
        self.setAccessibleName(f"{self._number} {self.text()}, {said}")
        self.update()

    def sizeHint(self) -> QSize:
        """Return the size that holds number, name and the longest word of state."""
        words = QFontMetrics(self._font(bold=True)).horizontalAdvance(self.text())
        stale = QFontMetrics(self._font(SMALL)).horizontalAdvance(self.tr("stale"))
        return QSize(6 * UNIT + words + UNIT + stale + UNIT, _ROW)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the row."""
        theme, inside = current_theme(), self.rect()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.isChecked() or self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.raised))
            painter.drawRoundedRect(inside, 4, 4)
        if self.isChecked():
            painter.fillRect(QRect(0, 6, 3, inside.height() - 12), QColor(theme.accent))
        self._paint_mark(painter, theme, QPointF(2.5 * UNIT, inside.height() / 2))
        painter.setFont(self._font(bold=self.isChecked()))
        begun = self.isChecked() or self._state is not State.NOT_STARTED
        painter.setPen(QColor(theme.text if begun else theme.quiet))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(inside.adjusted(5 * UNIT, 0, -UNIT, 0), middle, self.text())
        if self._state is State.STALE:
            painter.setFont(self._font(SMALL))
            painter.setPen(QColor(theme.warning))
            right = middle | Qt.AlignmentFlag.AlignRight
            painter.drawText(inside.adjusted(0, 0, -UNIT, 0), right, self.tr("stale"))
        if self.hasFocus():
            painter.setPen(QColor(theme.accent))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(inside).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.end()

    def _paint_mark(self, painter: QPainter, theme: Theme, centre: QPointF) -> None:
        """Draw a filled ring with a tick for what is done, else a ring with the number."""
        if self._state is State.DONE:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.accent))
            painter.drawEllipse(centre, _RADIUS, _RADIUS)
            painter.setPen(QPen(QColor(theme.on_accent), 2.0))
            tick = [centre + QPointF(x, y) for x, y in ((-4.0, 0.5), (-1.0, 3.5), (4.0, -3.0))]
            painter.drawPolyline(QPolygonF(tick))
            return
        stale = self._state is State.STALE
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(theme.warning if stale else theme.faint), 1.4))
        painter.drawEllipse(centre, _RADIUS, _RADIUS)
        painter.setPen(QColor(theme.warning if stale else theme.quiet))
        painter.setFont(self._font(SMALL))
        around = QRectF(centre.x() - _RADIUS, centre.y() - _RADIUS, 2 * _RADIUS, 2 * _RADIUS)
        painter.drawText(around, Qt.AlignmentFlag.AlignCenter, str(self._number))

    def _font(self, size: int = BODY, *, bold: bool = False) -> QFont:
        font = QFont(self.font())
        font.setPixelSize(size)
        font.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
        return font
