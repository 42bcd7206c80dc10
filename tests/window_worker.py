"""Work a case in the window until killed: ``window_worker.py CASE SCAN``, a program of its own."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QComboBox, QLineEdit

from facegen_app.desk import Desk, set_up
from facegen_app.main import make_application

MOVED = ("n", (1.0, -92.5, 31.25))
LIMIT = 100.0


def what_is_there(desk: Desk) -> dict[str, object]:
    """Return what the window holds of its case, as plain data."""
    case, points, panel = desk.case, desk.landmark_model, desk.window.profile_panel
    placed = {code: list(point.position) for code, point in points.placed.items()}
    return {
        "scan": None if case.inputs is None else case.inputs.sha256,
        "frame": None if case.prepared is None else case.prepared.frame.patient_from_frame.tolist(),
        "points": {c: list(p.position) for c in points.codes if (p := points.point(c))},
        "resting on": [] if case.prepared is None else sorted(case.prepared.landmarks),
        "placed": placed,
        "used": sorted(points.used),
        "waiting": points.waiting,
        "profile": [panel.known().sex, panel.known().age, panel.known().build],
        "request": None if case.request is None else case.request.profile.age,
        "face": None if case.face is None else digest(case.face.mesh),
        "variants": [] if case.face is None else [digest(v.mesh) for v in case.face.variants],
        "notes": [] if case.face is None else list(case.face.notes),
        "states": {name: str(button.state) for name, button in buttons(desk).items()},
        "title": desk.window.windowTitle(),
    }


def digest(mesh) -> str:
    """Return a digest of a mesh in the precision of a file."""
    parts = [mesh.vertices.astype(np.float32), mesh.triangles]
    parts += [mesh.vertex_data[name] for name in sorted(mesh.vertex_data)]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def buttons(desk: Desk) -> dict[str, object]:
    return desk.window.steps_panel.buttons


def type_age(desk: Desk, age: str) -> None:
    desk.window.profile_panel.findChildren(QLineEdit)[0].setText(age)


def choose_mean_face(desk: Desk) -> None:
    boxes = desk.window.face_panel.findChildren(QComboBox)
    method = next(box for box in boxes if box.findData("mean-face") >= 0)
    method.setCurrentIndex(method.findData("mean-face"))


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT
    while not true():
        if time.monotonic() > until:
            raise TimeoutError
        QApplication.processEvents()
        time.sleep(0.005)


def work(desk: Desk, case: Path, scan: Path) -> None:
    """Work a case through every step that changes it."""
    desk.case_files.open_path(case)
    desk.case_files.open_path(scan)
    wait_until(lambda: desk.case.prepared is not None and not desk.work.busy)
    type_age(desk, "44")
    choose_mean_face(desk)
    desk.window.commands["reconstruct"].trigger()
    wait_until(lambda: desk.case.face is not None and not desk.work.busy)
    desk.landmark_model.place(*MOVED)


def main() -> None:
    application = make_application()
    desk = set_up()
    desk.window.show()
    work(desk, Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(json.dumps(what_is_there(desk)) + "\n")
    sys.stdout.flush()
    QTimer.singleShot(int(LIMIT * 1000), application.quit)
    application.exec()


if __name__ == "__main__":
    main()
