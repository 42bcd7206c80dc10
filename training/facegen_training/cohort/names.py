"""The list beside the key that says who is who; only who may read the key may read it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection

from facegen_training.cohort.arrays import cannot_write
from facegen_training.cohort.key import Key

NAME_COLUMNS = ("pseudonym", "scan", "person", "place")


def note_name(row: tuple[str, str, str, str], key: Key) -> None:
    """Add a line (see `NAME_COLUMNS`), in one piece, whoever else writes at the same time.

    Raises
    ------
    OutputError
        When that cannot be written.
    """
    text = io.StringIO()
    csv.writer(text).writerow(row)
    line = text.getvalue().encode("utf-8", "surrogateescape")
    try:
        handle = os.open(key.names, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
    except OSError as error:
        raise cannot_write(key.names.parent, error) from error


def tidy_names(key: Key, without: Collection[str] = ()) -> int:
    """Sort the list and leave each line once.

    Parameters
    ----------
    key
        Beside which the list lies.
    without
        Pseudonyms of scans whose lines go.

    Returns
    -------
    How many lines of such scans went.

    Raises
    ------
    OutputError
        When the list cannot be written.
    """
    if not key.names.exists():
        return 0
    with key.names.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = {tuple(row) for row in csv.reader(file)} - {NAME_COLUMNS}
    kept = [row for row in sorted(rows) if len(row) < 2 or row[1] not in without]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(NAME_COLUMNS)
    writer.writerows(kept)
    handle, mode = key.names.with_name(f".{key.names.name}.part"), 0o600
    try:
        descriptor = os.open(handle, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as out:
            out.write(text.getvalue().encode("utf-8", "surrogateescape"))
        handle.replace(key.names)
    except OSError as error:
        raise cannot_write(key.names.parent, error) from error
    return len(rows) - len(kept)
