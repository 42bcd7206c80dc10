"""The case file: every action stored and logged, undone exactly, opened in every condition."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facegen_app.casework import case_migrations, case_opening, case_schema, local_disk
from facegen_app.casework.audit_log import Who, broken_at
from facegen_app.casework.case_actions import place_landmark, set_facts, set_setting, write_note
from facegen_app.casework.case_content import Content
from facegen_app.casework.case_data import CaseData
from facegen_app.casework.case_errors import (
    CaseDamaged,
    CaseError,
    CaseReadOnly,
    CaseTooNew,
    NotACase,
)
from facegen_app.casework.case_file import Action
from facegen_app.casework.case_opening import create_case, open_case
from facegen_app.casework.case_seal import seal_state
from facegen_app.casework.case_state import Edit
from facegen_app.casework.local_disk import file_system
from facegen_inference.landmarks import Landmark

ANNA = Who("anna", "examiner")
NOTE = write_note("1", "scan", "A note.")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "k 7#ä.facegen"


def made(path: Path, *actions: Action) -> Path:
    """Make a case in which actions were done, and close it."""
    with create_case(path, ANNA) as case:
        for action in actions:
            case.act(action)
    return path


def raw(path: Path) -> sqlite3.Connection:
    """Open the database as a stranger would."""
    return sqlite3.connect(path, isolation_level=None)


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


# opening


def test_a_second_process_reads_and_says_who_works(path):
    with create_case(path, ANNA) as case:
        case.act(NOTE)
        code = (
            "import sys; from pathlib import Path\n"
            "from facegen_app.casework.case_opening import open_case\n"
            "with open_case(Path(sys.argv[1])) as case:\n"
            "    print(case.read_only, case.notice, case.rows('notes')['1']['text'])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, check=False
        )
        said = done.stdout.decode(errors="replace")
        assert done.returncode == 0, done.stderr
        assert said.startswith("True The case")
        assert "open already, by anna on " in said
        assert "A note." in said
        case.act(write_note("2", "scan", "The first goes on."))
        with open_case(path) as second:  # another window of the same process
            assert second.read_only
            assert len(second.rows("notes")) == 2
            with pytest.raises(CaseReadOnly, match="for reading only"):
                second.act(NOTE)
        case.act(write_note("3", "scan", "And on."))
    with open_case(path) as case:
        assert not case.read_only
        assert len(case.rows("notes")) == 3


def test_what_a_killed_program_left_of_the_lock_hinders_nobody(path):
    made(path, NOTE)
    lock = path.with_name(path.name + "-lock")
    lock.write_bytes(b"\nberta on another computer")
    with open_case(path) as case:
        assert not case.read_only
    assert not lock.exists()


def test_a_case_that_cannot_be_written_is_read(path, monkeypatch):
    made(path, NOTE)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with open_case(path) as case:
        assert case.read_only
        assert "where you cannot write" in case.notice
        assert case.rows("notes")
    monkeypatch.undo()

    def refuse(*_args, **_kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("facegen_app.casework.case_lock.os.open", refuse)
    with open_case(path) as case:
        assert case.read_only
    with pytest.raises(CaseError, match="cannot be made"):
        create_case(path.with_name("new.facegen"))


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
def test_a_case_on_a_read_only_disk_is_read(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    made(disk / "a.facegen", NOTE)
    code = (
        "from pathlib import Path\n"
        "from facegen_app.casework.case_opening import open_case\n"
        "with open_case(Path('a.facegen')) as case:\n"
        "    print(case.read_only, case.rows('notes')['1']['text'], case.notice)\n"
    )
    words = (
        f"mount --bind {disk} {disk} && mount -o remount,bind,ro {disk} && cd {disk} && "
        'exec "$0" -c "$1"'
    )
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", words, sys.executable, code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no file system can be mounted here")
    assert done.stdout.startswith("True A note. The case a.facegen is not open"), done.stderr


@pytest.mark.parametrize("content", [b"", b"no case", b"SQLite format 3\0" + bytes(4080)])
def test_what_is_no_case_is_said_to_be_none(path, content):
    path.write_bytes(content)
    with pytest.raises(NotACase) as caught:
        open_case(path)
    assert str(caught.value).count(".") <= 4
    assert path.read_bytes() == content


def test_another_database_is_no_case(path):
    with closing(raw(path)) as connection:
        connection.execute("CREATE TABLE seal (digest)")
    with pytest.raises(NotACase):
        open_case(path)


def test_a_case_that_is_not_there(path):
    with pytest.raises(CaseError, match="There is no case file"):
        open_case(path)


def test_a_new_case_spares_what_is_there(path):
    made(path, NOTE)
    with pytest.raises(CaseError, match="already"):
        create_case(path)
    with pytest.raises(CaseError, match=r"Let it end in \.facegen"):
        create_case(path.with_suffix(".db"))


def test_a_newer_case_is_refused(path):
    made(path, NOTE)
    with closing(raw(path)) as connection:
        connection.execute(f"PRAGMA user_version = {case_schema.VERSION + 1}")
    with pytest.raises(CaseTooNew, match="newer FaceGen"):
        open_case(path)


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_case_cut_short_is_damaged(path, kept):
    made(path, *(write_note(str(n), "scan", "x" * 5000) for n in range(20)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CaseDamaged, match="is damaged"):
        open_case(path)
    assert not path.with_name(path.name + "-lock").exists()


def test_whatever_a_damaged_file_says_it_opens_with_a_notice_or_is_refused(path):
    made(path, *(write_note(str(n), "scan", "x" * 200 * n) for n in range(6)))
    content = path.read_bytes()
    chance = random.Random(11)
    opened, refusals = 0, []
    for _ in range(60):
        wrong = bytearray(content)
        for _ in range(chance.choice((1, 4, 40))):
            place = chance.randrange(chance.choice((200, len(wrong))))
            wrong[place : place + 8] = chance.randbytes(8)
        path.write_bytes(wrong)
        try:
            with open_case(path) as case:
                assert case.notice
                case.undo()
                case.steps()
            opened += 1
        except CaseError as error:
            refusals.append(error.message)
        assert not path.with_name(path.name + "-lock").exists()
    assert min(opened, len(refusals)) > 5
    assert all(sentence.endswith(".") for sentence in refusals)


def test_an_undo_refuses_a_log_that_does_not_fit(path):
    made(path, NOTE)
    with closing(raw(path)) as connection:
        connection.execute("UPDATE notes SET text = 'Another note.'")
    with open_case(path) as case, pytest.raises(CaseDamaged):
        case.undo()


def test_a_layout_that_never_was_is_damaged(path):
    made(path, NOTE)
    with closing(raw(path)) as connection:
        connection.execute("PRAGMA user_version = -7")
    with pytest.raises(CaseDamaged):
        open_case(path)


def test_many_cases_are_opened_and_closed_without_a_file_left_open(path):
    made(path, NOTE)
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("this system does not list open files")
    before = len(list(folder.iterdir()))
    for number in range(50):
        with open_case(path) as case, open_case(path) as second:
            assert second.read_only
            if number % 10 == 0:
                case.act(write_note("2", "scan", str(number)))
    assert len(list(folder.iterdir())) == before


def test_a_case_whose_guards_were_taken_away_is_damaged(path):
    made(path, NOTE)
    with closing(raw(path)) as connection:
        connection.execute("DROP TRIGGER audit_is_never_changed")
    with pytest.raises(CaseDamaged):
        open_case(path)


def test_a_change_from_outside_is_noted_for_ever(path):
    made(path, NOTE)
    with closing(raw(path)) as connection:
        connection.execute("UPDATE notes SET text = 'Another note.'")
    assert seal_state(path, "ro") == "broken"
    with open_case(path) as case:
        assert "changed outside FaceGen" in case.notice
    with open_case(path) as case:
        assert case.notice == ""
        assert case.log()[-1].what == case_opening.CHANGED_OUTSIDE


def test_a_full_disk_loses_the_last_action_only(path):
    with create_case(path) as case:
        case.act(NOTE)
        pages = case._connection.execute("PRAGMA page_count").fetchone()[0]
        case._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(CaseError, match="not enough room"):
            case.act(write_note("2", "scan", "x" * 100_000))
        assert list(case.rows("notes")) == ["1"]
        case._connection.execute("PRAGMA max_page_count = 1000000")
        assert case.act(write_note("2", "scan", "x" * 100_000)) == 3
    with open_case(path) as case:
        assert case.notice == ""
        assert len(case.rows("notes")) == 2


@pytest.mark.skipif(os.name != "posix", reason="limits as POSIX does")
def test_a_disk_that_takes_no_more_is_said_to_be_full(path):
    made(path, NOTE)
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from facegen_app.casework.case_actions import write_note\n"
        "from facegen_app.casework.case_errors import CaseError\n"
        "from facegen_app.casework.case_opening import open_case\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "case = open_case(Path(sys.argv[1]))\n"
        "case.act(write_note('2', 'scan', 'kept'))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n"
        "    case.act(write_note('3', 'scan', 'x' * 500_000))\n"
        "except CaseError as error:\n"
        "    print(error)\n"
        "case.act(write_note('4', 'scan', 'kept too'))\n"
        "case.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".") >= 2
    with open_case(path) as case:
        assert case.notice == ""
        assert list(case.rows("notes")) == ["1", "2", "4"]


# what becomes of older cases


def test_an_older_case_is_brought_along_and_that_is_logged(path, monkeypatch):
    made(path, NOTE)
    old = path.with_name("old.facegen")
    shutil.copyfile(path, old)
    monkeypatch.setattr(case_schema, "VERSION", case_schema.VERSION + 1)
    plain = "CREATE TABLE notes (key TEXT PRIMARY KEY, step TEXT NOT NULL, text TEXT NOT NULL)"
    signed = plain.replace("text TEXT NOT NULL", "text TEXT NOT NULL, author TEXT NOT NULL")
    assert plain in case_schema.SCHEMA
    monkeypatch.setattr(case_schema, "SCHEMA", case_schema.SCHEMA.replace(plain, signed))

    def sign(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE notes RENAME TO old_notes")
        connection.execute(f"{signed} STRICT")
        connection.execute("INSERT INTO notes SELECT key, step, text, 'unknown' FROM old_notes")
        connection.execute("DROP TABLE old_notes")

    monkeypatch.setitem(case_migrations.MIGRATIONS, case_schema.VERSION - 1, sign)
    with open_case(path) as case:
        assert case.row("notes", "1") == {"step": "scan", "text": "A note.", "author": "unknown"}
        assert case.log()[-1].what == "brought to a newer layout"
        assert case.log()[-1].changed()[0].after == case.row("notes", "1")
    with open_case(path) as case:
        assert len(case.log()) == 3
    before = old.read_bytes()
    with open_case(old, read_only=True) as case:
        assert case.row("notes", "1")["author"] == "unknown"
    assert old.read_bytes() == before


# the disk


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path):
    mounts = tmp_path / "mountinfo"
    root = tmp_path / "a b"
    (root / "share").mkdir(parents=True)
    spelled = str(root).replace(" ", "\\040")
    mounts.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda rw\n"
        f"23 22 0:40 / {spelled} rw shared:1 - tmpfs none rw\n"
        f"24 23 0:41 / {spelled}/share rw - nfs4 server:/x rw\n"
    )
    assert file_system(tmp_path, mounts) == "ext4"
    assert file_system(root / "k.facegen", mounts) == "tmpfs"
    assert file_system(root / "share" / "k.facegen", mounts) == "nfs4"
    assert file_system(tmp_path, tmp_path / "none") == ""
    assert "nfs4" not in local_disk._LOCAL
