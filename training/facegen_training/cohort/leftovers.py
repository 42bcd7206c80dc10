"""What earlier runs left of scans that are no longer in the cohort, and how it goes.

Arrays and pictures carry a scan's pseudonym; its record is named by where the scan lay.  The list
of names beside the key has a line of it as well.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from facegen_training.cohort.arrays import ENCRYPTED, PLAIN, this_host, writer_of
from facegen_training.cohort.key import Key
from facegen_training.cohort.names import tidy_names
from facegen_training.cohort.wipe import Wiped, wipe_files

RECORD = "scan-"
"""Start of the name of a worker's record."""
ABANDONED_S = 24 * 3600
"""A file half written on another machine, whose processes are not seen from here, counts as
abandoned when it has not grown for a day; writing one takes seconds."""


def left_behind(folder: Path, ids: Collection[str], records: Collection[str]) -> tuple[Path, ...]:
    """Return the files of scans that earlier runs prepared and this cohort no longer has.

    Parameters
    ----------
    folder
        Prepared people.
    ids
        Pseudonyms of the scans that are in the cohort.
    records
        Names of the records of what is in the cohort.
    """
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if (path.name.startswith("p-") and path.name.partition(".")[0] not in ids)
        or (path.name.startswith(RECORD) and path.suffix == ".json" and path.name not in records)
    )


def prune(left: Iterable[Path], key: Key) -> Wiped:
    """Wipe the files of `left_behind`, and take the lines of these scans off the list of names.

    A line stays while the scan is prepared on another grid in the same ``--out`` folder.

    Raises
    ------
    OutputError
        When something cannot be removed.
    """
    files = list(left)
    gone = {name for path in files for name in _scans_of(path)}
    elsewhere = {
        path.name.partition(".")[0]
        for folder in {path.parent for path in files}
        for path in folder.parent.glob("*/p-*")
        if path.parent != folder and path.name.endswith((PLAIN, ENCRYPTED))
    }
    tidy_names(key, gone - elsewhere)
    return wipe_files(files)


def _scans_of(path: Path) -> list[str]:
    """Return the pseudonyms of the scans that a file belongs to."""
    if not path.name.startswith(RECORD):
        return [path.name.partition(".")[0]]
    data = json.loads(path.read_text(encoding="utf-8"))
    return [str(row["id"]) for row in data["outcomes"]]


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that are no more have half written; foreign files stay."""
    for path in folder.glob(".*.part"):
        writer = writer_of(path)
        if writer is not None and not _may_live(path, *writer):
            path.unlink(missing_ok=True)


def _may_live(path: Path, host: str, process: int) -> bool:
    """Return whether the process that writes a file may still be there."""
    if host == this_host():
        return _alive(process)
    with suppress(FileNotFoundError):  # finished, and renamed, between two looks
        return time.time() - path.stat().st_mtime < ABANDONED_S
    return True


def _alive(process: int) -> bool:
    """Return whether a process is there."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
