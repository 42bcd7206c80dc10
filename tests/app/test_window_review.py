"""Skull against face in the window: real mouse and keys in, pixels and state out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget

from facegen_app.desk import Desk, set_up
from facegen_app.main import make_application
from facegen_app.rendering.display_mesh import display_mesh

WAIT = 60_000
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def desk(qtbot, made_up) -> Iterator[Desk]:
    """The window with a made-up face over its skull."""
    make_application()
    made = set_up()
    qtbot.addWidget(made.window)
    made.window.resize(1280, 800)
    with qtbot.waitExposed(made.window):
        made.window.show()
    made.window.activateWindow()
    qtbot.waitUntil(made.window.isActiveWindow, timeout=WAIT)
    made.case.set_scan(Path("made-up"), made_up.prepared.scan, made_up.inputs)
    made.case.set_prepared(made_up.prepared)
    made.overlay.show_skull(display_mesh(made_up.prepared.skull.mesh), made_up.prepared.frame)
    made_up.give_face(made)
    meshes = [made_up.face.mesh, *(v.mesh for v in made_up.face.variants)]
    made.overlay.show_faces([display_mesh(m) for m in meshes], ["Most likely", "Thin", "Heavy"])
    settle(made, qtbot)
    yield made
    made.window.close()
    assert made.jobs.stop()


def settle(desk: Desk, qtbot) -> int:
    view = desk.window.scene_view
    qtbot.wait(20)
    qtbot.waitUntil(lambda: view.is_at_rest, timeout=WAIT)
    qtbot.wait(20)
    return view.scene.frames


def pixels(widget: QWidget) -> np.ndarray:
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    raw = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return raw[:, : 3 * image.width()].astype(int)


def test_the_big_slider_fades_and_draws_one_frame(desk: Desk, qtbot) -> None:
    panel, view = desk.window.review_panel, desk.window.scene_view
    frames, before = settle(desk, qtbot), pixels(view)
    view.scene.last_full_seconds = 0.01  # as of a small head: no coarse frame is needed
    panel.blend_slider.setValue(1000)
    assert settle(desk, qtbot) == frames + 1
    assert np.abs(pixels(view) - before).mean() > 2
    assert desk.scene.layer("skull").opacity == 0.0
    rows = desk.window.layers_panel.rows
    assert (rows["skull"].slider.value(), rows["face"].slider.value()) == (0, 100)
    panel.blend_slider.setFocus()
    qtbot.keyClick(panel.blend_slider, Qt.Key.Key_Home)
    settle(desk, qtbot)
    assert desk.scene.blend == 0.0


def test_a_key_draws_coarsely_first_where_fine_frames_are_slow(
    desk: Desk, qtbot, monkeypatch
) -> None:
    view, drawn = desk.window.scene_view, []
    settle(desk, qtbot)
    render = view.scene.render

    def slow(*size: int, moving: bool, scale: float) -> np.ndarray:
        picture = render(*size, moving=moving, scale=scale)
        view.scene.last_full_seconds = 0.6  # as of a large head drawn by software
        drawn.append(moving)
        return picture

    view.scene.last_full_seconds = 0.6
    monkeypatch.setattr(view.scene, "render", slow)
    desk.window.review_panel.blend_slider.setFocus()
    for _ in range(3):
        qtbot.keyClick(desk.window.review_panel.blend_slider, Qt.Key.Key_Right)
        qtbot.wait(10)
    settle(desk, qtbot)
    assert drawn == [True, True, True, False]


def test_the_line_is_dragged_in_the_view_and_the_head_stays(desk: Desk, qtbot) -> None:
    window, view = desk.window, desk.window.scene_view
    qtbot.mouseClick(window.review_panel.wipe, LEFT)
    settle(desk, qtbot)
    assert desk.scene.wipe == 0.5
    pose, before = view.scene.pose, pixels(view)
    start = QPoint(view.width() // 2 + 3, 60)
    qtbot.mouseMove(view, start)
    qtbot.waitUntil(lambda: view.cursor().shape() == Qt.CursorShape.SplitHCursor, timeout=WAIT)
    qtbot.mousePress(view, LEFT, pos=start)
    for x in (-30, -90, -150):
        qtbot.mouseMove(view, start + QPoint(x, 20))
        qtbot.wait(10)
    qtbot.mouseRelease(view, LEFT, pos=start + QPoint(-150, 20))
    settle(desk, qtbot)
    assert desk.scene.wipe == pytest.approx(0.5 - 147 / view.width(), abs=0.01)
    assert view.scene.pose is pose
    assert np.abs(pixels(view) - before).mean() > 1
    assert window.review_panel.wipe_slider.value() == round(1000 * desk.scene.wipe)

    away = QPoint(view.width() - 40, 80)
    qtbot.mouseMove(view, away)
    qtbot.waitUntil(lambda: view.cursor().shape() == Qt.CursorShape.ArrowCursor, timeout=WAIT)
    qtbot.mousePress(view, LEFT, pos=away)
    qtbot.mouseMove(view, away + QPoint(-40, 0))
    qtbot.mouseRelease(view, LEFT, pos=away + QPoint(-40, 0))
    settle(desk, qtbot)
    assert view.scene.pose is not pose  # beside the line a drag turns the head


def test_keys_move_the_line_and_end_the_wipe(desk: Desk, qtbot) -> None:
    window = desk.window
    qtbot.keyClick(window, Qt.Key.Key_W)
    assert desk.scene.wipe == 0.5
    for _ in range(3):
        qtbot.keyClick(window, Qt.Key.Key_Comma)
    assert desk.scene.wipe == pytest.approx(0.44)
    qtbot.keyClick(window, Qt.Key.Key_Period)
    assert desk.scene.wipe == pytest.approx(0.46)
    qtbot.keyClick(window, Qt.Key.Key_W)
    assert desk.scene.wipe is None
    assert window.review_panel.fade.isChecked()
    qtbot.keyClick(window, Qt.Key.Key_Period)
    assert desk.scene.wipe == pytest.approx(0.46)  # shown again where it stood


def test_uncertainty_is_coloured_where_the_face_carries_it(desk: Desk, qtbot) -> None:
    panel, view = desk.window.review_panel, desk.window.scene_view
    before = pixels(view)
    qtbot.keyClick(desk.window, Qt.Key.Key_U)
    settle(desk, qtbot)
    assert panel.bands.isChecked()
    assert np.abs(pixels(view) - before).mean() > 2
    assert "Bone shines through" in panel.meaning
    panel.blend_slider.setValue(1000)
    assert "Nine times in ten" in panel.meaning
    desk.window.layers_panel.variant_wished.emit(1)
    settle(desk, qtbot)
    assert "no band" in panel.meaning
    assert not panel.bands.isEnabled()  # an alternative has no band of its own
    assert not desk.window.commands["uncertainty"].isEnabled()
    desk.window.layers_panel.variant_wished.emit(0)
    assert panel.bands.isEnabled()


def test_without_a_face_there_is_nothing_to_compare(desk: Desk, qtbot, made_up) -> None:
    desk.case.set_prepared(made_up.prepared)
    window = desk.window
    assert not window.review_panel.wipe.isEnabled()
    assert not any(window.commands[name].isEnabled() for name in ("wipe", "uncertainty"))
