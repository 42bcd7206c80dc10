"""Long work: everything arrives on the main thread, a cancelled job says nothing."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest

from facegen_app.errors import bug_report, trouble_of
from facegen_app.jobs import Handlers, Jobs
from facegen_inference.errors import OutputError, UserError


class Ears:
    """Writes down what a job says, and on which thread."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []
        self.threads: set[int] = set()
        self.ended = False

    def _hear(self, kind: str, value: object) -> None:
        self.heard.append((kind, value))
        self.threads.add(threading.get_ident())

    def _end(self) -> None:
        self.ended = True
        self.threads.add(threading.get_ident())

    @property
    def handlers(self) -> Handlers[object]:
        return Handlers(
            lambda result: self._hear("done", result),
            lambda error: self._hear("failed", error),
            lambda fraction, step: self._hear("progress", (fraction, step)),
            self._end,
        )

    def of(self, kind: str) -> list[object]:
        return [value for heard, value in self.heard if heard == kind]


@pytest.fixture
def jobs(qapp):
    made = Jobs()
    yield made
    assert made.stop()


def test_progress_and_result_arrive_on_the_main_thread(qtbot, jobs) -> None:
    ears = Ears()
    worker: list[int] = []

    def work(progress):
        worker.append(threading.get_ident())
        progress(0.5, "half way")
        return 42

    jobs.start(work, ears.handlers)
    qtbot.waitUntil(lambda: ears.ended, timeout=5000)
    assert ears.of("done") == [42]
    assert (0.5, "half way") in ears.of("progress")
    assert ears.threads == {threading.get_ident()}
    assert worker[0] != threading.get_ident()
    assert jobs.running == 0


@pytest.mark.parametrize("error", [UserError("No.", "Do."), ZeroDivisionError("x")])
def test_errors_arrive_as_they_were(qtbot, jobs, error) -> None:
    ears = Ears()

    def work(progress):
        raise error

    jobs.start(work, ears.handlers)
    qtbot.waitUntil(lambda: ears.ended, timeout=5000)
    assert ears.of("failed") == [error]
    assert not ears.of("done")


def test_a_cancelled_job_stops_and_says_nothing(qtbot, jobs) -> None:
    ears, steps = Ears(), []

    def work(progress):
        for step in range(10_000):
            steps.append(step)
            progress(step / 10_000, "at work")
            time.sleep(0.005)

    job = jobs.start(work, ears.handlers)
    qtbot.waitUntil(lambda: len(steps) > 3, timeout=5000)
    ears.heard.clear()
    job.cancel()
    qtbot.waitUntil(lambda: ears.ended, timeout=1000)
    assert len(steps) < 9_000
    assert not ears.heard


def test_a_result_that_comes_after_the_cancel_is_dropped(qtbot, jobs) -> None:
    ears, gate = Ears(), threading.Event()

    def work(progress):
        gate.wait(5)  # deaf: never reports, so never learns of the cancel
        return "late"

    job = jobs.start(work, ears.handlers)
    qtbot.wait(30)
    ears.heard.clear()
    job.cancel()
    gate.set()
    qtbot.waitUntil(lambda: ears.ended, timeout=5000)
    assert not ears.heard


def test_a_flood_of_progress_is_thinned_but_each_step_is_told(qtbot, jobs) -> None:
    ears = Ears()

    def work(progress):
        for n in range(20_000):
            progress(n / 20_000, "one" if n < 10_000 else "two")

    jobs.start(work, ears.handlers)
    qtbot.waitUntil(lambda: ears.ended, timeout=20_000)
    told = ears.of("progress")
    assert len(told) < 500
    assert {step for _, step in told} >= {"one", "two"}


def test_the_main_thread_goes_on_during_a_job(qtbot, jobs) -> None:
    """Heartbeat: pure Python work on the worker must not stop the window for 100 ms."""
    from PySide6.QtCore import QTimer

    ears, beats = Ears(), []
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start(10)

    def work(progress):
        end = time.perf_counter() + 0.8
        while time.perf_counter() < end:
            progress(0.5, "busy")
            sum(range(2000))

    jobs.start(work, ears.handlers)
    qtbot.waitUntil(lambda: ears.ended, timeout=10_000)
    timer.stop()
    gaps = sorted(b - a for a, b in pairwise(beats))
    assert gaps[len(gaps) * 9 // 10] < 0.1


def test_what_the_user_is_told() -> None:
    shown = trouble_of(OutputError("No room.", "Free some."))
    assert (shown.message, shown.advice, shown.report) == ("No room.", "Free some.", "")
    assert "memory" in trouble_of(MemoryError()).message
    bug = trouble_of(KeyError("x"))
    assert bug.report
    assert "report" in bug.advice


def test_advice_for_the_command_line_is_not_shown_in_the_window() -> None:
    shown = trouble_of(OutputError("The folder /x is not empty.", "Choose another with --out."))
    assert "--" not in shown.advice
    assert shown.advice


def test_a_bug_report_names_the_place_and_nobody() -> None:
    try:
        try:
            raise ValueError("cannot read /home/anna/DOE^JANE/scan.dcm of Jane Doe")
        except ValueError as error:
            raise TypeError("expected str, got int") from error
    except TypeError as error:
        report = bug_report(error)
    assert "TypeError: expected str, got int" in report
    assert "test_jobs.py" in report
    assert "ValueError" in report
    for private in ("DOE", "Jane", "anna", "/home"):
        assert private not in report
