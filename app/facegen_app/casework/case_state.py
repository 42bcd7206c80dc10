"""The state of a case as plain rows, and how it is changed: forth, and exactly back again."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from facegen_app.casework.case_schema import STATE_TABLES

Cell = str | int | float | None
Row = dict[str, Cell]
State = dict[str, dict[str, Row]]
"""Table → key → row; a row holds every column but the key."""


@dataclass(frozen=True)
class Edit:
    """One row as it shall be; `row` None removes it."""

    table: str
    key: str
    row: Row | None


@dataclass(frozen=True)
class Change:
    """One row before and after; None where there was or is none."""

    table: str
    key: str
    before: Row | None
    after: Row | None

    @property
    def back(self) -> Change:
        """The change that undoes this one."""
        return Change(self.table, self.key, self.after, self.before)

    def as_list(self) -> list[object]:
        """Return the change for the log."""
        return [self.table, self.key, self.before, self.after]


def canonical(data: object) -> str:
    """Return data as JSON that is the same, letter for letter, for the same data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(data: object) -> str:
    """Return the SHA-256 of data, hexadecimal."""
    return hashlib.sha256(canonical(data).encode("ascii")).hexdigest()


def read_row(connection: sqlite3.Connection, table: str, key: str) -> Row | None:
    """Return one row, or None."""
    cursor = connection.execute(f"SELECT * FROM {_known(table)} WHERE key = ?", (key,))
    row = cursor.fetchone()
    names = [column[0] for column in cursor.description]
    return None if row is None else dict(zip(names[1:], row[1:], strict=True))


def read_rows(connection: sqlite3.Connection, table: str) -> dict[str, Row]:
    """Return key → row of a table, in the order of the keys."""
    cursor = connection.execute(f"SELECT * FROM {_known(table)} ORDER BY key")
    names = [column[0] for column in cursor.description]
    return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in cursor}


def read_state(connection: sqlite3.Connection) -> State:
    """Return everything the case consists of now."""
    return {table: read_rows(connection, table) for table in STATE_TABLES}


def apply(connection: sqlite3.Connection, edit: Edit) -> Change:
    """Write one row and return what changed, as the database gives it back.

    Raises
    ------
    ValueError
        For a table or column that a case does not have.
    """
    before = read_row(connection, edit.table, edit.key)
    if edit.row is None:
        connection.execute(f"DELETE FROM {edit.table} WHERE key = ?", (edit.key,))
        return Change(edit.table, edit.key, before, None)
    columns = _columns(connection, edit.table)
    if list(edit.row) != columns and set(edit.row) != set(columns):
        raise ValueError(f"{edit.table} has the columns {columns}, not {list(edit.row)}")
    marks = ", ".join("?" for _ in columns)
    connection.execute(
        f"INSERT INTO {edit.table} (key, {', '.join(columns)}) VALUES (?, {marks}) "
        f"ON CONFLICT (key) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in columns)}",
        (edit.key, *(edit.row[column] for column in columns)),
    )
    return Change(edit.table, edit.key, before, read_row(connection, edit.table, edit.key))


def replay(state: State, changes: Iterable[Change]) -> bool:
    """Apply changes to a state in memory; tell whether each found the row it says was before."""
    fits = True
    for change in changes:
        rows = state.setdefault(change.table, {})
        fits = fits and rows.get(change.key) == change.before
        if change.after is None:
            rows.pop(change.key, None)
        else:
            rows[change.key] = change.after
    return fits


def differences(before: State, after: State) -> list[Change]:
    """Return the changes that lead from one state to another."""
    return [
        Change(table, key, before.get(table, {}).get(key), after.get(table, {}).get(key))
        for table in STATE_TABLES
        for key in sorted(before.get(table, {}).keys() | after.get(table, {}).keys())
        if before.get(table, {}).get(key) != after.get(table, {}).get(key)
    ]


def _known(table: str) -> str:
    if table not in STATE_TABLES:
        raise ValueError(f"a case has no state table {table!r}")
    return table


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    cursor = connection.execute(f"SELECT * FROM {_known(table)} LIMIT 0")
    return [column[0] for column in cursor.description][1:]
