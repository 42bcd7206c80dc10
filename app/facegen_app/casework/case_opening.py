"""Make a case file, and open one: for work where that is possible, else for reading."""

from __future__ import annotations

import errno
import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from facegen_app.casework import case_schema
from facegen_app.casework.audit_log import Record, Who, append, this_user
from facegen_app.casework.case_connection import connect, open_for_work, tidy
from facegen_app.casework.case_errors import CaseError, CaseTooNew, damaged, named, not_a_case
from facegen_app.casework.case_file import CaseFile
from facegen_app.casework.case_lock import CaseLock, LockHeld
from facegen_app.casework.case_migrations import MIGRATIONS, migrate, version_of
from facegen_app.casework.case_seal import (
    break_open,
    close_with_seal,
    seal_state,
)

CHANGED_OUTSIDE = "opened although the file had been changed outside FaceGen"
NOT_CLOSED = "opened after the program had ended without closing the case"
_READ_ONLY_PLACE = "it lies where you cannot write; here it can be read only."


def case_in_memory(who: Who | None = None) -> CaseFile:
    """Return a new case that is kept nowhere; `create_case` can make a file of it."""
    user = who or this_user()
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _lay_out(connection, user)
    return CaseFile(Path(), connection, user, None, in_memory=True)


def create_case(path: Path, who: Who | None = None, *, content: CaseFile | None = None) -> CaseFile:
    """Make a new case and open it; the file appears whole or not at all.

    With `content` it begins with everything of that case, its log too.  Folders above it are made
    where missing.

    Raises
    ------
    CaseError
        When there is a file of that name, or none can be made there.
    """
    check_new(path)
    user = who or this_user()
    with named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = _take(path, user)
    if isinstance(lock, str):
        raise CaseError(f"The case {path.name} cannot be made: {lock}", "Choose another folder.")
    try:
        with named(path):
            _write_new(path, user, content)
        return _open_for_work(path, user, lock)
    except BaseException:
        lock.release()
        raise


def check_new(path: Path) -> None:
    """Refuse a name under which no case can be made.

    Raises
    ------
    CaseError
        When it does not end as a case does, or is taken.
    """
    if path.suffix != case_schema.SUFFIX:
        raise CaseError(
            f"{path.name} is no name for a case.", f"Let it end in {case_schema.SUFFIX}."
        )
    if path.exists():
        raise CaseError(f"There is a file {path.name} already.", "Open it, or take another name.")


def open_case(path: Path, who: Who | None = None, *, read_only: bool = False) -> CaseFile:
    """Open a case.

    It is opened for reading where somebody else works on it or where it cannot be written;
    `CaseFile.notice` says so.

    Raises
    ------
    NotACase, CaseTooNew, CaseDamaged
        When it cannot be read as a case of this program's version or an older one.
    CaseError
        When there is no file, or its disk does not answer.
    """
    user = who or this_user()
    if not path.is_file():
        raise CaseError(f"There is no case file {path}.", "Check its name and its disk.")
    if read_only:
        return _open_for_reading(path, user, "")
    lock = _take(path, user) if os.access(path, os.W_OK) else _READ_ONLY_PLACE
    if isinstance(lock, str):
        return _open_for_reading(path, user, f"The case {path.name} is not open for work: {lock}")
    try:
        return _open_for_work(path, user, lock)
    except BaseException:
        lock.release()
        raise


def check_is_case(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that is no case, of a newer program, or whose layout was changed.

    Raises
    ------
    NotACase, CaseTooNew, CaseDamaged
        As said.
    """
    if connection.execute("PRAGMA application_id").fetchone() != (case_schema.APPLICATION_ID,):
        raise not_a_case(path)
    version = version_of(connection)
    if version > case_schema.VERSION:
        raise CaseTooNew(
            f"The case {path.name} was written by a newer FaceGen.",
            "Update the program.",
            version=version,
            known=case_schema.VERSION,
        )
    if version == case_schema.VERSION:
        check_layout(connection, path)
    elif version not in MIGRATIONS:
        raise damaged(path, f"there is no layout {version}")


def check_layout(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse tables or triggers other than those of a case of this version."""
    if case_schema.schema_of(connection) != case_schema.expected_schema():
        raise damaged(path, "its tables are not those of a case")


def _take(path: Path, who: Who) -> CaseLock | str:
    """Take the lock of a case, or return why not, as the end of a sentence."""
    try:
        return CaseLock.take(path, who)
    except LockHeld as held:
        return f"it is open already, by {held}; here it can be read only."
    except PermissionError:
        return _READ_ONLY_PLACE
    except OSError as error:
        if error.errno == errno.EROFS:
            return _READ_ONLY_PLACE
        return "its disk does not let FaceGen keep others from it; here it can be read only."


def _lay_out(connection: sqlite3.Connection, who: Who) -> None:
    """Make an empty case in an empty database, its seal open."""
    connection.execute("BEGIN IMMEDIATE")
    case_schema.lay_out(connection)
    break_open(connection)
    inputs: dict[str, object] = {"case": str(uuid.uuid4()), "layout": case_schema.VERSION}
    append(connection, who, Record("event", "case made", inputs, []))
    connection.execute("COMMIT")


def _write_new(path: Path, who: Who, content: CaseFile | None) -> None:
    """Make a case beside its place and move it there."""
    building = path.with_name(f".{path.name}-part")
    building.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(building, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            if content is None:
                _lay_out(connection, who)
            else:
                content.copy_to(connection)
                break_open(connection)
        close_with_seal(building)
        building.replace(path)
        _sync_folder(path.parent)
    finally:
        building.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """See to it that a new name in a folder outlives a power cut, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open_for_work(path: Path, who: Who, lock: CaseLock) -> CaseFile:
    with named(path):
        with closing(connect(path, "rw")) as connection:
            check_is_case(connection, path)
            tidy(connection)
        seal = seal_state(path, "rw")
        connection = open_for_work(path)
        try:
            if seal != "sealed":
                _check_whole(connection, path)
            case = CaseFile(path, connection, who, lock)
            if version_of(connection) < case_schema.VERSION:
                case.upgrade(migrate)
                check_layout(connection, path)
            if seal == "broken":
                case.note_event(CHANGED_OUTSIDE)
                case.notice = (
                    f"The case {path.name} was changed outside FaceGen after it had been closed; "
                    "that is noted in its log."
                )
            elif seal == "open":
                case.note_event(NOT_CLOSED)
                case.notice = (
                    f"FaceGen had ended without closing the case {path.name}; "
                    "every finished action is here."
                )
        except BaseException:
            connection.close()
            raise
    return case


def _check_whole(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise damaged(path, verdict)


def _open_for_reading(path: Path, who: Who, notice: str) -> CaseFile:
    """Open the case as it is at this moment, in memory: nobody is kept from working on it."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        with named(path):
            with closing(connect(path, "ro")) as connection:
                check_is_case(connection, path)
                connection.backup(memory)
            if version_of(memory) < case_schema.VERSION:
                migrate(memory, who)
                check_layout(memory, path)
            case = CaseFile(path, memory, who, None)
    except BaseException:
        memory.close()
        raise
    case.notice = notice
    return case
