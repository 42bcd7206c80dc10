"""The 3-D picture: shows what the scene draws off screen, turns mouse and keys into movement.

The scene is made when there is first something to show, so that an empty window opens at once.
However much changes within one turn of the event loop, one frame is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from facegen_app.views.style import current_theme

if TYPE_CHECKING:
    from facegen_app.rendering.scene import Scene3D

_REST_MS = 250
_DEGREES_PER_WIDTH = 180.0
_FLUENT_SECONDS = 0.08
_STILL_PIXELS = 4
_LINE_PIXELS = 10

_KEY_TURNS = {
    Qt.Key.Key_Left: (-15.0, 0.0),
    Qt.Key.Key_Right: (15.0, 0.0),
    Qt.Key.Key_Up: (0.0, -15.0),
    Qt.Key.Key_Down: (0.0, 15.0),
}


class SceneView(QWidget):
    """Drag turns the head, Shift or the middle button moves it, the wheel or right button zooms.

    Parameters
    ----------
    make_scene
        Called once, when there is first something to show.

    Emits ``moved`` when the user has turned the head away from a standard view; while aimed
    ``clicked`` with the place of a click, device pixels from the upper left; and the wish for the
    line of the wipe at a share of the width.
    """

    moved = Signal()
    clicked = Signal(float, float)
    wipe_wished = Signal(float)

    def __init__(self, make_scene: Callable[[], Scene3D], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._make_scene = make_scene
        self._scene: Scene3D | None = None
        self._image: QImage | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self._pressed_at: QPointF | None = None
        self._aimed = False
        self._aimed_at: QPointF | None = None
        self._wipe: float | None = None
        self._wipe_pressed = False
        self._moving = False
        self._held = False
        self._draw_timer = _once(self, 0, self._draw)
        self._rest_timer = _once(self, _REST_MS, self._rest)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(240, 240)
        self.setAccessibleName(self.tr("3D view of skull and face"))
        self.setToolTip(
            self.tr("Drag: turn. Shift + drag: move. Wheel: zoom. Arrow keys turn, + and − zoom.")
        )
        self.setToolTipDuration(4000)

    @property
    def scene(self) -> Scene3D:
        """The scene; made here when it is first needed."""
        if self._scene is None:
            self._scene = self._make_scene()
            self._scene.set_size(*self._device_size())
        return self._scene

    @property
    def has_scene(self) -> bool:
        """Whether there was anything to show yet."""
        return self._scene is not None

    @property
    def is_at_rest(self) -> bool:
        """Whether the last frame shows everything, finely, and no other is due."""
        return not (self._draw_timer.isActive() or self._rest_timer.isActive() or self._moving)

    def sizeHint(self) -> QSize:
        """Return a size that leaves room for the panels at 1280×800."""
        return QSize(640, 640)

    def request_frame(self) -> None:
        """Draw once more, as soon as the events that wait are done."""
        if self._scene is not None and not self._draw_timer.isActive():
            self._draw_timer.start()

    def request_moving_frame(self) -> None:
        """Draw at once, coarsely where a fine frame is slow; then finely when nothing follows."""
        if self._scene is not None and not self._is_fluent():
            self._moving = True
            self._rest_timer.start()
        self.request_frame()

    def hold(self, held: bool) -> None:
        """Say that a slider elsewhere is being dragged: frames may be coarse until it is let go."""
        self._held = held and self._scene is not None and not self._is_fluent()
        if not held and self._moving:
            self._rest()

    def set_aimed(self, aimed: bool) -> None:
        """Let clicks be told, beside drags that move the head."""
        self._aimed, self._aimed_at = aimed, None
        self._show_cursor(on_line=False)

    def show_wipe(self, share: float | None) -> None:
        """Let the line of the wipe be dragged where it stands, a share of the width; or not."""
        self._wipe = share
        if share is None:
            self._show_cursor(on_line=False)

    def close_scene(self) -> None:
        """Give the graphics resources back."""
        self._draw_timer.stop()
        self._rest_timer.stop()
        if self._scene is not None:
            self._scene.close()
            self._scene = None

    # drawing

    def _device_size(self) -> tuple[int, int]:
        ratio = self.devicePixelRatioF()
        return max(1, round(self.width() * ratio)), max(1, round(self.height() * ratio))

    def _is_fluent(self) -> bool:
        return 0.0 < self.scene.last_full_seconds < _FLUENT_SECONDS

    def _draw(self) -> None:
        if self._scene is None or not self.isVisible():
            return
        self._moving = self._moving or self._held
        width, height = self._device_size()
        coarse = self._moving and not self._is_fluent()
        self._pixels = self._scene.render(
            width, height, moving=coarse, scale=self.devicePixelRatioF()
        )
        self._image = QImage(
            self._pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888
        )
        self._image.setDevicePixelRatio(self.devicePixelRatioF())
        self.update()

    def _move(self) -> None:
        """Draw coarsely while something moves, and finely once it rests."""
        self._moving = True
        self._rest_timer.start()
        self.moved.emit()
        self.request_frame()

    def _rest(self) -> None:
        if self._pressed_at is None:
            coarse = self._moving and not self._is_fluent()
            self._moving = False
            if coarse:
                self.request_frame()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Show the last frame."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(current_theme().stage))
        if self._image is not None:
            painter.drawImage(0, 0, self._image)
        painter.end()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw for the new size."""
        self.request_frame()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Give the graphics resources back."""
        self.close_scene()

    # movement

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to move."""
        if self._scene is not None:
            left = event.button() == Qt.MouseButton.LeftButton
            self._wipe_pressed = left and self._is_on_line(event)
            self._pressed_at = event.position()
            self._aimed_at = event.position() if self._aimed and left else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Turn, move or zoom as far as the mouse went."""
        if self._pressed_at is None:
            self._show_cursor(on_line=self._is_on_line(event))
            return
        if self._wipe_pressed:
            self._held = not self._is_fluent()
            self.wipe_wished.emit(event.position().x() / self.width())
            return
        if self._aimed_at is not None:
            if (event.position() - self._aimed_at).manhattanLength() < _STILL_PIXELS:
                return  # the hand shakes a little in every click
            self._aimed_at = None
        step = event.position() - self._pressed_at
        self._pressed_at = event.position()
        right, down = step.x() / self.height(), step.y() / self.height()
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if event.buttons() & Qt.MouseButton.RightButton:
            self.scene.zoom(float(np.exp(-2.0 * down)))
        elif shift or event.buttons() & Qt.MouseButton.MiddleButton:
            self.scene.pan(right, down)
        else:
            self.scene.rotate(right * _DEGREES_PER_WIDTH, down * _DEGREES_PER_WIDTH)
        self._move()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End the movement: draw finely; or tell of a click."""
        at, self._pressed_at, self._aimed_at = self._aimed_at, None, None
        if self._wipe_pressed:
            self._wipe_pressed = self._held = False
        self._rest()
        if at is not None:
            ratio = self.devicePixelRatioF()
            self.clicked.emit(at.x() * ratio, at.y() * ratio)

    def _is_on_line(self, event: QMouseEvent) -> bool:
        """Return whether the mouse is on the line of the wipe."""
        if self._wipe is None or self._aimed:
            return False
        return abs(event.position().x() - self._wipe * self.width()) <= _LINE_PIXELS

    def _show_cursor(self, *, on_line: bool) -> None:
        shape = Qt.CursorShape.CrossCursor if self._aimed else Qt.CursorShape.ArrowCursor
        self.setCursor(Qt.CursorShape.SplitHCursor if on_line else shape)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom."""
        if self._scene is not None:
            self.scene.zoom(float(1.0015 ** event.angleDelta().y()))
            self._move()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Turn by arrow keys, zoom by plus and minus."""
        key = Qt.Key(event.key())
        if self._scene is None:
            super().keyPressEvent(event)
        elif key in _KEY_TURNS:
            self.scene.rotate(*_KEY_TURNS[key])
            self._move()
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus):
            self.scene.zoom(1 / 1.15 if key == Qt.Key.Key_Minus else 1.15)
            self._move()
        else:
            super().keyPressEvent(event)


def _once(parent: QWidget, milliseconds: int, slot: Callable[[], None]) -> QTimer:
    """Return a stopped timer that calls `slot` once each time it is started."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(slot)
    return timer
