"""The case file: every action is stored, logged, and undone exactly."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cases import NOTE, made, raw

from facegen_app.casework import case_schema
from facegen_app.casework.audit_log import broken_at
from facegen_app.casework.case_actions import place_landmark, set_facts, set_setting, write_note
from facegen_app.casework.case_content import Content
from facegen_app.casework.case_data import CaseData
from facegen_app.casework.case_errors import (
    CaseDamaged,
)
from facegen_app.casework.case_file import Action
from facegen_app.casework.case_opening import create_case, open_case
from facegen_app.casework.case_seal import seal_state
from facegen_app.casework.case_state import Edit
from facegen_inference.landmarks import Landmark


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "k 7#ä.facegen"


# what is stored


def test_an_action_is_there_when_the_case_is_opened_again(path):
    made(path, NOTE, set_setting("bone_level_hu", 250.5, "bone threshold"))
    with open_case(path) as case:
        assert case.rows("notes") == {"1": {"step": "scan", "text": "A note."}}
        assert case.row("settings", "bone_level_hu") == {"value": 250.5}
        assert case.notice == ""
        first, second, third = case.log()
    assert (first.what, second.what, third.what) == ("case made", "note written", "bone threshold")
    assert (second.user, second.role, second.kind) == ("anna", "examiner", "action")
    assert second.at.endswith("+00:00")
    assert second.program
    assert third.before_sha256 == second.sha256
    assert broken_at((first, second, third)) is None


def test_one_file_is_left_that_is_known_by_its_header(path):
    made(path, NOTE)
    assert list(path.parent.iterdir()) == [path]
    header = path.read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == case_schema.APPLICATION_ID
    assert int.from_bytes(header[60:64], "big") == case_schema.VERSION
    assert header[18:20] == b"\x01\x01"  # no write-ahead log: readable from a read-only disk


def test_only_on_a_local_disk_is_there_a_write_ahead_log(path, monkeypatch):
    with create_case(path) as case:
        case.act(NOTE)
        assert path.with_name(path.name + "-wal").exists()
    monkeypatch.setattr("facegen_app.casework.case_file.is_local_disk", lambda _path: False)
    with open_case(path) as case:
        case.act(write_note("2", "scan", "Over the network."))
        assert not path.with_name(path.name + "-wal").exists()
        assert case._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert seal_state(path, "ro") == "sealed"
    with open_case(path) as case:
        assert len(case.rows("notes")) == 2


def test_opening_and_closing_changes_no_byte(path):
    made(path, NOTE)
    before = path.read_bytes()
    open_case(path).close()
    assert path.read_bytes() == before


def test_what_changes_nothing_is_not_logged(path):
    with create_case(path) as case:
        assert case.act(NOTE) == 2
        assert case.act(NOTE) is None
        assert case.act(write_note("9", "scan", " ")) is None
        assert len(case.log()) == 2


def test_content_is_kept_once_under_its_hash(path):
    mesh = Content("mesh", b"ply" * 1000)
    row = {"run": "1", "name": "face.ply", "sha256": mesh.sha256}
    two = [
        Action("kept", (Edit("meshes", key, row),), content=(mesh,)) for key in ("1/a", "2/a")
    ]  # fmt: skip
    made(path, *two)
    with open_case(path) as case:
        assert case.content(mesh.sha256) == mesh.data
        with pytest.raises(CaseDamaged):
            case.content("0" * 64)
    with closing(raw(path)) as connection:
        assert connection.execute("SELECT count(*) FROM content").fetchone() == (1,)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET what = 'nothing'",
        "DELETE FROM audit WHERE number = 2",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE number = 1",
        "UPDATE content SET bytes = 1",
        "DELETE FROM content",
    ],
)
def test_log_and_content_refuse_to_be_changed(path, sql):
    mesh = Content("mesh", b"ply")
    row = {"run": "1", "name": "face.ply", "sha256": mesh.sha256}
    made(path, Action("kept", (Edit("meshes", "1", row),), content=(mesh,)))
    with closing(raw(path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(sql)


def test_a_fault_of_the_program_leaves_the_case_as_it_was(path):
    with create_case(path) as case:
        case.act(NOTE)
        before = case.state()
        wrong = Edit("landmarks", "n", dict.fromkeys(("x_mm", "y_mm", "z_mm"), 0.0))
        with pytest.raises(ValueError, match="columns"):
            case.act(Action("wrong", (Edit("notes", "1", None), wrong)))
        far = place_landmark(Landmark("n", (float("nan"), 0.0, 0.0)))
        with pytest.raises(sqlite3.IntegrityError):
            case.act(far)
        assert case.state() == before
        assert len(case.log()) == 2


# undo and redo

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.builds(
    Landmark, st.sampled_from(("n", "po-L", "or-R")), st.tuples(NUMBERS, NUMBERS, NUMBERS),
    st.sampled_from(("manual", "automatic")), st.floats(0, 1),
)  # fmt: skip
ACTIONS = st.one_of(
    st.builds(write_note, st.sampled_from("abc"), st.sampled_from(("scan", "face")), WORDS),
    st.builds(place_landmark, POINTS),
    st.builds(set_facts, st.builds(CaseData, WORDS, WORDS)),
    st.builds(
        set_setting, st.sampled_from(("bone_level_hu", "crop", "source")),
        st.one_of(st.none(), NUMBERS, WORDS, st.integers(-(2**63), 2**63 - 1)), st.just("set"),
        done=st.sampled_from((None, "scan", "skull", "landmarks")),
    ),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(ACTIONS, st.sampled_from(("undo", "redo", "reopen"))), max_size=14))
def test_undo_and_redo_give_back_exactly_what_was(tmp_path_factory, orders):
    path = tmp_path_factory.mktemp("undo") / "a.facegen"
    case = create_case(path)
    past, future = [case.state()], []
    for order in orders:
        if order == "reopen":
            case.close()
            case = open_case(path)
        elif order == "undo":
            assert (case.undo() is not None) == (len(past) > 1)
            if len(past) > 1:
                future.append(past.pop())
        elif order == "redo":
            assert (case.redo() is not None) == bool(future)
            if future:
                past.append(future.pop())
        elif case.act(order) is not None:
            past.append(case.state())
            future.clear()
        assert case.state() == past[-1]
    log = case.log()
    case.close()
    assert broken_at(log) is None
    assert seal_state(path, "ro") == "sealed"


def test_undo_is_logged_and_history_is_never_erased(path):
    with create_case(path) as case:
        case.act(NOTE)
        assert (case.undo_name, case.redo_name) == ("note written", None)
        assert case.undo() == 3
        assert (case.undo_name, case.redo_name) == (None, "note written")
        assert case.undo() is None
        assert case.redo() == 4
        assert [(entry.kind, entry.of) for entry in case.log()] == [
            ("event", None), ("action", None), ("undo", 2), ("redo", 2),
        ]  # fmt: skip
