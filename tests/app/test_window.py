"""The window on a virtual screen: real events in, pixels out."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QImage
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QSlider,
    QWidget,
)

from facegen_app.desk import Desk, set_up
from facegen_app.main import check_display, make_application
from facegen_app.rendering.display_mesh import display_mesh
from facegen_app.views.error_dialog import ErrorDialog
from facegen_inference.errors import UserError

WAIT = 60_000


@pytest.fixture
def desk(qtbot) -> Iterator[Desk]:
    """The whole window; afterwards no thread and no window may be left."""
    threads = threading.active_count()
    make_application()
    made = set_up()
    qtbot.addWidget(made.window)
    made.window.resize(1280, 800)
    with qtbot.waitExposed(made.window):
        made.window.show()
    made.window.activateWindow()
    qtbot.waitUntil(made.window.isActiveWindow, timeout=WAIT)
    yield made
    made.window.close()
    qtbot.waitUntil(lambda: made.jobs.running == 0, timeout=WAIT)
    assert made.jobs.stop()
    assert not [w for w in QApplication.topLevelWidgets() if w.isVisible()]
    assert threading.active_count() <= threads


@pytest.fixture
def with_face(desk: Desk, qtbot, made_up) -> Desk:
    """The window with a made-up result, shown as the controllers show one."""
    desk.case.set_scan(Path("made-up"), made_up.prepared.scan, made_up.inputs)
    desk.slice_model.set_volume(made_up.prepared.scan.volume)
    desk.case.set_prepared(made_up.prepared)
    desk.overlay.show_skull(display_mesh(made_up.prepared.skull.mesh), made_up.prepared.frame)
    made_up.give_face(desk)
    meshes = [made_up.face.mesh, *(v.mesh for v in made_up.face.variants)]
    desk.overlay.show_faces([display_mesh(m) for m in meshes], ["Most likely", "Thin", "Heavy"])
    settle(desk, qtbot)
    return desk


def settle(desk: Desk, qtbot) -> int:
    """Wait until nothing more is drawn; returns the number of frames so far."""
    view = desk.window.scene_view
    qtbot.wait(20)
    qtbot.waitUntil(lambda: view.is_at_rest, timeout=WAIT)
    qtbot.wait(20)
    return view.scene.frames


def pixels(widget: QWidget) -> np.ndarray:
    """Return what a widget shows, (rows, columns, 3) uint8."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    raw = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return raw[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def difference(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - two).mean())


def dialogs() -> list[ErrorDialog]:
    return [
        w for w in QApplication.topLevelWidgets() if isinstance(w, ErrorDialog) and w.isVisible()
    ]


def test_the_empty_window_loads_nothing_heavy() -> None:
    """What makes the first window quick: no VTK, SimpleITK, SciPy, pydicom or ONNX yet."""
    code = (
        "import sys; from facegen_app.desk import set_up\n"
        "from facegen_app.main import make_application\n"
        "app = make_application(); desk = set_up(); desk.window.show(); app.processEvents()\n"
        "heavy = ('vtkmodules', 'SimpleITK', 'scipy', 'pydicom', 'onnxruntime', 'reportlab')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_intended_use_is_always_readable(desk: Desk) -> None:
    from facegen_inference.intended_use import INTENDED_USE

    found = [one for one in desk.window.findChildren(QLabel) if one.text() == INTENDED_USE]
    assert len(found) == 1
    line = found[0]
    assert line.isVisible()
    assert line.heightForWidth(line.width()) <= line.height()  # nothing of it is cut off


def test_every_control_explains_itself(with_face: Desk) -> None:
    kinds = (QAbstractButton, QComboBox, QSlider, QLineEdit)
    controls = [
        one for kind in kinds for one in with_face.window.findChildren(kind)
        if one.isVisible() and not one.objectName().startswith("qt_")
    ]  # fmt: skip
    assert len(controls) > 20
    assert not [one for one in controls if not one.toolTip()]
    side = with_face.window.scan_panel.parentWidget()
    for one in controls:
        if side.isAncestorOf(one):
            right = one.mapTo(side, QPoint(one.width(), 0)).x()
            assert right <= side.width(), f"{one.toolTip()} is cut off"
            if isinstance(one, QAbstractButton) and one.text():
                assert one.sizeHint().width() <= one.width(), f"{one.text()} does not fit"


def test_moving_an_opacity_slider_draws_one_frame(with_face: Desk, qtbot) -> None:
    frames = settle(with_face, qtbot)
    before = pixels(with_face.window.scene_view)
    with_face.window.layers_panel.rows["face"].slider.setValue(20)
    assert settle(with_face, qtbot) == frames + 1
    assert with_face.scene.layer("face").opacity == pytest.approx(0.20)
    assert with_face.window.layers_panel.rows["face"].percent.text() == "20 %"
    after = pixels(with_face.window.scene_view)
    assert difference(before, after) > 1.0
    for value in (30, 40, 50):  # several changes within one turn of the event loop: still one
        with_face.window.layers_panel.rows["skull"].slider.setValue(value)
    assert settle(with_face, qtbot) == frames + 2


def test_the_translucent_face_is_seen_over_the_skull(with_face: Desk, qtbot) -> None:
    settle(with_face, qtbot)
    both = pixels(with_face.window.scene_view)
    qtbot.keyClick(with_face.window, Qt.Key.Key_F)
    settle(with_face, qtbot)
    skull = pixels(with_face.window.scene_view)
    assert not with_face.window.layers_panel.rows["face"].check.isChecked()
    qtbot.keyClick(with_face.window, Qt.Key.Key_S)
    settle(with_face, qtbot)
    nothing = pixels(with_face.window.scene_view)
    assert difference(both, skull) > 3
    assert difference(skull, nothing) > 3


def test_standard_views_colours_and_shapes_change_the_picture(with_face: Desk, qtbot) -> None:
    window, seen = with_face.window, []
    settle(with_face, qtbot)
    seen.append(pixels(window.scene_view))
    qtbot.mouseClick(window.view_bar.buttons["lateral-left"], Qt.MouseButton.LeftButton)
    settle(with_face, qtbot)
    seen.append(pixels(window.scene_view))
    window.commands["vertex"].trigger()
    settle(with_face, qtbot)
    assert window.view_bar.buttons["vertex"].isChecked()
    seen.append(pixels(window.scene_view))
    window.layers_panel.rows["face"].colour_wished.emit((0.2, 0.9, 0.2))
    settle(with_face, qtbot)
    seen.append(pixels(window.scene_view))
    window.layers_panel.variant_wished.emit(2)
    settle(with_face, qtbot)
    seen.append(pixels(window.scene_view))
    for one, two in pairwise(seen):
        assert difference(one, two) > 0.3


def test_dragging_turns_the_head_coarsely_and_rest_refines_it(with_face: Desk, qtbot) -> None:
    view = with_face.window.scene_view
    frames, before = settle(with_face, qtbot), pixels(view)
    middle = view.rect().center()
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=middle)
    qtbot.mouseMove(view, middle + QPoint(60, 0))
    qtbot.wait(100)
    qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=middle + QPoint(60, 0))
    assert settle(with_face, qtbot) > frames
    assert difference(before, pixels(view)) > 0.2
    assert not any(b.isChecked() for b in with_face.window.view_bar.buttons.values())
    turned = pixels(view)
    qtbot.keyClick(view, Qt.Key.Key_Left)
    qtbot.keyClick(view, Qt.Key.Key_Plus)
    settle(with_face, qtbot)
    assert difference(turned, pixels(view)) > 0.2


def test_a_click_in_a_slice_moves_the_crosshair_of_all(with_face: Desk, qtbot) -> None:
    panel = with_face.window.slices_panel
    axial, before = panel.slices["axial"], pixels(panel.slices["sagittal"])
    target = axial.point_of(30.0, 12.0).toPoint()
    qtbot.mouseClick(axial, Qt.MouseButton.LeftButton, pos=target)
    _, j, i = with_face.slice_model.cursor
    assert abs(i) > 0 or abs(j) > 0
    assert difference(before, pixels(panel.slices["sagittal"])) > 0
    assert "HU" in panel.reading
    assert panel.reading.count("mm") == 1
    qtbot.mouseClick(panel.buttons["soft tissue"], Qt.MouseButton.LeftButton)
    assert with_face.slice_model.window == "soft tissue"


def test_the_picture_that_is_seen_is_saved(with_face: Desk, qtbot, tmp_path, monkeypatch) -> None:
    path = tmp_path / "seen.png"
    monkeypatch.setattr(with_face.window, "ask_new_file", lambda *_: path)
    with_face.window.commands["save_picture"].trigger()
    qtbot.waitUntil(path.exists, timeout=WAIT)
    qtbot.waitUntil(lambda: not with_face.work.busy, timeout=WAIT)
    image, view = QImage(str(path)), with_face.window.scene_view
    assert (image.width(), image.height()) == (2 * view.width(), 2 * view.height())


def test_a_scan_that_cannot_be_read_gives_a_sentence(desk: Desk, qtbot, tmp_path) -> None:
    bad = tmp_path / "notes.txt"
    bad.write_text("nothing", encoding="utf-8")
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(bad))])
    desk.window.dropEvent(
        QDropEvent(
            QPointF(300, 300), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
    )  # fmt: skip
    qtbot.waitUntil(lambda: len(dialogs()) == 1, timeout=WAIT)
    trouble = dialogs()[0].trouble
    assert trouble.message.endswith(".")
    assert trouble.advice
    assert not trouble.report  # the user's to mend, no bug
    assert desk.case.scan is None
    dialogs()[0].accept()


def test_a_bug_is_shown_with_a_report_to_copy(desk: Desk, qtbot) -> None:
    def bad(progress):
        raise RuntimeError("for DOE^JANE")

    desk.work.start(bad, lambda result: None)
    qtbot.waitUntil(lambda: len(dialogs()) == 1, timeout=WAIT)
    dialog = dialogs()[0]
    dialog.copy_report()
    copied = QApplication.clipboard().text()
    assert "RuntimeError" in copied
    assert "DOE" not in copied
    dialog.accept()


def test_escape_stops_the_work_silently(desk: Desk, qtbot) -> None:
    stopped = threading.Event()

    def work(progress):
        try:
            while True:
                progress(0.3, "finding bone")
                time.sleep(0.01)
        finally:
            stopped.set()

    desk.work.start(work, lambda result: pytest.fail("it was cancelled"))
    qtbot.waitUntil(lambda: "Finding bone" in text_of(desk.window.job_bar), timeout=WAIT)
    started = time.perf_counter()
    qtbot.keyClick(desk.window, Qt.Key.Key_Escape)
    qtbot.waitUntil(stopped.is_set, timeout=2000)
    assert time.perf_counter() - started < 1.0
    qtbot.wait(50)
    assert not dialogs()
    assert "Finding bone" not in text_of(desk.window.job_bar)


def text_of(widget: QWidget) -> str:
    return " ".join(one.text() for one in widget.findChildren(QLabel))


def test_no_screen_is_a_sentence(monkeypatch) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems always have a screen")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UserError, match="no screen"):
        check_display()
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(UserError, match=":987"):
        check_display()
