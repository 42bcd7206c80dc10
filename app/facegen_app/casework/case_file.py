"""A case file that is open: every action is stored and logged in one transaction as it happens.

There is nothing to save.  What an action returned from is on the disk; a killed program or a
power cut loses nothing of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from facegen_app.casework.audit_log import Entry, Record, Who, append, read_entry, read_log
from facegen_app.casework.case_connection import (
    leave_write_ahead,
    stray_files,
    transaction,
)
from facegen_app.casework.case_content import Content, keep, stored
from facegen_app.casework.case_errors import CaseReadOnly, damaged, named
from facegen_app.casework.case_history import history_of
from facegen_app.casework.case_lock import CaseLock
from facegen_app.casework.case_seal import break_open, close_with_seal
from facegen_app.casework.case_state import (
    Edit,
    Row,
    State,
    apply,
    read_row,
    read_rows,
    read_state,
)
from facegen_app.casework.case_steps import basis, step_states
from facegen_app.casework.local_disk import is_local_disk
from facegen_app.model.step_order import State as StepState

_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Action:
    """One thing the examiner does, undone and redone as one.

    Attributes
    ----------
    what
        Words for the log and for the menu: ``landmark moved``.
    edits
        The rows as they shall be, in order.
    inputs
        What it was done with, for the log: files, hashes, settings.
    done
        The step that it finishes, or None.
    basis
        Digest of what that step rested on when the work began; None for now.
    content
        Bytes that rows of `edits` name by their hash.
    """

    what: str
    edits: tuple[Edit, ...]
    inputs: dict[str, object] = field(default_factory=dict)
    done: str | None = None
    basis: str | None = None
    content: tuple[Content, ...] = ()


class CaseFile:
    """An open case; made by `facegen_app.casework.case_opening`.

    Attributes
    ----------
    path
        The file.
    who
        Who acts.
    read_only
        Whether it was opened for reading: then it shows the case as it was at that moment.
    in_memory
        Whether it is kept nowhere yet.
    notice
        A sentence for the examiner about how it was opened; empty where nothing is to be said.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        who: Who,
        lock: CaseLock | None,
        *,
        in_memory: bool = False,
    ) -> None:
        self.path, self.who, self.notice = path, who, ""
        self.in_memory = in_memory
        self.read_only = lock is None and not in_memory
        self._connection, self._lock = connection, lock
        self._writing = False
        rows = connection.execute("SELECT number, kind, of, what FROM audit ORDER BY number")
        self._history = history_of(rows)

    # what the case is

    def state(self) -> State:
        """Return every row of every state table."""
        with named(self.path):
            return read_state(self._connection)

    def rows(self, table: str) -> dict[str, Row]:
        """Return key → row of one state table."""
        with named(self.path):
            return read_rows(self._connection, table)

    def row(self, table: str, key: str) -> Row | None:
        """Return one row of a state table, or None."""
        with named(self.path):
            return read_row(self._connection, table, key)

    def steps(self) -> dict[str, StepState]:
        """Return step → state."""
        return step_states(self.state())

    def log(self) -> tuple[Entry, ...]:
        """Return the whole audit log."""
        with named(self.path):
            return read_log(self._connection)

    def content(self, sha256: str) -> bytes:
        """Return bytes that are kept under a hash.

        Raises
        ------
        CaseDamaged
            When they are not there, or are others.
        """
        with named(self.path):
            data = stored(self._connection, sha256)
        if data is None:
            raise damaged(self.path, f"content {sha256}")
        return data

    @property
    def undo_name(self) -> str | None:
        """What the next undo takes back, in words."""
        return next(iter(self.undo_names), None)

    @property
    def redo_name(self) -> str | None:
        """What the next redo does again, in words."""
        return next(iter(self.redo_names), None)

    @property
    def undo_names(self) -> list[str]:
        """What can be undone, in words, the next first."""
        return [what for _, what in reversed(self._history.done)]

    @property
    def redo_names(self) -> list[str]:
        """What can be redone, in words, the next first."""
        return [what for _, what in reversed(self._history.undone)]

    # what happens to it

    def act(self, action: Action) -> int | None:
        """Do something to the case; on return it is stored.

        Returns
        -------
        The number of its row in the log, or None where nothing would change.

        Raises
        ------
        CaseReadOnly
            When the case was opened for reading.
        CaseError
            When it cannot be stored: the case is as it was.
        """

        def act() -> Record | None:
            for content in action.content:
                keep(self._connection, content)
            changes = [apply(self._connection, edit) for edit in action.edits]
            if action.done is not None:
                now = action.basis or basis(read_state(self._connection), action.done)
                changes.append(apply(self._connection, Edit("steps", action.done, {"basis": now})))
            changes = [change for change in changes if change.before != change.after]
            return Record("action", action.what, action.inputs, changes) if changes else None

        return self._store(act)

    def undo(self) -> int | None:
        """Take the last action back; return the number of the undo in the log, None if none."""
        return self._turn("undo", self._history.done)

    def redo(self) -> int | None:
        """Do again what was taken back last; return its number in the log, None if none."""
        return self._turn("redo", self._history.undone)

    def note_event(self, what: str, inputs: dict[str, object] | None = None) -> None:
        """Log something that changes nothing of the case: a report written, a case verified."""
        self._store(lambda: Record("event", what, inputs or {}, []))

    def upgrade(self, migration: Callable[[sqlite3.Connection, Who], None]) -> None:
        """Change the layout of the case in one transaction; `migration` logs what it does."""
        self._begin_writing()
        with named(self.path), transaction(self._connection):
            migration(self._connection, self.who)

    def copy_to(self, other: sqlite3.Connection) -> None:
        """Write everything of the case, its log too, into an empty database."""
        self._connection.backup(other)

    def close(self) -> None:
        """Leave one sealed file behind, and let others work on it.

        Raises
        ------
        CaseError
            When it cannot be sealed; every action is stored nevertheless.
        """
        try:
            with named(self.path), closing(self._connection):
                if self._writing:
                    leave_write_ahead(self._connection)
            if self._writing and not stray_files(self.path):
                with named(self.path):
                    close_with_seal(self.path)
        finally:
            if self._lock is not None:
                self._lock.release()
            self._lock, self._writing = None, False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _turn(self, kind: Literal["undo", "redo"], stack: list[tuple[int, str]]) -> int | None:
        if not stack:
            return None
        number, what = stack[-1]

        def turn() -> Record:
            try:
                logged = read_entry(self._connection, number).changed()
                changes = [change.back for change in reversed(logged)] if kind == "undo" else logged
                edits = [Edit(change.table, change.key, change.after) for change in changes]
                fits = [apply(self._connection, edit) for edit in edits] == changes
            except (ValueError, TypeError, RecursionError) as error:  # a log that was tampered with
                raise damaged(self.path, error) from error
            if not fits:
                raise damaged(self.path, f"row {number} of the log does not fit the case")
            return Record(kind, what, {}, changes, number)

        return self._store(turn)

    def _store(self, work: Callable[[], Record | None]) -> int | None:
        """Run `work` and log what it returns in one transaction; nothing where it is None."""
        if self.read_only:
            raise CaseReadOnly(
                f"The case {self.path.name} was opened for reading only.", self.notice
            )
        self._begin_writing()
        with named(self.path), transaction(self._connection):
            record = work()
            if record is None:
                self._connection.execute("ROLLBACK")
                return None
            entry = append(self._connection, self.who, record)
        self._history.follow((entry.number, entry.kind, entry.of, entry.what))
        return entry.number

    def _begin_writing(self) -> None:
        """Break the seal before anything else changes, then choose how to write safely."""
        if self._writing or self.in_memory:
            return
        with named(self.path):
            with transaction(self._connection):
                break_open(self._connection)
            self._writing = True
            mode = "WAL" if is_local_disk(self.path) else "DELETE"
            self._connection.execute(f"PRAGMA journal_mode = {mode}")
