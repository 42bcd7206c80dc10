"""The tables of a case file, version 1: what SQLite is told when a case is made.

State tables hold the case as it is now; each has the column ``key`` as primary key and is changed
through the log only.  ``content`` holds bytes under their hash, and ``audit`` every action since
the case was made: both refuse to be changed.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x46474346
"""``FGCF`` in the header of the file, by which it is known to be a case."""
VERSION = 1
"""Version of the layout, in the header as ``user_version``."""
SUFFIX = ".facegen"

STATE_TABLES = (
    "facts",
    "settings",
    "sources",
    "source_files",
    "landmarks",
    "profile",
    "runs",
    "meshes",
    "pictures",
    "notes",
    "steps",
)

SCHEMA = """
CREATE TABLE seal (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  digest BLOB NOT NULL CHECK (length(digest) = 32)
) STRICT;
CREATE TABLE audit (
  number INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  user TEXT NOT NULL,
  role TEXT NOT NULL,
  program TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('event', 'action', 'undo', 'redo')),
  of INTEGER,
  what TEXT NOT NULL,
  inputs TEXT NOT NULL,
  changes TEXT NOT NULL,
  before_sha256 TEXT NOT NULL,
  sha256 TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;
CREATE TRIGGER audit_is_never_shortened BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is never shortened'); END;
CREATE TRIGGER audit_only_grows BEFORE INSERT ON audit
WHEN NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM audit)
BEGIN SELECT RAISE(ABORT, 'the audit log only grows at its end'); END;
CREATE TABLE content (
  sha256 TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('mesh', 'picture')),
  bytes INTEGER NOT NULL,
  deflated BLOB NOT NULL
) STRICT;
CREATE TRIGGER content_is_never_changed BEFORE UPDATE ON content
BEGIN SELECT RAISE(ABORT, 'stored content is never changed'); END;
CREATE TRIGGER content_is_never_removed BEFORE DELETE ON content
BEGIN SELECT RAISE(ABORT, 'stored content is never removed'); END;
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE settings (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
CREATE TABLE sources (
  key TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  series_sha256 TEXT,
  path TEXT NOT NULL,
  beside TEXT,
  sha256 TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  geometry TEXT NOT NULL
) STRICT;
CREATE TABLE source_files (
  key TEXT PRIMARY KEY,
  source TEXT NOT NULL,
  name TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  sha256 TEXT NOT NULL
) STRICT;
CREATE TABLE landmarks (
  key TEXT PRIMARY KEY,
  x_mm REAL NOT NULL,
  y_mm REAL NOT NULL,
  z_mm REAL NOT NULL,
  provenance TEXT NOT NULL,
  confidence REAL NOT NULL
) STRICT;
CREATE TABLE profile (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
CREATE TABLE runs (
  key TEXT PRIMARY KEY,
  method TEXT NOT NULL,
  device TEXT NOT NULL,
  seed INTEGER NOT NULL,
  model_sha256 TEXT,
  rests_on TEXT NOT NULL,
  request TEXT NOT NULL,
  result TEXT NOT NULL
) STRICT;
CREATE TABLE meshes (
  key TEXT PRIMARY KEY,
  run TEXT NOT NULL,
  name TEXT NOT NULL,
  sha256 TEXT NOT NULL
) STRICT;
CREATE TABLE pictures (
  key TEXT PRIMARY KEY,
  run TEXT NOT NULL,
  name TEXT NOT NULL,
  caption TEXT NOT NULL,
  sha256 TEXT NOT NULL
) STRICT;
CREATE TABLE notes (key TEXT PRIMARY KEY, step TEXT NOT NULL, text TEXT NOT NULL) STRICT;
CREATE TABLE steps (key TEXT PRIMARY KEY, basis TEXT NOT NULL) STRICT;
"""


def lay_out(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty case inside the running transaction."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    for statement in _statements(SCHEMA):
        connection.execute(statement)


def schema_of(connection: sqlite3.Connection) -> set[str]:
    """Return the statements that made the tables, indices and triggers of a database."""
    rows = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {str(sql) for (sql,) in rows}


def expected_schema() -> set[str]:
    """Return what `schema_of` gives for a case that nobody has tampered with."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        lay_out(connection)
        return schema_of(connection)
    finally:
        connection.close()


def _statements(script: str) -> list[str]:
    """Cut a script into statements; those with a body between BEGIN and END stay whole."""
    statements, part = [], ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            statements.append(part.strip())
            part = ""
    return statements
