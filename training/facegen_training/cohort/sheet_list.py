"""Where contact sheets lie that are not among what was prepared: a list beside the key.

A sheet shows plain faces.  That of an encrypted cohort goes beside the key, and ``--sheet`` puts
one anywhere; wiping must find it.  Paths may hold names, so the list lies with the names, not in
the manifest.  One JSON object a line, appended; of a sheet the last line counts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from facegen_inference.errors import UserError
from facegen_training.cohort.arrays import cannot_write
from facegen_training.cohort.contact_sheet import SHEET


def sheet_list(key: Path) -> Path:
    """Return where the list lies for a key file."""
    return key.with_name(f"{key.name}.sheets.jsonl")


def default_sheet(key: Path, folder: Path) -> Path:
    """Return where the sheet of an encrypted cohort goes, unless another place is named."""
    return key.with_name(f"{folder.name}.{SHEET}")


def note_sheet(key: Path, sheet: Path, folder: Path) -> None:
    """Note where a sheet of a prepared folder lies, before it is written.

    Raises
    ------
    OutputError
        When that cannot be written.
    """
    if _noted(key).get(sheet.resolve()) == folder.resolve():
        return
    row = {"sheet": str(sheet.resolve()), "folder": str(folder.resolve())}
    place = sheet_list(key)
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, json.dumps(row).encode("ascii") + b"\n")
        finally:
            os.close(handle)
    except OSError as error:
        raise cannot_write(place.parent, error) from error


def noted_sheets(key: Path, folder: Path) -> list[Path]:
    """Return the sheets noted for a prepared folder, whether they are still there or not.

    A folder that was moved is known by its name, where nothing lies at its old place.

    Raises
    ------
    UserError
        When the list is damaged.
    """
    here = folder.resolve()
    return [
        sheet
        for sheet, other in _noted(key).items()
        if other == here or (other.name == here.name and not other.exists())
    ]


def is_anothers(key: Path, sheet: Path, folder: Path) -> bool:
    """Return whether a sheet is noted for another folder than this one."""
    known = _noted(key)
    return sheet.resolve() in known and sheet not in noted_sheets(key, folder)


def _noted(key: Path) -> dict[Path, Path]:
    """Return sheet → prepared folder; empty where there is no list."""
    place = sheet_list(key)
    try:
        rows = [json.loads(line) for line in place.read_text(encoding="ascii").splitlines()]
        return {Path(row["sheet"]): Path(row["folder"]) for row in rows}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "The list of contact sheets beside the key is damaged.",
            f"Restore {place.name} from a backup, or remove it and the sheets it names by hand.",
        ) from error
