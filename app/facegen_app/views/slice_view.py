"""One of the three slices: grey values, crosshair, and the letters of left and right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from facegen_app.views.style import current_theme
from facegen_app.views.tokens import (
    BODY,
    FILM,
    FILM_LINE,
    FILM_QUIET,
    FILM_TEXT,
    SMALL,
    UNIT,
)


@dataclass(frozen=True)
class SlicePicture:
    """What a slice view shows.

    Attributes
    ----------
    grey
        (rows, columns) uint8, contiguous.
    spacing
        Width and height of a pixel, mm.
    crosshair
        (column, row) of the crosshair.
    letters
        At the left, right, top and bottom.
    title
        For example ``Axial 104 / 209``.
    shown
        The part that is seen: left, top, width and height, pixels of `grey`.
    """

    grey: NDArray[np.uint8]
    spacing: tuple[float, float]
    crosshair: tuple[float, float]
    letters: tuple[str, str, str, str]
    title: str
    shown: tuple[float, float, float, float]


class SliceView(QWidget):
    """Click or drag moves the crosshair, the wheel and Page Up/Down go through the slices.

    Emits wishes: the crosshair at a (column, row), some slices further; and the (column, row)
    under the cursor, or None when it leaves.
    """

    crosshair_wished = Signal(float, float)
    step_wished = Signal(int)
    hovered = Signal(object)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._picture: SlicePicture | None = None
        self._image: QImage | None = None
        self._wheel = 0
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(120, 100)
        self.setAccessibleName(name)
        self.setToolTip(
            self.tr("Click or drag: crosshair here. Wheel, Page Up and Page Down: other slices.")
        )
        self.setToolTipDuration(4000)

    def show_picture(self, picture: SlicePicture | None) -> None:
        """Show a slice, or nothing."""
        self._picture, self._image = picture, None
        if picture is not None:
            rows, columns = picture.grey.shape
            self._image = QImage(
                picture.grey.data, columns, rows, columns, QImage.Format.Format_Grayscale8
            )
        self.update()

    def _target(self) -> QRectF:
        """Return where the slice stands in the widget: the seen part fits, true proportions."""
        assert self._picture is not None
        rows, columns = self._picture.grey.shape
        left, top, width, height = self._picture.shown
        wide, high = self._picture.spacing
        scale = min(self.width() / (width * wide), self.height() / (height * high))
        wide, high = wide * scale, high * scale
        return QRectF(
            self.width() / 2 - (left + width / 2) * wide,
            self.height() / 2 - (top + height / 2) * high,
            columns * wide,
            rows * high,
        )

    def pixel_at(self, position: QPointF) -> tuple[float, float]:
        """Return the (column, row) under a point of the widget."""
        assert self._picture is not None
        target = self._target()
        rows, columns = self._picture.grey.shape
        return (
            (position.x() - target.left()) / target.width() * columns - 0.5,
            (position.y() - target.top()) / target.height() * rows - 0.5,
        )

    def point_of(self, column: float, row: float) -> QPointF:
        """Return the point of the widget at a (column, row); inverse of `pixel_at`."""
        assert self._picture is not None
        target = self._target()
        rows, columns = self._picture.grey.shape
        return QPointF(
            target.left() + (column + 0.5) / columns * target.width(),
            target.top() + (row + 0.5) / rows * target.height(),
        )

    def paintEvent(self, event: QPaintEvent) -> None:
        """Show the slice with crosshair and letters."""
        painter = QPainter(self)
        painter.fillRect(
            self.rect(), QColor(current_theme().stage if self._image is None else FILM)
        )
        if self._image is not None and self._picture is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(self._target(), self._image)
            self._paint_crosshair(painter, self._picture)
            self._paint_words(painter, self._picture)
        if self.hasFocus():
            painter.setPen(QColor(current_theme().accent if self._image is None else FILM_LINE))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _paint_crosshair(self, painter: QPainter, picture: SlicePicture) -> None:
        target = self._target().intersected(QRectF(self.rect()))
        centre = self.point_of(*picture.crosshair)
        x, y = centre.x(), centre.y()
        colour = QColor(FILM_LINE)
        colour.setAlpha(150)
        painter.setPen(colour)
        gap = UNIT
        painter.drawLine(QPointF(target.left(), y), QPointF(x - gap, y))
        painter.drawLine(QPointF(x + gap, y), QPointF(target.right(), y))
        painter.drawLine(QPointF(x, target.top()), QPointF(x, y - gap))
        painter.drawLine(QPointF(x, y + gap), QPointF(x, target.bottom()))

    def _paint_words(self, painter: QPainter, picture: SlicePicture) -> None:
        font = painter.font()
        font.setPixelSize(SMALL)
        painter.setFont(font)
        inside = self.rect().adjusted(UNIT, UNIT // 2, -UNIT, -UNIT // 2)
        flag = Qt.AlignmentFlag
        _shadowed(painter, inside, flag.AlignLeft | flag.AlignTop, picture.title, FILM_QUIET)
        font.setPixelSize(BODY)
        font.setBold(True)
        painter.setFont(font)
        left, right, top, bottom = picture.letters
        _shadowed(painter, inside, flag.AlignLeft | flag.AlignVCenter, left, FILM_TEXT)
        _shadowed(painter, inside, flag.AlignRight | flag.AlignVCenter, right, FILM_TEXT)
        _shadowed(painter, inside, flag.AlignHCenter | flag.AlignTop, top, FILM_TEXT)
        _shadowed(painter, inside, flag.AlignHCenter | flag.AlignBottom, bottom, FILM_TEXT)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Wish the crosshair here."""
        self._wish(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell what is under the cursor; with the button down, wish the crosshair here."""
        if self._picture is None:
            return
        self.hovered.emit(self.pixel_at(event.position()))
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._wish(event)

    def leaveEvent(self, event: QEvent) -> None:
        """Tell that nothing is under the cursor any more."""
        self.hovered.emit(None)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Wish some slices further: one for each notch."""
        self._wheel += event.angleDelta().y()
        steps, self._wheel = int(self._wheel / 120), self._wheel - 120 * int(self._wheel / 120)
        if steps:
            self.step_wished.emit(steps)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Wish one slice further or back."""
        steps = {Qt.Key.Key_PageUp: 1, Qt.Key.Key_Up: 1, Qt.Key.Key_PageDown: -1,
                 Qt.Key.Key_Down: -1}  # fmt: skip
        key = Qt.Key(event.key())
        if key in steps:
            self.step_wished.emit(steps[key])
        else:
            super().keyPressEvent(event)

    def _wish(self, event: QMouseEvent) -> None:
        if self._picture is not None:
            self.crosshair_wished.emit(*self.pixel_at(event.position()))


def _shadowed(
    painter: QPainter, where: QRect, flags: Qt.AlignmentFlag, text: str, colour: str
) -> None:
    """Write light text with a dark edge, to be read on bone as on air."""
    painter.setPen(QColor(0, 0, 0, 200))
    for dx, dy in ((1, 1), (-1, -1), (1, -1), (-1, 1)):
        painter.drawText(where.translated(dx, dy), flags, text)
    painter.setPen(QColor(colour))
    painter.drawText(where, flags, text)
