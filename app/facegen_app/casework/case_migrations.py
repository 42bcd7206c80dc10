"""From the layout of an older program to this one's, one version at a time.

A migration changes tables and rows and nothing else.  It ends in the layout that a new case of
its version has.  What it changed in rows is logged like any action, so that the log still tells
how the case came to be what it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from facegen_app.casework import case_schema
from facegen_app.casework.audit_log import Record, Who, append
from facegen_app.casework.case_state import State, differences, read_rows

Migration = Callable[[sqlite3.Connection], None]
MIGRATIONS: dict[int, Migration] = {}
"""Version → what leads from it to the next; empty as long as there is but one."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the layout that a case says it has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, who: Who) -> None:
    """Bring a case to this program's layout, inside the running transaction."""
    first = version_of(connection)
    before = _present_state(connection)
    for version in range(first, case_schema.VERSION):
        MIGRATIONS[version](connection)
    connection.execute(f"PRAGMA user_version = {case_schema.VERSION}")
    changes = differences(before, _present_state(connection))
    inputs: dict[str, object] = {"from": first, "to": case_schema.VERSION}
    append(connection, who, Record("event", "brought to a newer layout", inputs, changes))


def _present_state(connection: sqlite3.Connection) -> State:
    """Return the rows of those state tables that the layout of this moment has."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    return {
        table: read_rows(connection, table) for table in case_schema.STATE_TABLES if table in names
    }
