"""How SQLite is opened on a case, and brought to leave one file behind."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

_PATIENCE_SECONDS = 5.0


def connect(path: Path, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    """Open a case's database without trusting what a stranger may have written into it."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def open_for_work(path: Path) -> sqlite3.Connection:
    """Return a connection for which a commit means that the disk has it."""
    connection = connect(path, "rw")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    return connection


def leave_write_ahead(connection: sqlite3.Connection) -> None:
    """Bring everything into the one file; wait for readers, who are brief."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done inside, or take all of it back; may be rolled back inside."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        if connection.in_transaction:
            connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk has rolled it back already
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def tidy(connection: sqlite3.Connection) -> None:
    """Let SQLite remove a rollback journal that was begun and never needed; no byte changes."""
    if connection.execute("PRAGMA journal_mode").fetchone() == ("delete",):
        connection.execute("PRAGMA journal_mode = PERSIST")
        connection.execute("PRAGMA journal_mode = DELETE")


def stray_files(path: Path) -> list[Path]:
    """Return what lies beside a case that was not closed: its journal or write-ahead log."""
    names = (path.name + ending for ending in ("-wal", "-shm", "-journal"))
    return [path.with_name(name) for name in names if path.with_name(name).exists()]
