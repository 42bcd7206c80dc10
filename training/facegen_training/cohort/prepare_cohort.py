"""Prepare a lab's own scans: all cores, resumable, safe to kill, and no name in what is written.

One run finds the scans, hands them to workers (`facegen_training.cohort.one_scan`), and at the end
looks for people who stand in the cohort twice, draws the split, and writes manifest and contact
sheet.  Whatever a killed run has finished is kept; the next run ends in the same manifest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from facegen_inference.errors import UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.progress import Progress, part, silent
from facegen_training.cohort.arrays import cannot_write, write_whole
from facegen_training.cohort.contact_sheet import SHEET, sheet_html
from facegen_training.cohort.dataset import (
    MANIFEST,
    PREPARED_VERSION,
    Prepared,
    read_manifest,
    write_json,
)
from facegen_training.cohort.duplicates import Alike, find_alike, warnings_of
from facegen_training.cohort.exclude import read_exclusions
from facegen_training.cohort.find_scans import OWN_SOURCE, Candidate, find_places, survey
from facegen_training.cohort.key import SPLIT, Key
from facegen_training.cohort.leftovers import left_behind, remove_abandoned
from facegen_training.cohort.names import tidy_names
from facegen_training.cohort.one_scan import Outcome, Plan, prepare_candidate, record_name
from facegen_training.cohort.pool import each, worker_pool
from facegen_training.cohort.prepare import prepared_folder
from facegen_training.cohort.sheet_list import default_sheet, note_sheet
from facegen_training.cohort.sources import ALLOWED
from facegen_training.cohort.split import (
    Fractions,
    Split,
    draw_split,
    read_split,
    split_data,
)
from facegen_training.cohort.wipe import wipe_files


@dataclass(frozen=True)
class Wishes:
    """How a cohort is to be prepared.

    Attributes
    ----------
    spec
        The input grid.
    source
        Where the scans come from, unless a list says.
    fractions
        Of the split.
    encrypt
        Whether arrays and pictures are encrypted.
    retain_until
        Last day on which they may be used; None where none is set.
    workers
        Processes.
    sheet
        Where the contact sheet goes; None for beside the manifest, or beside the key when
        encrypted (it shows faces).
    """

    spec: PreprocessSpec = field(default_factory=PreprocessSpec)
    source: str = OWN_SOURCE
    fractions: Fractions = field(default_factory=Fractions)
    encrypt: bool = False
    retain_until: date | None = None
    workers: int = 1
    sheet: Path | None = None


@dataclass(frozen=True)
class Result:
    """What a run left behind.

    Attributes
    ----------
    manifest, sheet
        The files.
    failed
        Pseudonym of a scan → why it was refused.
    warnings
        Sentences about people who seem to stand in the cohort twice, or were moved.
    left
        Files of scans that are no longer in the cohort.
    """

    manifest: Path
    sheet: Path
    failed: dict[str, str]
    warnings: tuple[str, ...] = ()
    left: tuple[Path, ...] = ()


def prepare_cohort(
    cohort: Path,
    out: Path,
    key: Key | Callable[[], Key],
    wishes: Wishes,
    progress: Progress = silent,
) -> Result:
    """Prepare a lab's own scans.

    Parameters
    ----------
    cohort
        Folder, or list.
    out
        Where prepared people go, under the digest of the preprocessing.
    key
        The cohort's secret, or what reads or makes it, called once scans were found.
    wishes
        See there.
    progress
        Told after each scan.

    Raises
    ------
    UserError
        When the cohort holds no scan, a list is wrong, or key and earlier work do not fit.
    OutputError
        When `out` cannot be written to.
    """
    places = find_places(cohort, wishes.source)
    _check_sources({candidate.source for candidate in places.candidates} | {wishes.source})
    folder = prepared_folder(out, wishes.spec)
    wishes = _as_before(folder / MANIFEST, wishes)
    with worker_pool(wishes.workers) as pool:
        candidates = list(places.candidates)
        candidates += _surveyed(pool, places.folders, wishes.source)
        if not candidates:
            raise UserError(
                "There is no scan in the cohort.",
                "Give a folder with CT series (DICOM), NIfTI, NRRD or MHA files, or archives of "
                "such.",
            )
        key = key if isinstance(key, Key) else key()
        before = _earlier(folder, key)
        _make_folder(folder)
        plan = Plan(folder, wishes.spec, key, wishes.encrypt)
        outcomes = _worked(pool, candidates, plan, part(progress, 0.0, 0.9))
    tidy_names(key)
    progress(0.9, "looking for people who stand here twice")
    result = _finish(outcomes, _stated(candidates, key), plan, wishes, before)
    records = {record_name(candidate, key) for candidate in candidates}
    left = left_behind(folder, {outcome.id for outcome in outcomes}, records)
    return replace(result, left=left)


def _check_sources(names: Iterable[str]) -> None:
    """Refuse a lab's scans under a name that clears them for shipping."""
    for name in sorted(set(names) & set(ALLOWED)):
        raise UserError(
            f"{name} is a source on the list of those that may ship.",
            "Call your own data by another name, or prepare the project's cohort with --shipped.",
        )


def _make_folder(folder: Path) -> None:
    """Make the folder of what is prepared, and see that it can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
        remove_abandoned(folder)
    except OSError as error:
        raise cannot_write(folder.parent, error) from error


def _as_before(manifest: Path, wishes: Wishes) -> Wishes:
    """Return the wishes with what an earlier run promised: encryption, and a date to end."""
    if not manifest.exists():
        return wishes
    data = read_manifest(manifest)
    until = data.get("retain_until")
    if wishes.retain_until is None and until:
        wishes = replace(wishes, retain_until=date.fromisoformat(until))
        if wishes.retain_until is not None and wishes.retain_until < date.today():
            raise UserError(
                f"These people were to be kept until {until}.",
                "Wipe them with --wipe, or give a later date with --retain-until.",
            )
    return replace(wishes, encrypt=wishes.encrypt or bool(data.get("encrypted")))


def _earlier(folder: Path, key: Key) -> Split:
    """Return the split that is to be kept: this folder's, or that of another preprocessing."""
    places = [folder / SPLIT, *sorted(folder.parent.glob(f"*/{SPLIT}"))]
    parts: dict[str, str] = {}
    moved: dict[str, str] = {}
    for place in places:
        earlier = read_split(place, key)
        parts = {**earlier.parts, **parts}
        moved = {**earlier.moved, **moved}
    return Split(parts, moved=moved)


def _surveyed(
    pool: ProcessPoolExecutor, folders: Iterable[tuple[str, tuple[Path, ...]]], source: str
) -> list[Candidate]:
    """Return the DICOM series in folders, headers read in parallel."""
    tasks = [(label, files, source) for label, files in folders]
    found: list[Candidate] = []
    for _, result in each(pool, _survey, tasks):
        if isinstance(result, BaseException):
            raise result
        found += result
    return sorted(found, key=lambda candidate: candidate.label)


def _survey(task: tuple[str, tuple[Path, ...], str]) -> list[Candidate]:
    return survey(*task)


def _worked(
    pool: ProcessPoolExecutor, candidates: list[Candidate], plan: Plan, progress: Progress
) -> list[Outcome]:
    """Return what became of every candidate, by pseudonym."""
    outcomes: list[Outcome] = []
    faults: list[str] = []
    tasks = [(candidate, plan) for candidate in _largest_first(candidates)]
    for number, (task, result) in enumerate(each(pool, prepare_candidate, tasks), start=1):
        if isinstance(result, UserError):
            raise result
        if isinstance(result, BaseException):
            faults.append(_fault(task[0], result, plan.key))
        else:
            outcomes += result
        progress(number / len(tasks), f"{number} of {len(tasks)} scans")
    if faults:
        raise RuntimeError("; ".join(sorted(faults)))
    return sorted(outcomes, key=lambda outcome: outcome.id)


def _largest_first(candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates so that the last ones to be done are small ones."""

    def size(candidate: Candidate) -> int:
        return sum(file.stat().st_size for file in candidate.files if file.is_file())

    return sorted(candidates, key=lambda candidate: (-size(candidate), candidate.label))


def _fault(candidate: Candidate, error: BaseException, key: Key) -> str:
    """Describe a bug by where it is, not by its text, which may quote the scan."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place, trace = f"{Path(code.co_filename).name}:{trace.tb_lineno}", trace.tb_next
    name = key.scan(key.person(candidate.person), candidate.label)
    return f"{name}: {type(error).__name__} at {place}"


def _stated(candidates: list[Candidate], key: Key) -> dict[str, str]:
    """Return pseudonym → part of the people for whom a list says it."""
    stated: dict[str, str] = {}
    for candidate in candidates:
        person = key.person(candidate.person)
        if candidate.part and stated.setdefault(person, candidate.part) != candidate.part:
            raise UserError(
                f"The list puts {person} into {stated[person]} and {candidate.part}.",
                "One person, one part: mend the list.",
            )
    return stated


def _finish(
    outcomes: list[Outcome],
    stated: dict[str, str],
    plan: Plan,
    wishes: Wishes,
    before: Split,
) -> Result:
    """Look for duplicates, draw the split, and write split, manifest and contact sheet."""
    done = [outcome.prepared for outcome in outcomes if outcome.prepared is not None]
    failed = {outcome.id: outcome.reason for outcome in outcomes if outcome.prepared is None}
    rows = [{"id": p.id, "person": p.person} for p in done]
    out = read_exclusions(plan.folder, {"people": rows, "failed": failed})
    gone = [p for p in done if p.id in out or p.person in out]
    done = [p for p in done if p not in gone]
    found = find_alike(done, plan)
    pairs = [pair.people for pair in found if pair.two_names]
    people = sorted({person.person for person in done})
    split = draw_split(people, plan.key, wishes.fractions, stated, before, pairs)
    write_json(plan.folder / SPLIT, split_data(split, plan.key, wishes.fractions))
    done = [_with_twins(replace(p, part=split.parts[p.person]), found) for p in done]
    warnings = warnings_of(found) + split.warnings
    data: dict[str, Any] = {
        "spec": asdict(wishes.spec),
        "prepared_version": PREPARED_VERSION,
        "people": [asdict(person) for person in done],
        "failed": failed,
        "excluded": [
            {"id": p.id, "person": p.person, "reason": out.get(p.id) or out[p.person]} for p in gone
        ],
        "warnings": list(warnings),
        "key_id": plan.key.id,
        "encrypted": wishes.encrypt,
        "retain_until": wishes.retain_until.isoformat() if wishes.retain_until else None,
    }
    manifest = plan.folder / MANIFEST
    write_json(manifest, data)
    inside = plan.folder / SHEET
    usual = default_sheet(plan.key.path, plan.folder) if wishes.encrypt else inside
    sheet = wishes.sheet or usual
    if wishes.encrypt and inside.exists():
        wipe_files([inside])
    if sheet.resolve() != inside.resolve():
        note_sheet(plan.key.path, sheet, plan.folder)
    write_whole(sheet, sheet_html(data, done, plan).encode())
    return Result(manifest, sheet, failed, warnings)


def _with_twins(person: Prepared, found: list[Alike]) -> Prepared:
    """Return a scan with a flag for each other scan that it resembles, or should and does not."""
    flags = [pair.flag_of(person.id) for pair in found if person.id in pair.scans]
    return replace(person, flags=(*person.flags, *flags))
