"""Small cases for tests, and the way a stranger opens them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from facegen_app.casework.audit_log import Who
from facegen_app.casework.case_actions import write_note
from facegen_app.casework.case_file import Action
from facegen_app.casework.case_opening import create_case

ANNA = Who("anna", "examiner")
NOTE = write_note("1", "scan", "A note.")


def made(path: Path, *actions: Action) -> Path:
    """Make a case in which actions were done, and close it."""
    with create_case(path, ANNA) as case:
        for action in actions:
            case.act(action)
    return path


def raw(path: Path) -> sqlite3.Connection:
    """Open the database as a stranger would."""
    return sqlite3.connect(path, isolation_level=None)
