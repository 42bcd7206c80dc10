"""Controllers alone, against views that only listen."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import pytest
from PySide6.QtWidgets import QLabel

from facegen_app.controllers.export import Export
from facegen_app.controllers.keeping import Keeping
from facegen_app.controllers.landmarks import Landmarks
from facegen_app.controllers.reconstruct import Reconstruct, request_of
from facegen_app.controllers.slices import Slices
from facegen_app.controllers.work import Work
from facegen_app.jobs import Jobs
from facegen_app.model.case import Case
from facegen_app.model.event import Event
from facegen_app.model.slices import SliceModel
from facegen_app.views.export_panel import ExportPanel
from facegen_app.views.face_panel import FacePanel
from facegen_app.views.job_bar import JobBar
from facegen_app.views.main_window import MainWindow
from facegen_app.views.profile_panel import Known, ProfilePanel
from facegen_app.views.slice_view import SliceView
from facegen_app.views.slices_panel import SlicesPanel
from facegen_inference.errors import UserError
from facegen_inference.reconstruct import Request
from facegen_inference.volume import Volume


class Work1:
    """Keeps what was started, to be run by the test when it likes."""

    def __init__(self) -> None:
        self.busy = False
        self.busy_changed = MagicMock()
        self.started: list[tuple[object, object]] = []

    def start(self, work, done, failed=None) -> None:
        self.started.append((work, done))


@pytest.fixture
def window() -> MagicMock:
    made = MagicMock(spec=MainWindow)
    made.commands = MagicMock()
    made.job_bar = MagicMock(spec=JobBar)
    made.export_panel = MagicMock(spec=ExportPanel)
    return made


@pytest.fixture
def panel() -> MagicMock:
    made = MagicMock(spec=SlicesPanel)
    made.slices = {name: MagicMock(spec=SliceView) for name in ("axial", "coronal", "sagittal")}
    return made


def test_the_request_is_what_stands_in_the_panel() -> None:
    request = request_of("tissue-depth", Known("female", 44, "thin"))
    assert (request.method, request.profile.sex, request.profile.age, request.profile.build) == (
        "tissue-depth", "female", 44.0, "thin",
    )  # fmt: skip
    assert request_of("neural", Known()).profile.age is None


@pytest.mark.parametrize(
    ("timings", "said"),
    [({"network": 4.0, "surface": 2.2, "neural": 0.3}, "in 6.5 s"), ({"neural": 0.01}, "fp32)")],
)
def test_the_whole_time_of_the_face_is_shown(window, made_up, timings, said) -> None:
    case = Case()
    window.face_panel = MagicMock(spec=FacePanel)
    window.profile_panel = MagicMock(spec=ProfilePanel)
    controller = Reconstruct(
        case, window, Work1(), MagicMock(), MagicMock(spec=Landmarks, changed=Event()),
        MagicMock(spec=Keeping),
    )  # fmt: skip
    case.set_face(replace(made_up.face, timings=timings), Request())
    assert controller is not None
    window.face_panel.show_device.assert_called_once()
    assert window.face_panel.show_device.call_args.args[0].endswith(said)


def test_results_are_offered_only_when_there_is_a_face(window, made_up) -> None:
    case = Case()
    export = Export(case, window, Work1())
    assert window.export_panel.set_ready.call_args.kwargs == {"picture": False, "results": False}
    export.ask_results()
    window.ask_folder.assert_not_called()
    case.set_prepared(made_up.prepared)
    assert window.export_panel.set_ready.call_args.kwargs == {"picture": True, "results": False}
    case.set_face(made_up.face, object())
    assert window.export_panel.set_ready.call_args.kwargs == {"picture": True, "results": True}


def test_results_go_to_a_new_folder_inside_the_chosen_one(window, made_up, tmp_path) -> None:
    case, work = Case(), Work1()
    export = Export(case, window, work)
    case.set_prepared(made_up.prepared)
    case.set_face(made_up.face, object())
    window.ask_folder.return_value = None
    export.ask_results()
    assert not work.started
    window.ask_folder.return_value = tmp_path
    export.ask_results()
    assert len(work.started) == 1
    told = []
    export.saved.connect(told.append)
    work.started[0][1](tmp_path / "made")
    window.export_panel.show_saved.assert_called_with(tmp_path / "made")
    assert told == [tmp_path / "made"]
    assert not list(tmp_path.glob("facegen-*"))  # nothing is written before the job runs


def test_slices_follow_the_model_and_the_model_the_mouse(panel) -> None:
    model = SliceModel()
    controller = Slices(model, panel)
    assert panel.slices["axial"].show_picture.call_args.args == (None,)
    array = np.zeros((10, 20, 30), np.int16)
    array[4, 5, 6] = 777
    model.set_volume(Volume(array, np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0],
                                             [0, 0, 0, 1]], float)))  # fmt: skip
    shown = panel.slices["axial"].show_picture.call_args.args[0]
    assert shown.grey.shape == (20, 30)
    assert shown.title == "Axial 5 / 10"  # the middle, 4.5, rounded to even
    controller._move("axial", 6.0, 5.0)
    assert model.cursor.tolist() == [4, 5, 6]
    assert panel.show_reading.call_args.args[0] == (777, 6.0, 5.0, 4.0)
    controller._read("axial", (-50.0, 0.0))
    assert panel.show_reading.call_args.args == (None,)


def test_a_later_job_replaces_the_one_that_runs(qtbot, window) -> None:
    import threading

    jobs = Jobs()
    work, gate, told = Work(jobs, window), threading.Event(), []

    def slow(progress):
        gate.wait(5)
        return "old"

    work.start(slow, told.append)
    work.start(lambda progress: "new", told.append)
    gate.set()
    qtbot.waitUntil(lambda: jobs.running == 0, timeout=5000)
    assert told == ["new"]
    assert not work.busy
    window.show_trouble.assert_not_called()


def test_an_error_is_shown_once_and_the_bar_is_cleared(qtbot, window) -> None:
    jobs, busy = Jobs(), []
    work = Work(jobs, window)
    work.busy_changed.connect(busy.append)

    def bad(progress):
        raise UserError("It cannot be read.", "Choose another.")

    work.start(bad, lambda result: pytest.fail("there is no result"))
    qtbot.waitUntil(lambda: jobs.running == 0, timeout=5000)
    assert window.show_trouble.call_args.args[0].message == "It cannot be read."
    assert busy == [True, False]
    window.job_bar.show_idle.assert_called_with()


def test_what_doubts_a_face_stands_in_the_window_in_full(qtbot) -> None:
    panel = FacePanel()
    qtbot.addWidget(panel)
    doubt = "Unlike the training people: " + 20 * "its face is small for its head; "
    panel.show_notes((doubt, 60 * "long ", "second", "third", "fourth"), (doubt,))
    shown = {label.text(): label for label in panel.findChildren(QLabel) if not label.isHidden()}
    assert shown[doubt].property("kind") == "warning"
    notes = next(text for text in shown if "second" in text)
    assert "third" not in notes
    assert "and 2 more (point here)" in notes
    assert "fourth" in shown[notes].toolTip()
    panel.show_notes(())
    assert shown[doubt].isHidden()
    assert shown[notes].isHidden()
