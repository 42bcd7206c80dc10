"""What ``facegen verify`` finds in a case file, and what only a statement kept elsewhere finds."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from facegen_app.casework.audit_log import Record, Who, append
from facegen_app.casework.case_actions import Source, choose_source, set_setting, write_note
from facegen_app.casework.case_connection import connect
from facegen_app.casework.case_content import Content
from facegen_app.casework.case_errors import CaseError
from facegen_app.casework.case_file import Action
from facegen_app.casework.case_opening import create_case, open_case
from facegen_app.casework.case_seal import break_open, close_with_seal, seal_state
from facegen_app.casework.case_state import Edit
from facegen_app.casework.results import Inputs
from facegen_app.casework.verify_case import verify_case
from facegen_app.cli import app
from facegen_inference.provenance import record_files

FLIPS = int(os.environ.get("FACEGEN_FLIPS", "300"))


def run(*words: object):
    return CliRunner().invoke(app, ["verify", *(str(word) for word in words)])


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    folder = tmp_path / "scan"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.dcm").write_bytes(bytes([number]) * 50)
    return folder


@pytest.fixture
def case(tmp_path: Path, scan: Path) -> Path:
    """A closed case with a scan, a mesh, notes and an undo."""
    path = tmp_path / "case" / "7.facegen"
    path.parent.mkdir()
    inputs = Inputs(scan, record_files(scan.iterdir(), scan))
    mesh = Content("mesh", random.Random(1).randbytes(20_000))
    row = {"run": "1", "name": "face.ply", "sha256": mesh.sha256}
    with create_case(path, Who("anna")) as opened:
        opened.act(choose_source(Source("dicom", inputs, "../scan", {"kind": "volume"})))
        opened.act(write_note("1", "scan", "long " * 9000))
        opened.act(set_setting("bone_level_hu", 250, "bone threshold", done="skull"))
        opened.undo()
        opened.act(Action("mesh kept", (Edit("meshes", "1/face.ply", row),), content=(mesh,)))
        opened.act(write_note("1", "scan", "short"))
    return path


def change(path: Path, *statements: str) -> None:
    """Change a case as somebody would who knows SQLite: guards down, change, guards up, seal."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        guards = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in guards:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in guards:
            connection.execute(sql)
        break_open(connection)
    close_with_seal(path)
    assert seal_state(path, "ro") == "sealed"


def test_a_case_that_nobody_touched_is_stated_to_be_so(case):
    before = case.read_bytes()
    done = run(case)
    assert done.exit_code == 0, done.output
    assert hashlib.sha256(before).hexdigest() in done.stdout
    assert "Every byte is as it was" in done.stdout
    assert "1 of 1 stored meshes and pictures are unchanged." in done.stdout
    assert "3 of 3 files of the scan are unchanged." in done.stdout
    assert "Nothing speaks against the case." in done.stdout
    assert case.read_bytes() == before
    assert list(case.parent.iterdir()) == [case]


def test_every_flipped_bit_is_found(case):
    change(
        case,
        "CREATE TABLE gone (x)",
        "INSERT INTO gone VALUES (randomblob(9000))",
        "DROP TABLE gone",
    )
    with closing(sqlite3.connect(case)) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone()[0] > 0
    content = case.read_bytes()
    with closing(connect(case, "ro")) as connection:
        (digest,) = connection.execute("SELECT digest FROM seal").fetchone()
    place = content.index(digest)
    chance = random.Random(7)
    bits = [chance.randrange(len(content) * 8) for _ in range(FLIPS)]
    bits += [byte * 8 + chance.randrange(8) for byte in (*range(100), *range(place, place + 32))]
    missed = []
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        case.write_bytes(flipped)
        try:
            found = not verify_case(case).unchanged
        except CaseError:
            found = True
        if not found:
            missed.append(bit)
        assert case.read_bytes() == flipped
    assert missed == []
    case.write_bytes(content)
    assert verify_case(case).unchanged


def test_bytes_added_or_taken_away_are_found(case):
    content = case.read_bytes()
    for other in (content + b"\0", content + bytes(4096), content[:-4096], content[:-1]):
        case.write_bytes(other)
        assert run(case).exit_code == 2


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE notes SET text = 'other'", "not what its log says"),
        ("DELETE FROM notes", "not what its log says"),
        ("UPDATE audit SET user = 'berta' WHERE number = 3", "does not hold at row 3"),
        ("UPDATE audit SET changes = '[]' WHERE number = 3", "does not hold at row 3"),
        ("DELETE FROM audit WHERE number = 4", "does not hold at row 4"),
        ("DELETE FROM audit WHERE number = 7", "not what its log says"),
        ("DELETE FROM content", "1/face.ply is missing"),
        ("UPDATE content SET deflated = x'00'", "1/face.ply is changed"),
        ("UPDATE content SET bytes = 1", "1/face.ply is changed"),
        ("INSERT INTO content VALUES ('a', 'mesh', 1, x'00')", "does not know"),
        ("UPDATE source_files SET sha256 = 'a'", "not what its log says"),
    ],
)
def test_who_forges_the_seal_but_not_the_log_is_found(case, statement, finding):
    change(case, statement)
    done = run(case)
    assert done.exit_code == 2, done.output
    assert finding in done.stdout


def test_a_row_that_is_chained_but_does_not_follow_is_found(case):
    with closing(sqlite3.connect(case, isolation_level=None)) as connection:
        append(connection, Who("berta"), Record("redo", "again", {}, [], 2))
        break_open(connection)
    close_with_seal(case)
    assert "do not follow from each other" in run(case).stdout


def test_a_case_forged_wholly_is_found_by_the_statement_alone(case, tmp_path):
    statement = tmp_path / "seal.json"
    assert run(case, "--seal", statement, "--role", "examiner").exit_code == 0
    assert json.loads(statement.read_text())["role"] == "examiner"
    assert run(case, "--against", statement).exit_code == 0
    assert run(case, "--seal", statement).exit_code == 2  # nothing is written over
    with open_case(case) as opened:
        opened.act(write_note("2", "scan", "later"))
    done = run(case, "--against", statement)
    assert done.exit_code == 2
    assert "Its log up to row 7 is the one sealed then." in done.stdout
    forged = tmp_path / "forged.facegen"
    with create_case(forged, Who("anna")) as opened:
        opened.act(write_note("1", "scan", "never written"))
    assert run(forged).exit_code == 0
    done = run(forged, "--against", statement)
    assert done.exit_code == 2
    assert "its log is another" in done.stdout
    assert run(forged, "--against", forged).exit_code == 2


def test_the_scan_is_checked_where_it_was_or_beside_the_case(case, scan, tmp_path):
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-moved")
    moved = tmp_path.parent / f"{tmp_path.name}-moved" / "case" / case.name
    shutil.rmtree(scan)
    assert "The input 0.dcm is missing." in run(case).stdout
    assert run(moved).exit_code == 0
    (moved.parent.parent / "scan" / "1.dcm").write_bytes(b"other")
    done = run(moved, "--json")
    assert done.exit_code == 2
    data = json.loads(done.stdout)
    assert data["faults"] == ["The input 1.dcm is changed."]
    assert data["unchanged"] is False
    assert data["seal"] == "sealed"


def test_a_case_in_use_or_not_closed_is_not_stated_to_be_unchanged(case):
    with open_case(case) as opened:
        opened.act(write_note("2", "scan", "now"))
        assert "open elsewhere" in run(case).stdout
        assert opened.act(write_note("3", "scan", "and now")) is not None
        for file in case.parent.iterdir():  # what a power cut would leave
            shutil.copyfile(file, case.parent.parent / file.name)
    assert run(case).exit_code == 0
    left = case.parent.parent / case.name
    done = run(left)
    assert done.exit_code == 2
    assert "has no seal" in done.stdout
    with open_case(left) as opened:
        assert "ended without closing" in opened.notice
        assert len(opened.rows("notes")) == 3
    done = run(left, "--json")
    assert "without closing" in json.loads(done.stdout)["notes"][0]


def test_a_change_from_outside_stays_a_fault_after_the_case_was_opened(case):
    with closing(sqlite3.connect(case, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 1")
    assert "not what it was when FaceGen last closed" in run(case).stdout
    open_case(case).close()
    done = run(case)
    assert done.exit_code == 2
    assert "changed outside FaceGen" in done.stdout


def test_what_is_no_case_is_refused(tmp_path):
    other = tmp_path / "x.facegen"
    other.write_bytes(b"no case")
    done = run(other)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is not a FaceGen case" in done.stderr
    assert run(tmp_path, "--seal", tmp_path / "s.json").exit_code == 2
