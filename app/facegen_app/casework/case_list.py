"""A text file that lists scans: each is worked through, what is done is skipped.

One path a line, relative to the list's own folder; blank lines and lines that start with ``#``
say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facegen_app.casework.export import REPORT_NAME
from facegen_app.casework.results import request_data
from facegen_app.casework.verify import read_result, verify_result
from facegen_inference.errors import UserError
from facegen_inference.provenance import program_version
from facegen_inference.reconstruct import Request

LIST_SUFFIXES = (".txt", ".lst", ".list")
_ENDINGS = re.compile(
    r"\.(nii\.gz|tar\.(gz|bz2|xz)|nii|nrrd|nhdr|mha|mhd|zip|tar|tgz|stl|ply|obj|dcm)$", re.I
)


@dataclass(frozen=True)
class Entry:
    """One scan of a list; `name` is its folder under the list's results."""

    name: str
    scan: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one scan of a list; `error` only where it failed."""

    entry: Entry
    state: Literal["done", "skipped", "failed"]
    error: UserError | None = None

    def as_data(self) -> dict[str, object]:
        """Return the outcome as plain data."""
        return {
            "name": self.entry.name,
            "scan": str(self.entry.scan),
            "state": self.state,
            "error": None if self.error is None else self.error.as_data(),
        }


def is_list(path: Path) -> bool:
    """Tell whether a path is a list of scans, by its suffix."""
    return path.suffix.lower() in LIST_SUFFIXES and path.is_file()


def read_list(path: Path) -> tuple[Entry, ...]:
    """Return the scans of a list, each with a folder name of its own.

    Raises
    ------
    UserError
        When the file cannot be read as text or lists nothing.
    """
    advice = "Write one path to a scan on each line; lines that start with # are left out."
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} is not a list of scans.", advice, reason=error) from error
    rows = [line.strip() for line in lines]
    scans = [path.parent / row for row in rows if row and not row.startswith("#")]
    if not scans:
        raise UserError(f"{path.name} lists no scan.", advice)
    entries: list[Entry] = []
    for scan in dict.fromkeys(scans):
        entries.append(Entry(_free_name(scan, {entry.name for entry in entries}), scan))
    return tuple(entries)


def _free_name(scan: Path, taken: set[str]) -> str:
    """Return a folder name for a scan: its own, with its parents' where that is taken."""
    parts = [_ENDINGS.sub("", scan.name), *(parent.name for parent in scan.parents)]
    for count in range(1, len(parts)):
        name = re.sub(r"[^\w.-]+", "_", "-".join(reversed(parts[:count]))).strip("._") or "scan"
        if name not in taken:
            return name
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"


def is_done(folder: Path, request: Request, *, report: bool = False) -> bool:
    """Tell whether a folder holds the answer to this request, all files unchanged.

    A result of another program version, of other settings or of a scan that has changed since
    does not count, nor one without a report where a `report` is wanted.
    """
    try:
        data = read_result(folder)
        program = data["program"]
        assert isinstance(program, dict)
        if program["version"] != program_version() or data["request"] != request_data(request):
            return False
        outputs = data["outputs"]
        assert isinstance(outputs, list)
        if report and all(row["name"] != REPORT_NAME for row in outputs):
            return False
        return all(file.state == "unchanged" for file in verify_result(folder))
    except UserError:
        return False


def work_through(
    entries: tuple[Entry, ...],
    out: Path,
    request: Request,
    work: Callable[[Entry, Path], None],
    tell: Callable[[Outcome], None],
    *,
    report: bool = False,
) -> tuple[Outcome, ...]:
    """Work through a list; a scan that fails does not stop the others.

    Parameters
    ----------
    out
        Each scan's results go to a folder of its own in here.
    request
        What is asked of every scan.
    work
        Does one scan into a folder; raises `UserError` where it cannot.
    tell
        Told what became of each.
    report
        Whether a scan counts as done only with a report.
    """
    outcomes = []
    for entry in entries:
        folder = out / entry.name
        if is_done(folder, request, report=report):
            outcome = Outcome(entry, "skipped")
        else:
            try:
                work(entry, folder)
                outcome = Outcome(entry, "done")
            except UserError as error:
                outcome = Outcome(entry, "failed", error)
        outcomes.append(outcome)
        tell(outcome)
    return tuple(outcomes)
