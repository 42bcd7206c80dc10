"""Check a case file: every byte of it, its log, what the log says of it, and the scan beside it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from facegen_app.casework.audit_log import Entry, broken_at, read_log, this_user
from facegen_app.casework.case_connection import connect, stray_files
from facegen_app.casework.case_content import stored
from facegen_app.casework.case_errors import CaseDamaged, named
from facegen_app.casework.case_history import History
from facegen_app.casework.case_lock import CaseLock, LockHeld
from facegen_app.casework.case_opening import CHANGED_OUTSIDE, NOT_CLOSED, check_is_case
from facegen_app.casework.case_schema import STATE_TABLES, SUFFIX
from facegen_app.casework.case_seal import seal_state
from facegen_app.casework.case_state import Change, State, read_state, replay
from facegen_app.casework.verify import Checked, FileState, state_of
from facegen_inference.progress import Progress, part, silent
from facegen_inference.provenance import sha256_of

Seal = Literal["sealed", "open", "broken", "in use", "unreadable"]
_MAGIC = b"SQLite format 3\0"
_SEAL_FAULTS: dict[Seal, str] = {
    "open": "The case has no seal: FaceGen ended without closing it. Open it once and close it.",
    "broken": "The file is not what it was when FaceGen last closed the case.",
    "in use": "The case is open elsewhere, so that its bytes change. Close it and verify again.",
    "unreadable": "The file cannot be read as a case any more.",
}


@dataclass
class CaseVerdict:
    """What was found of a case file.

    Attributes
    ----------
    name, bytes, sha256
        The file as it is; anybody can check the digest with ``sha256sum``.
    seal
        Whether every byte is as it was when the case was last closed.
    rows, last_sha256, case
        Length of the log, its last hash, and the identifier the case was made with.
    faults
        Sentences; none where everything is as it was.
    notes
        Sentences about what the log tells that an expert should know; they are no faults.
    checked
        Every stored mesh and picture (``output``) and every file of the scans (``input``).
    """

    name: str
    bytes: int
    sha256: str
    seal: Seal
    rows: int = 0
    last_sha256: str = ""
    case: str = ""
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: list[Checked] = field(default_factory=list)

    @property
    def unchanged(self) -> bool:
        """Whether nothing speaks against the case."""
        return not self.faults

    def as_data(self) -> dict[str, object]:
        """Return the verdict as plain data."""
        own = {key: value for key, value in self.__dict__.items() if key != "checked"}
        files = [file.as_data() for file in self.checked]
        return {"unchanged": self.unchanged, **own, "files": files}


def is_case(path: Path) -> bool:
    """Tell whether a path is meant to be a case file, by its name or its first bytes."""
    if not path.is_file() or path.suffix == SUFFIX:
        return path.is_file()
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def verify_case(path: Path, progress: Progress = silent) -> CaseVerdict:
    """Check a case file without changing a byte of it.

    Raises
    ------
    NotACase, CaseTooNew
        When there is nothing of this program's to check.
    CaseError
        When the disk does not answer.
    """
    try:
        lock = CaseLock.take(path, this_user())
    except LockHeld:
        return _verdict(path, "in use", progress)
    except OSError:  # a disk that cannot be written, on which nobody works either
        return _verdict(path, None, progress)
    try:
        return _verdict(path, None, progress)
    finally:
        lock.release()


def _verdict(path: Path, seal: Seal | None, progress: Progress) -> CaseVerdict:
    progress(0.0, "reading the case")
    with named(path):
        # A reader in this process must not close the file while a window of it works on the case.
        digest = "" if seal == "in use" else sha256_of(path)
        size = path.stat().st_size
    verdict = CaseVerdict(path.name, size, digest, "unreadable")
    try:
        with named(path), closing(connect(path, "ro")) as connection:
            check_is_case(connection, path)  # before anything in it is believed
        verdict.seal = seal or _seal_of(path)
        with named(path), closing(connect(path, "ro")) as connection:
            (whole,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if whole != "ok":
                verdict.faults.append("The database inside the file does not hold together.")
            log, state = read_log(connection), read_state(connection)
            _check_log(log, state, verdict)
            _check_content(connection, log, verdict, part(progress, 0.1, 0.4))
        _check_inputs(path, state, verdict, part(progress, 0.4, 1.0))
    except CaseDamaged as error:
        verdict.faults.append(error.message)
    if verdict.seal != "sealed":
        verdict.faults.insert(0, _SEAL_FAULTS[verdict.seal])
    wrong = [file for file in verdict.checked if file.state != "unchanged"]
    verdict.faults += [f"The {file.kind} {file.name} is {file.state}." for file in wrong]
    progress(1.0, "checked")
    return verdict


def _seal_of(path: Path) -> Seal:
    try:
        with named(path):
            return "open" if stray_files(path) else seal_state(path, "ro")
    except CaseDamaged:
        return "unreadable"


def _check_log(log: tuple[Entry, ...], state: State, verdict: CaseVerdict) -> None:
    """Check the chain, and that the case is what its log says it became."""
    verdict.rows = len(log)
    place = broken_at(log)
    if not log or place is not None:
        verdict.faults.append(f"The chain of the log does not hold at row {place or 1}.")
        return
    verdict.last_sha256 = log[-1].sha256
    verdict.notes += [_note(entry) for entry in log if entry.what == NOT_CLOSED]
    verdict.faults += [_note(entry) for entry in log if entry.what == CHANGED_OUTSIDE]
    try:
        verdict.case = str(log[0].made_with()["case"])
        told = _told_by(log)
    except (ValueError, TypeError, KeyError, RecursionError):
        told = None
    if told is None:
        verdict.faults.append("The rows of the log do not follow from each other.")
    elif told != state:
        verdict.faults.append("The case is not what its log says it became.")


def _told_by(log: tuple[Entry, ...]) -> State | None:
    """Return the state that the log leads to, or None where a row could not come at its place."""
    state: State = {table: {} for table in STATE_TABLES}
    history, changed = History(), dict[int, list[Change]]()
    for entry in log:
        changes = changed[entry.number] = entry.changed()
        if not history.follow((entry.number, entry.kind, entry.of, entry.what)):
            return None
        if entry.of is not None:
            first = changed[entry.of]
            turned = [change.back for change in reversed(first)]
            if changes != (turned if entry.kind == "undo" else first):
                return None
        if not replay(state, changes):
            return None
    return state


def _note(entry: Entry) -> str:
    return f"Row {entry.number} of the log, {entry.at}, by {entry.user}: {entry.what}."


def _check_content(
    connection: sqlite3.Connection,
    log: tuple[Entry, ...],
    verdict: CaseVerdict,
    progress: Progress,
) -> None:
    """Check every mesh and picture that the log names, also those that were taken back."""
    wanted: dict[str, str] = {}
    for entry in log:
        try:
            for change in entry.changed():
                if change.table in ("meshes", "pictures") and change.after is not None:
                    wanted[str(change.after["sha256"])] = change.key
        except (ValueError, TypeError, KeyError, RecursionError):
            continue  # the log itself has been found faulty
    there = {str(key) for (key,) in connection.execute("SELECT sha256 FROM content")}
    for number, (sha256, name) in enumerate(wanted.items()):
        progress(number / len(wanted), "checking meshes and pictures")
        good = stored(connection, sha256) is not None
        found: FileState = "unchanged" if good else "changed" if sha256 in there else "missing"
        verdict.checked.append(Checked("output", name, found))
    if there - wanted.keys():
        verdict.faults.append("The case holds a mesh or picture that its log does not know.")


def _check_inputs(path: Path, state: State, verdict: CaseVerdict, progress: Progress) -> None:
    """Check the files of every scan, where it was or, moved along with the case, beside it."""
    files = list(state["source_files"].values())
    for number, row in enumerate(files):
        progress(number / len(files), "checking the scan")
        source = state["sources"].get(str(row["source"]), {})
        name, expected = str(row["name"]), str(row["sha256"])
        found = state_of(Path(str(source.get("path"))), name, expected)
        if found == "missing" and source.get("beside") is not None:
            found = state_of(path.parent / str(source["beside"]), name, expected)
        verdict.checked.append(Checked("input", name, found))
