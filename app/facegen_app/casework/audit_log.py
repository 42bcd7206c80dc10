"""The append-only log of a case: each row's hash covers its content and the hash before it.

A row that is changed, left out or moved breaks the chain at that place.  Whoever rewrites every
row after it can forge a chain that holds; against that stands the seal, kept outside the file.
"""

from __future__ import annotations

import datetime
import getpass
import json
import sqlite3
from dataclasses import dataclass
from typing import Literal

from facegen_app.casework.case_state import Change, canonical, digest_of
from facegen_inference.provenance import program_version

Kind = Literal["event", "action", "undo", "redo"]
START = "0" * 64
"""What the first row has for the hash before it."""
_COLUMNS = "number, at, user, role, program, kind, of, what, inputs, changes, before_sha256, sha256"


@dataclass(frozen=True)
class Who:
    """Who acts: the operating system's user, and the role in the laboratory as entered."""

    user: str
    role: str = ""


def this_user(role: str = "") -> Who:
    """Return who is logged in to the operating system, ``unknown`` where it does not say."""
    try:
        return Who(getpass.getuser(), role)
    except (OSError, KeyError, ImportError):
        return Who("unknown", role)


@dataclass(frozen=True)
class Entry:
    """One row of the log.

    Attributes
    ----------
    number
        1 for the first; without gaps.
    at
        UTC, ISO 8601 with milliseconds, by this computer's clock.
    user, role, program
        Who, and with which version of FaceGen.
    kind
        ``action``, ``undo``, ``redo``, or ``event`` for what changes no state.
    of
        The action that an undo or redo is about.
    what
        What was done, in words.
    inputs, changes
        JSON: what it was done with, and the rows before and after.
    before_sha256, sha256
        The chain, hexadecimal.
    """

    number: int
    at: str
    user: str
    role: str
    program: str
    kind: Kind
    of: int | None
    what: str
    inputs: str
    changes: str
    before_sha256: str
    sha256: str

    def changed(self) -> list[Change]:
        """Return the rows before and after.

        Raises
        ------
        ValueError, TypeError
            When the text is not what `append` writes.
        """
        return [Change(*row) for row in json.loads(self.changes)]

    def made_with(self) -> dict[str, object]:
        """Return the inputs.

        Raises
        ------
        ValueError
            When the text is not what `append` writes.
        """
        return dict(json.loads(self.inputs))

    @property
    def expected_sha256(self) -> str:
        """The hash that the row's content and the hash before it should give."""
        return digest_of(
            [
                self.number, self.at, self.user, self.role, self.program, self.kind, self.of,
                self.what, self.inputs, self.changes, self.before_sha256,
            ]
        )  # fmt: skip


@dataclass(frozen=True)
class Record:
    """What shall be logged; `of` only for an undo or redo."""

    kind: Kind
    what: str
    inputs: dict[str, object]
    changes: list[Change]
    of: int | None = None


def append(connection: sqlite3.Connection, who: Who, record: Record) -> Entry:
    """Add a row at the end of the log, inside the running transaction."""
    last = connection.execute(
        "SELECT number, sha256 FROM audit ORDER BY number DESC LIMIT 1"
    ).fetchone()
    number, before = (0, START) if last is None else last
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    changes = canonical([change.as_list() for change in record.changes])
    open_entry = Entry(
        number + 1, at, who.user, who.role, program_version(), record.kind, record.of,
        record.what, canonical(record.inputs), changes, before, "",
    )  # fmt: skip
    values = {**open_entry.__dict__, "sha256": open_entry.expected_sha256}
    marks = ", ".join("?" for _ in values)
    connection.execute(f"INSERT INTO audit ({_COLUMNS}) VALUES ({marks})", tuple(values.values()))
    return Entry(**values)


def read_log(connection: sqlite3.Connection) -> tuple[Entry, ...]:
    """Return every row, the first first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM audit ORDER BY number")
    return tuple(Entry(*row) for row in rows)


def read_entry(connection: sqlite3.Connection, number: int) -> Entry:
    """Return one row that is known to be there."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM audit WHERE number = ?", (number,)).fetchone()
    return Entry(*row)


def broken_at(entries: tuple[Entry, ...]) -> int | None:
    """Return the number of the first row at which the chain does not hold, or None."""
    before = START
    for place, entry in enumerate(entries, start=1):
        linked = entry.number == place and entry.before_sha256 == before
        if not linked or entry.sha256 != entry.expected_sha256:
            return place
        before = entry.sha256
    return None
