"""The whole line in the window, nothing made up: open, reconstruct, look, export."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QComboBox

from facegen_app.desk import set_up
from facegen_app.main import make_application

WAIT = 200_000


def seen(view) -> np.ndarray:
    image = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    raw = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), -1)
    return raw[:, : 3 * image.width()].astype(int)


@pytest.mark.timeout(400)
def test_open_reconstruct_look_export(qtbot, coarse_head, tmp_path, monkeypatch) -> None:
    threads = threading.active_count()
    make_application()
    desk = set_up()
    window, view = desk.window, desk.window.scene_view
    qtbot.addWidget(window)
    window.resize(1280, 800)
    with qtbot.waitExposed(window):
        window.show()
    troubles: list[object] = []
    monkeypatch.setattr(window, "show_trouble", troubles.append)
    beats: list[float] = []
    heart = QTimer(window)
    heart.timeout.connect(lambda: beats.append(time.perf_counter()))
    heart.start(20)

    monkeypatch.setattr(window, "ask_file", lambda *_: coarse_head)
    window.scan_panel.file_wished.emit()
    qtbot.waitUntil(lambda: bool(troubles) or desk.case.prepared is not None, timeout=WAIT)
    assert not troubles
    qtbot.waitUntil(lambda: view.has_scene and view.is_at_rest, timeout=WAIT)
    skull = seen(view)
    assert window.windowTitle().startswith("head.nii")

    method = next(
        box for box in window.face_panel.findChildren(QComboBox) if box.findData("mean-face") >= 0
    )
    method.setCurrentIndex(method.findData("mean-face"))
    window.commands["reconstruct"].trigger()
    qtbot.waitUntil(lambda: bool(troubles) or desk.case.face is not None, timeout=WAIT)
    assert not troubles
    qtbot.waitUntil(lambda: not desk.work.busy and view.is_at_rest, timeout=WAIT)
    heart.stop()
    over = seen(view)
    assert np.abs(over - skull).mean() > 2.0

    face, frame = desk.case.face.mesh, desk.case.prepared.frame
    points = face.vertices @ frame.frame_from_patient[:3, :3].T + frame.frame_from_patient[:3, 3]
    assert points[:, 1].min() < -60  # the nose is in front
    assert abs(points[:, 0].mean()) < 5  # and in the middle

    frames = view.scene.frames
    window.layers_panel.rows["face"].slider.setValue(95)
    qtbot.waitUntil(lambda: view.scene.frames > frames and view.is_at_rest, timeout=WAIT)
    assert view.scene.frames == frames + 1
    assert np.abs(seen(view) - over).mean() > 1.0

    monkeypatch.setattr("facegen_app.casework.export._PICTURE_SIZE", (240, 240))
    monkeypatch.setattr(window, "ask_folder", lambda *_: tmp_path / "case")
    qtbot.keyClick(window, Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier)
    if not desk.work.busy:  # no keyboard focus on this screen
        window.export_panel.results_wished.emit()
    qtbot.waitUntil(lambda: not desk.work.busy, timeout=WAIT)
    assert not troubles
    (out,) = (tmp_path / "case").iterdir()
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")
    assert len(list((out / "pictures").glob("*-overlay.png"))) == 5
    data = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert {row["name"] for row in data["outputs"]} >= {"face.ply", "skull.ply", "report.pdf"}

    window.close()
    assert desk.jobs.stop()
    qtbot.waitUntil(lambda: threading.active_count() <= threads, timeout=WAIT)
    gaps = np.diff(beats)
    assert np.quantile(gaps, 0.95) < 0.25  # the window stayed alive while it worked
