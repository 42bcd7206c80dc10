"""Landmarks in the window, nothing made up: an unsure scan, points clicked on the skull, a face."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QComboBox
from scipy.spatial import cKDTree

from facegen_app.casework.export import inputs_of
from facegen_app.desk import Desk, set_up
from facegen_app.main import make_application
from facegen_app.rendering.display_mesh import display_mesh
from facegen_inference.atlas import load_atlas
from facegen_inference.demo_head import load_head_model, patient_from_frame
from facegen_inference.landmarks import read_landmarks
from facegen_inference.mesh_files import write_mesh
from facegen_inference.reconstruct import SkullUnplaced, prepare
from facegen_inference.scan import Scan, open_scan
from facegen_inference.skull import make_skull
from facegen_inference.volume import Volume

WAIT = 60_000
UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0, 1.0])
"""Half a turn about the axis from right to left: the left stays on the left."""
LEFT = Qt.MouseButton.LeftButton


@dataclass(frozen=True)
class Unsure:
    """A scan whose frame is unsure."""

    path: Path
    scan: Scan
    unplaced: SkullUnplaced


@pytest.fixture(scope="module")
def unsure_scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic head on a 2 mm grid, hanging upside down in the scanner, as a NIfTI file."""
    model = load_head_model()
    array = np.full(model.skin.shape, -1000, np.int16)
    array[model.skin < 0] = 40
    array[model.bone < 1] = 500  # between the two: the partial volume of the bone's edge
    array[model.bone < 0] = 1200
    matrix = UPSIDE_DOWN @ patient_from_frame() @ model.grid.patient_from_voxel
    path = tmp_path_factory.mktemp("unsure") / "upside-down.nii"
    sitk.WriteImage(Volume(array, matrix).to_sitk(), str(path))
    return path


@pytest.fixture(scope="module")
def unsure_mesh(unsure_scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bone of the same head as a mesh file."""
    volume = open_scan(unsure_scan).volume
    assert volume is not None
    path = tmp_path_factory.mktemp("mesh") / "upside-down.ply"
    write_mesh(make_skull(volume).mesh, path)
    return path


@pytest.fixture(scope="module")
def unsure(unsure_scan: Path) -> Unsure:
    """The same scan read and found to be unsure, once for the tests that go on from there."""
    scan = open_scan(unsure_scan)
    with pytest.raises(SkullUnplaced) as caught:
        prepare(scan)
    return Unsure(unsure_scan, scan, caught.value)


def true_frame() -> np.ndarray:
    """Return patient_from_frame (4×4) of the head that hangs upside down."""
    return UPSIDE_DOWN @ patient_from_frame()


def true_point(code: str) -> np.ndarray:
    """Return where the mean skull has a point, on the head upside down, LPS mm."""
    matrix = true_frame()
    return matrix[:3, :3] @ np.array(load_atlas().landmarks[code]) + matrix[:3, 3]


@pytest.fixture
def desk(qtbot, monkeypatch) -> Iterator[Desk]:
    """The whole window; afterwards no thread may be left, and no error may have been shown."""
    threads = threading.active_count()
    make_application()
    made = set_up()
    qtbot.addWidget(made.window)
    made.window.resize(1280, 800)
    with qtbot.waitExposed(made.window):
        made.window.show()
    made.window.activateWindow()
    qtbot.waitUntil(made.window.isActiveWindow, timeout=WAIT)
    made.window.troubles = []
    monkeypatch.setattr(made.window, "show_trouble", made.window.troubles.append)
    yield made
    made.window.close()
    qtbot.waitUntil(lambda: made.jobs.running == 0, timeout=WAIT)
    assert made.jobs.stop()
    assert threading.active_count() <= threads


def open_unsure(desk: Desk, qtbot, path: Path) -> None:
    desk.open_scan.open(path)
    qtbot.waitUntil(lambda: bool(desk.window.troubles) or desk.case.skull is not None, timeout=WAIT)
    settle(desk, qtbot)


def show_unsure(desk: Desk, qtbot, unsure: Unsure) -> None:
    """Show the unsure scan as the controllers show one that was just opened."""
    desk.case.set_scan(unsure.path, unsure.scan, inputs_of(unsure.scan))
    desk.slice_model.set_volume(unsure.scan.volume)
    desk.overlay.show_skull(display_mesh(unsure.unplaced.skull.mesh), None)
    desk.case.set_unplaced(unsure.unplaced)
    settle(desk, qtbot)


def settle(desk: Desk, qtbot) -> None:
    """Wait until nothing runs and the picture is drawn."""
    qtbot.waitUntil(lambda: not desk.work.busy, timeout=WAIT)
    qtbot.wait(20)
    qtbot.waitUntil(lambda: desk.window.scene_view.is_at_rest, timeout=WAIT)
    qtbot.wait(20)


def choose(desk: Desk, qtbot, code: str) -> None:
    """Click on a point's row."""
    rows = desk.window.landmarks_panel.list
    item = rows.topLevelItem(desk.landmark_model.codes.index(code))
    rows.scrollToItem(item)
    qtbot.mouseClick(rows.viewport(), LEFT, pos=rows.visualItemRect(item).center())
    settle(desk, qtbot)


def click_at(desk: Desk, qtbot, point: np.ndarray) -> None:
    """Click in the 3-D view where a point, LPS mm, is seen."""
    view = desk.window.scene_view
    x, y = view.scene.pose.pixel_of(point, (view.width(), view.height()))
    qtbot.mouseClick(view, LEFT, pos=QPoint(round(x), round(y)))
    settle(desk, qtbot)


def place(desk: Desk, qtbot, code: str) -> None:
    """Place a point as the examiner does: choose it, press Place, click on the bone."""
    choose(desk, qtbot, code)
    qtbot.mouseClick(desk.window.landmarks_panel.place, LEFT)
    bone = desk.case.skull.mesh.vertices
    aim = true_point(code)
    if code.startswith("or"):  # just below the rim: a click on its very edge may go past it
        aim = aim + true_frame()[:3, :3] @ np.array([0.0, -3.0, -3.5])
    click_at(desk, qtbot, bone[cKDTree(bone).query(aim)[1]])


def mean_face_quickly(desk: Desk) -> None:
    box = next(b for b in desk.window.face_panel.findChildren(QComboBox)
               if b.findData("mean-face") >= 0)  # fmt: skip
    box.setCurrentIndex(box.findData("mean-face"))


def check_face(desk: Desk) -> None:
    """Assert that frame and face lie where the head hangs, left on the left."""
    prepared, truth = desk.case.prepared, true_frame()
    assert prepared.frame.method == "given"
    axes = truth[:3, :3].T @ prepared.frame.patient_from_frame[:3, :3]
    assert (np.diag(axes) > 0.995).all(), axes  # within 6°, and x is the examinee's left
    face = desk.case.face.mesh.vertices
    inverse = np.linalg.inv(truth)
    points = face @ inverse[:3, :3].T + inverse[:3, 3]
    assert points[:, 1].min() < -95  # the nose is in front
    assert abs(points[:, 0].mean()) < 5  # and in the middle
    assert -120 < points[:, 2].min() < -60  # the chin is below, though above in the scanner
    left = points[points[:, 0] > 20].mean(axis=0)  # left of the head is left of the patient
    assert (truth[:3, :3] @ left + truth[:3, 3])[0] > truth[0, 3] + 20


def test_an_unsure_scan_is_asked_about_and_answered_by_clicks(
    desk: Desk, qtbot, unsure_scan: Path, tmp_path: Path, monkeypatch
) -> None:
    panel, model = desk.window.landmarks_panel, desk.landmark_model
    assert not panel.list.isVisible()
    open_unsure(desk, qtbot, unsure_scan)
    assert not desk.window.troubles  # asked in the panel, not in a dialog
    assert panel.list.isVisible()
    assert "another way" in model.question.message
    assert panel.list.topLevelItemCount() == 4
    assert panel.list.topLevelItem(0).text(0) == "Porion, left"
    assert panel.list.topLevelItem(0).text(1).startswith("automatic")
    assert not desk.window.commands["reconstruct"].isEnabled()
    assert not panel.reconstruct.isEnabled()

    for code in ("po-L", "po-R", "or-L"):
        assert not panel.reconstruct.isEnabled()
        place(desk, qtbot, code)
        spot = np.array(model.placed[code].position)
        assert np.linalg.norm(spot - true_point(code)) < 6.0, code
    assert model.placed["po-L"].position[0] > model.placed["po-R"].position[0] + 100
    assert panel.list.topLevelItem(0).text(1) == "placed by hand"

    mean_face_quickly(desk)
    qtbot.mouseClick(panel.reconstruct, LEFT)
    qtbot.waitUntil(lambda: bool(desk.window.troubles) or desk.case.face is not None, timeout=WAIT)
    settle(desk, qtbot)
    assert not desk.window.troubles
    assert model.question is None
    check_face(desk)

    monkeypatch.setattr("facegen_app.casework.export._PICTURE_SIZE", (160, 160))
    desk.export.save_results(tmp_path / "case")
    settle(desk, qtbot)
    assert not desk.window.troubles
    data = json.loads((tmp_path / "case" / "result.json").read_text(encoding="utf-8"))
    sources = {row["code"]: row["provenance"] for row in data["landmarks"]["landmarks"]}
    assert {code for code, kind in sources.items() if kind == "manual"} == {"po-L", "po-R", "or-L"}
    assert data["frame"]["method"] == "given"
    from facegen_app.casework import report_words

    assert "placed by the examiner" in report_words.frame(data["frame"])
    assert "3 placed by the examiner" in report_words.provenance(data["landmarks"]["landmarks"])
    assert (tmp_path / "case" / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_skull_mesh_is_answered_by_accepting_what_was_found(
    desk: Desk, qtbot, unsure_mesh: Path
) -> None:
    panel, model = desk.window.landmarks_panel, desk.landmark_model
    open_unsure(desk, qtbot, unsure_mesh)
    assert not desk.window.troubles
    assert model.question is not None
    for code in ("po-L", "po-R", "or-L", "or-R"):
        choose(desk, qtbot, code)
        qtbot.mouseClick(panel.accept, LEFT)
    assert set(model.placed) == {"po-L", "po-R", "or-L", "or-R"}
    mean_face_quickly(desk)
    desk.window.commands["reconstruct"].trigger()
    qtbot.waitUntil(lambda: bool(desk.window.troubles) or desk.case.face is not None, timeout=WAIT)
    settle(desk, qtbot)
    assert not desk.window.troubles
    check_face(desk)


def test_placing_can_be_missed_stopped_and_undone(desk: Desk, qtbot, unsure: Unsure) -> None:
    window, model = desk.window, desk.landmark_model
    panel, view = window.landmarks_panel, window.scene_view
    show_unsure(desk, qtbot, unsure)
    choose(desk, qtbot, "po-L")
    centre = QPoint(view.width() // 2, view.height() // 2)
    qtbot.mouseClick(view, LEFT, pos=centre)
    assert not model.placed  # a click alone places nothing

    qtbot.mouseClick(panel.place, LEFT)
    assert view.cursor().shape() == Qt.CursorShape.CrossCursor
    assert "porion, left" in window.job_bar.note
    qtbot.mouseClick(view, LEFT, pos=QPoint(4, 4))
    assert not model.placed
    assert "no bone" in window.job_bar.note
    assert model.placing
    before = view.scene.pose.toward_camera
    qtbot.mousePress(view, LEFT, pos=centre)
    qtbot.mouseMove(view, centre + QPoint(40, 0))
    qtbot.mouseRelease(view, LEFT, pos=centre + QPoint(40, 0))
    settle(desk, qtbot)
    assert not model.placed  # a drag turns the head
    assert before @ view.scene.pose.toward_camera < 0.999
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not model.placing
    assert view.cursor().shape() == Qt.CursorShape.ArrowCursor
    qtbot.mouseClick(view, LEFT, pos=centre)
    assert not model.placed

    place(desk, qtbot, "po-L")
    shown = view.grab().toImage()
    assert "placed by hand" in window.job_bar.note
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    settle(desk, qtbot)
    assert not model.placed
    assert panel.list.topLevelItem(0).text(1).startswith("automatic")
    assert view.grab().toImage() != shown


def test_exchanged_sides_are_asked_about_again(desk: Desk, qtbot, unsure: Unsure) -> None:
    show_unsure(desk, qtbot, unsure)
    model = desk.landmark_model
    for code, other in (("po-L", "po-R"), ("po-R", "po-L"), ("or-L", "or-R")):
        model.place(code, model.found[other].position)
    qtbot.mouseClick(desk.window.landmarks_panel.reconstruct, LEFT)
    settle(desk, qtbot)
    assert not desk.window.troubles
    assert "exchanged" in model.question.message
    assert desk.case.prepared is None
    assert desk.case.face is None
    assert model.found["po-L"].position[0] > model.found["po-R"].position[0] + 100


def test_points_are_saved_and_opened_again_and_a_bad_file_is_told(
    desk: Desk, qtbot, unsure: Unsure, tmp_path: Path, monkeypatch
) -> None:
    window, model, file = desk.window, desk.landmark_model, tmp_path / "points.json"
    show_unsure(desk, qtbot, unsure)
    for code in ("po-L", "po-R", "or-R"):
        choose(desk, qtbot, code)
        qtbot.mouseClick(window.landmarks_panel.accept, LEFT)
    monkeypatch.setattr(window, "ask_new_file", lambda *_: file)
    qtbot.mouseClick(window.landmarks_panel.save, LEFT)
    settle(desk, qtbot)
    assert read_landmarks(file) == model.placed
    assert file.name in window.job_bar.note

    bad = tmp_path / "bad.json"
    bad.write_text("[]", encoding="utf-8")
    monkeypatch.setattr(window, "ask_file", lambda *_: bad)
    window.commands["open_landmarks"].trigger()
    settle(desk, qtbot)
    assert desk.window.troubles.pop().message == "bad.json is not a landmarks file."
    assert set(model.placed) == {"po-L", "po-R", "or-R"}  # what there was is kept

    show_unsure(desk, qtbot, unsure)
    assert not model.placed
    monkeypatch.setattr(window, "ask_file", lambda *_: file)
    window.commands["open_landmarks"].trigger()
    settle(desk, qtbot)
    assert not desk.window.troubles
    assert model.file == file == desk.case.landmarks_file
    assert desk.case.prepared.frame.method == "given"
    assert not model.waiting
    assert window.commands["reconstruct"].isEnabled()


def test_more_points_are_behind_a_button(desk: Desk, qtbot, unsure: Unsure) -> None:
    panel = desk.window.landmarks_panel
    show_unsure(desk, qtbot, unsure)
    qtbot.mouseClick(panel.more, LEFT)
    assert panel.list.topLevelItemCount() == len(load_atlas().landmarks)
    choose(desk, qtbot, "me")
    view = desk.window.scene_view
    point = np.array(desk.landmark_model.point("me").position)
    x, y = view.scene.pose.pixel_of(point, (view.width(), view.height()))
    assert abs(x - view.width() / 2) < 1.5
    assert abs(y - view.height() / 2) < 1.5
    assert not view.scene.hides(point)
    qtbot.mouseClick(panel.more, LEFT)
    assert panel.list.topLevelItemCount() == 4
    assert panel.list.isVisible()
    assert view.scene.snapshot().markers
    qtbot.keyClick(desk.window, Qt.Key.Key_5, Qt.KeyboardModifier.ControlModifier)
    assert not panel.list.isVisible()
    assert not view.scene.snapshot().markers
