"""The window on a case file: nothing is lost by a kill, everything is undone, and it says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import window_worker
from PySide6.QtCore import Qt
from window_worker import what_is_there

from facegen_app.casework.case_opening import create_case, open_case
from facegen_app.casework.verify_case import verify_case
from facegen_app.desk import Desk, set_up
from facegen_app.errors import Trouble
from facegen_app.main import make_application

WAIT = 100_000
CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def troubles() -> list[Trouble]:
    return []


@pytest.fixture
def open_desk(qtbot, monkeypatch, troubles) -> Iterator[Callable[[], Desk]]:
    """Return a function that opens a window; what it complains of is collected."""
    desks: list[Desk] = []

    def make() -> Desk:
        make_application()
        desk = set_up()
        qtbot.addWidget(desk.window)
        monkeypatch.setattr(desk.window, "show_trouble", troubles.append)
        with qtbot.waitExposed(desk.window):
            desk.window.show()
        desk.window.activateWindow()
        qtbot.waitUntil(desk.window.isActiveWindow, timeout=WAIT)
        desks.append(desk)
        return desk

    yield make
    for desk in desks:
        desk.window.close()
        assert desk.jobs.stop()


def rest(desk: Desk, qtbot) -> None:
    qtbot.wait(5)
    qtbot.waitUntil(lambda: not desk.work.busy, timeout=WAIT)


def worked_and_killed(path: Path, scan: Path) -> dict[str, object]:
    """Let another program work a case in its window and kill it; return what it had there."""
    worker = subprocess.Popen(
        [sys.executable, window_worker.__file__, str(path), str(scan)], stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    line = worker.stdout.readline()
    worker.kill()
    worker.communicate(timeout=30)
    there = json.loads(line)
    assert isinstance(there, dict)
    return there


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
@pytest.mark.timeout(200)
def test_a_killed_window_comes_back_as_it_was_and_all_of_it_is_undone_and_redone(
    qtbot, open_desk, troubles, coarse_head, tmp_path
) -> None:
    path, scan = tmp_path / "a.facegen", tmp_path / "scan" / "head.nii"
    scan.parent.mkdir()
    scan.write_bytes(coarse_head.read_bytes())
    before = worked_and_killed(path, scan)
    assert before["states"]["face"] == "stale"  # its point was moved since
    assert before["placed"] == {"n": [1.0, -92.5, 31.25]}
    desk = open_desk()
    desk.case_files.open_path(path)
    rest(desk, qtbot)
    assert what_is_there(desk) == before
    assert desk.overlay.has_face
    assert ["had ended without closing" in one.message for one in troubles] == [True]
    assert desk.window.windowTitle().startswith("a.facegen")

    redone = [before]
    for undone in ("landmark placed", "face made", "profile set", "scan chosen"):
        assert desk.window.commands["undo"].text().endswith(undone)
        qtbot.keyClick(desk.window, Qt.Key.Key_Z, CONTROL)
        rest(desk, qtbot)
        redone.append(what_is_there(desk))
    assert [state["face"] is not None for state in redone] == [True, True, False, False, False]
    assert [state["waiting"] for state in redone] == [True, False, False, False, False]
    assert [state["profile"][1] for state in redone] == [44, 44, 44, None, None]
    assert redone[1]["states"]["face"] == "done"
    assert set(redone[4]["states"].values()) == {"not started"}
    assert redone[4]["scan"] is None
    assert not desk.window.commands["undo"].isEnabled()
    for state in redone[-2::-1]:
        qtbot.keyClick(desk.window, Qt.Key.Key_Z, CONTROL | SHIFT)
        rest(desk, qtbot)
        assert what_is_there(desk) == state
    assert not desk.window.commands["redo"].isEnabled()
    desk.window.close()
    verdict = verify_case(path)
    assert verdict.unchanged, verdict.faults

    scan.rename(tmp_path / "elsewhere.nii")
    troubles.clear()
    without = open_desk()
    without.case_files.open_path(path)
    rest(without, qtbot)
    assert [one.message for one in troubles] == [
        f"The scan of this case is not where it was: {scan.parent}."
    ]
    shown = what_is_there(without)
    gone = ("scan", "frame", "resting on", "points", "title")
    assert {k: v for k, v in shown.items() if k not in gone} == {
        k: v for k, v in before.items() if k not in gone
    }
    assert shown["points"]["po-L"] == before["points"]["po-L"]
    assert without.overlay.has_skull
    assert without.overlay.has_face
    assert not without.window.commands["save_results"].isEnabled()


def in_memory(desk: Desk, made_up) -> None:
    desk.case.set_scan(Path("made-up"), made_up.prepared.scan, made_up.inputs)
    desk.case.set_prepared(made_up.prepared)
    made_up.give_face(desk)


def test_what_is_there_is_kept_with_its_history(qtbot, open_desk, made_up, tmp_path) -> None:
    desk = open_desk()
    in_memory(desk, made_up)
    desk.landmark_model.place("po-L", (1.0, 2.0, 3.0))
    there = what_is_there(desk)
    desk.case_files.keep(tmp_path / "kept.facegen")
    assert {**what_is_there(desk), "title": ""} == {**there, "title": ""}
    assert desk.window.windowTitle() == "kept.facegen – made-up – FaceGen"
    assert not desk.window.commands["keep_case"].isEnabled()
    desk.case_files.undo()
    assert not desk.landmark_model.placed
    desk.window.close()
    with open_case(tmp_path / "kept.facegen", read_only=True) as case:
        assert case.redo_names == ["landmark placed", "case kept"]
        assert case.rows("landmarks")["po-L"]["provenance"] == "automatic"
        assert set(case.rows("runs")) == {"1"}
    assert verify_case(tmp_path / "kept.facegen").unchanged


def test_a_case_that_is_open_elsewhere_is_shown_and_left_as_it_is(
    qtbot, open_desk, troubles, tmp_path
) -> None:
    path = tmp_path / "b.facegen"
    with create_case(path) as elsewhere:
        desk = open_desk()
        desk.case_files.open_path(path)
        assert "it is open already" in troubles[0].message
        assert "read only" in desk.window.windowTitle()
        window_worker.type_age(desk, "44")
        assert "reading only" in troubles[1].message
        assert len(troubles) == 2
        assert desk.window.profile_panel.known().age is None
        assert not elsewhere.rows("profile")


def test_a_case_that_cannot_be_opened_leaves_what_is_there(
    open_desk, troubles, made_up, tmp_path
) -> None:
    desk = open_desk()
    in_memory(desk, made_up)
    there = what_is_there(desk)
    path = tmp_path / "c.facegen"
    path.write_bytes(b"no case at all, whatever it is called" * 100)
    desk.case_files.open_path(path)
    desk.case_files.begin(path)
    assert [one.message for one in troubles] == [
        "c.facegen is not a FaceGen case.", "There is a file c.facegen already.",
    ]  # fmt: skip
    assert what_is_there(desk) == there
