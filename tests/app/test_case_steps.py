"""What a change makes stale: everything that rests on it, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from facegen_app.casework.case_actions import (
    Run,
    add_run,
    finish_step,
    place_landmark,
    set_facts,
    set_landmarks,
    set_profile,
    set_setting,
    write_note,
)
from facegen_app.casework.case_data import CaseData
from facegen_app.casework.case_opening import create_case
from facegen_app.casework.case_schema import STATE_TABLES
from facegen_app.casework.case_steps import (
    STEPS,
    basis,
    basis_before,
    step_states,
)
from facegen_app.model.step_order import before, dependants
from facegen_inference.face import Profile
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmark

NASION = Landmark("n", (0.0, -80.0, 5.0))
MOVED = Landmark("n", (0.0, -80.5, 5.0), "manual")
NAMES = tuple(STEPS)


def run_of(case) -> Run:
    result = {"method": "mean-face", "device": "CPU", "seed": 0, "model": None}
    state = case.state()
    state["settings"]["request"] = {"value": "{}"}
    return Run(
        {}, result, basis_before(state, "face"), basis(state, "face"), {"face.ply": b"ply"}, {}
    )  # fmt: skip


@pytest.fixture
def case(tmp_path):
    """A case in which every step is done."""
    frame = Frame(np.eye(4), "landmarks", 1.0, 0.9)
    with create_case(tmp_path / "a.facegen") as opened:
        opened.act(set_setting("source", "a" * 64, "scan chosen", done="scan"))
        opened.act(set_setting("bone_level_hu", 250.0, "bone threshold", done="skull"))
        opened.act(set_landmarks({"n": NASION}, frame, (), {}))
        opened.act(set_profile(Profile("female", 40.0)))
        opened.act(add_run("1", run_of(opened)))
        opened.act(finish_step("review"))
        opened.act(finish_step("report"))
        assert set(opened.steps().values()) == {"done"}
        yield opened


def stale(case) -> list[str]:
    states = case.steps()
    assert list(states) == list(NAMES)
    assert set(states.values()) <= {"done", "stale"}
    return [name for name, state in states.items() if state == "stale"]


def test_a_new_case_has_begun_nothing(tmp_path):
    with create_case(tmp_path / "b.facegen") as opened:
        assert set(opened.steps().values()) == {"not started"}


def test_what_rests_on_what():
    assert before("report") == ("scan", "skull", "landmarks", "profile", "face", "review")
    assert before("profile") == ()
    assert dependants("profile") == ("face", "review", "report")
    assert dependants("report") == ()


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (set_setting("source", "b" * 64, "another scan"), NAMES[:3] + NAMES[4:]),
        (set_setting("source", "b" * 64, "another scan", done="scan"), NAMES[1:3] + NAMES[4:]),
        (set_setting("units", "mm", "units"), NAMES[:3] + NAMES[4:]),
        (set_setting("bone_level_hu", 300.0, "level"), ("skull", "landmarks", *NAMES[4:])),
        (set_setting("crop", "[0, 0, 0, 9, 9, 9]", "crop"), ("skull", "landmarks", *NAMES[4:])),
        (place_landmark(MOVED), ("landmarks", *NAMES[4:])),
        (set_setting("frame", "{}", "frame"), ("landmarks", *NAMES[4:])),
        (set_profile(Profile("male", 40.0)), NAMES[4:]),
        (set_setting("request", '{"seed":1}', "method chosen"), NAMES[4:]),
        (set_facts(CaseData(case_number="7")), ("report",)),
        (write_note("1", "scan", "seen"), ()),
    ],
)
def test_a_change_makes_stale_what_rests_on_it(case, action, expected):
    case.act(action)
    assert stale(case) == list(expected)
    case.undo()
    assert stale(case) == []


def test_what_is_as_it_was_is_not_stale(case):
    case.act(place_landmark(MOVED))
    assert stale(case)
    case.act(place_landmark(NASION))
    assert stale(case) == []


def test_a_step_cannot_be_done_over_one_that_is_not(case):
    case.act(place_landmark(MOVED))
    case.act(finish_step("face"))
    assert stale(case) == ["landmarks", "face", "review", "report"]
    case.act(finish_step("landmarks"))
    assert stale(case) == ["review", "report"]


def test_a_run_that_ends_after_a_change_is_kept_and_stale(case):
    late = run_of(case)
    case.act(place_landmark(MOVED))
    case.act(finish_step("landmarks"))
    case.act(add_run("2", late))
    assert case.steps()["face"] == "stale"
    assert set(case.rows("runs")) == {"1", "2"}
    now = basis_before(case.state(), "face")
    assert [row["rests_on"] == now for row in case.rows("runs").values()] == [False, False]
    case.act(add_run("3", run_of(case)))
    assert case.steps()["face"] == "done"
    assert case.rows("runs")["3"]["rests_on"] == now


def test_every_thing_of_a_case_is_somebodys_or_explicitly_nobodys(case):
    """A table that no step rests on could be changed and nothing would be stale."""
    owned = {table for step in STEPS.values() for table in step.tables}
    reached = {"settings", "sources", "source_files"}  # by the setting source, a digest of them
    silent = {"notes", "steps"}
    assert owned | reached | silent == set(STATE_TABLES)


def test_states_need_no_file():
    empty = {table: {} for table in STATE_TABLES}
    assert step_states(empty)["scan"] == "not started"


def test_unknown_settings_and_steps_are_refused():
    with pytest.raises(ValueError, match="no step"):
        set_setting("colour", 1, "colour")
    with pytest.raises(ValueError, match="no step"):
        write_note("1", "lunch", "x")
