"""A case is opened in every condition it may be found in, or refused in one sentence."""

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
from made_cases import ANNA, NOTE, made, raw

from facegen_app.casework import case_migrations, case_opening, case_schema, local_disk
from facegen_app.casework.case_actions import write_note
from facegen_app.casework.case_errors import (
    CaseDamaged,
    CaseError,
    CaseReadOnly,
    CaseTooNew,
    NotACase,
)
from facegen_app.casework.case_opening import create_case, open_case
from facegen_app.casework.case_seal import seal_state
from facegen_app.casework.local_disk import file_system
from facegen_app.casework.verify_case import verify_case

DAMAGES = int(os.environ.get("FACEGEN_DAMAGES", "60"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "k 7#ä.facegen"


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
    for _ in range(DAMAGES):
        wrong = bytearray(content)
        for _ in range(chance.choice((1, 4, 40))):
            place = chance.randrange(chance.choice((200, len(wrong))))
            wrong[place : place + 8] = chance.randbytes(8)
        path.write_bytes(wrong)
        try:
            assert not verify_case(path).unchanged
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
