"""One scan of a lab, in a worker: read, checked, preprocessed, written; or the reason why not.

What is written here carries pseudonyms only.  Real names go to the list beside the key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facegen_inference.archive import is_archive, unpacked
from facegen_inference.craniometry import locate
from facegen_inference.errors import OutputError, UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.progress import silent
from facegen_inference.provenance import combined_sha256, program_version, record_files
from facegen_inference.scan import Scan, open_scan, read_dicom
from facegen_inference.skull import bone_only, make_skull
from facegen_inference.volume import Volume
from facegen_training.cohort import checks
from facegen_training.cohort.array_cache import StoredArray
from facegen_training.cohort.arrays import (
    PLAIN,
    SEALED,
    decrypted,
    encrypted,
    packed,
    write_whole,
)
from facegen_training.cohort.dataset import PREPARED_VERSION, Prepared, write_json
from facegen_training.cohort.find_scans import Candidate, search_folder, survey
from facegen_training.cohort.key import Key
from facegen_training.cohort.leftovers import RECORD
from facegen_training.cohort.names import note_name
from facegen_training.cohort.pictures import PICTURE, strip_of
from facegen_training.cohort.prepare import fields_of
from facegen_training.cohort.redact import without_names


@dataclass(frozen=True)
class Plan:
    """What every worker must know.

    Attributes
    ----------
    folder
        Where prepared people go.
    spec
        The input grid.
    key
        The cohort's secret.
    encrypt
        Whether arrays and pictures are encrypted.
    """

    folder: Path
    spec: PreprocessSpec
    key: Key
    encrypt: bool = False

    def write(self, name: str, ending: str, data: bytes) -> bytes:
        """Write one file of a scan, encrypted where wished, and return what was written."""
        path = self.place(name, ending)
        if self.encrypt:
            data = encrypted(data, _sealed(name, ending), self.key)
            (self.folder / f"{name}{ending}").unlink(missing_ok=True)
        write_whole(path, data)
        return data

    def place(self, name: str, ending: str) -> Path:
        """Return where a file of a scan lies."""
        return self.folder / f"{name}{ending}{SEALED if self.encrypt else ''}"

    def holds(self, name: str) -> bool:
        """Return whether a scan's files are there."""
        return all(self.place(name, ending).is_file() for ending in (PLAIN, PICTURE))

    def read(self, person: Prepared) -> NDArray[np.int16]:
        """Return a prepared scan's array; see `facegen_training.cohort.duplicates.Reader`."""
        key = self.key if self.encrypt else None
        path = self.place(person.id, PLAIN)
        return StoredArray(path, person.id, person.prepared_sha256, key).read()

    def picture(self, name: str) -> bytes:
        """Return a scan's strip of pictures, JPEG."""
        data = self.place(name, PICTURE).read_bytes()
        return decrypted(data, _sealed(name, PICTURE), self.key) if self.encrypt else data


def _sealed(name: str, ending: str) -> str:
    """Return the name that an encrypted file is bound to."""
    return name if ending == PLAIN else f"{name}{ending}"


@dataclass(frozen=True)
class Outcome:
    """What became of one scan; `prepared` lacks its part, which is drawn later.

    Attributes
    ----------
    id, person
        Pseudonyms of scan and person.
    prepared
        None where the scan was refused.
    reason
        Why, without names; empty where it was not.
    """

    id: str
    person: str
    prepared: Prepared | None = None
    reason: str = ""


def prepare_candidate(task: tuple[Candidate, Plan]) -> list[Outcome]:
    """Prepare a candidate, or return what became of it before.

    Raises
    ------
    OutputError
        When nothing can be written: that ends the whole run.
    """
    candidate, plan = task
    record = plan.folder / record_name(candidate, plan.key)
    stamp = _stamp(candidate, plan)
    before = _recorded(record, stamp, plan)
    if before is not None:
        return before
    outcomes, lasting = [], True
    for single, error in opened(candidate):
        outcome, keeps = _outcome(single, error, plan)
        outcomes.append(outcome)
        lasting &= keeps
        # before anything refers to it
        note_name((outcome.person, outcome.id, single.person, single.label), plan.key)
    if lasting:
        write_json(record, {"stamp": stamp, "outcomes": [asdict(outcome) for outcome in outcomes]})
    return outcomes


def record_name(candidate: Candidate, key: Key) -> str:
    """Return the name of the file that says what became of a candidate."""
    return f"{RECORD}{key.derived('record', candidate.label).hex()[:16]}.json"


def _stamp(candidate: Candidate, plan: Plan) -> str:
    """Return what changes when the files, the list's row or the program do."""
    about: list[Any] = [PREPARED_VERSION, program_version(), plan.encrypt, candidate.damaged]
    about += [candidate.person, candidate.source, candidate.profile, candidate.series]
    for file in candidate.files:
        try:
            state = file.stat()
            about.append([file.name, state.st_size, state.st_mtime_ns])
        except OSError:
            about.append([file.name, -1, -1])
    return plan.key.derived("stamp", json.dumps(about, sort_keys=True)).hex()


def _recorded(record: Path, stamp: str, plan: Plan) -> list[Outcome] | None:
    """Return what an earlier run recorded, or None where it is to be done again."""
    try:
        data = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if data["stamp"] != stamp:
        return None
    found = []
    for row in data["outcomes"]:
        kept = row["prepared"]
        prepared = Prepared(**{**kept, "flags": tuple(kept["flags"])}) if kept else None
        found.append(Outcome(row["id"], row["person"], prepared, row["reason"]))
    there = all(plan.holds(outcome.id) for outcome in found if outcome.prepared)
    return found if there else None


@contextmanager
def _place_of(candidate: Candidate) -> Iterator[list[Candidate]]:
    """Yield the scans of a candidate: itself, or what its archive holds while that is open.

    Of an archive a list may name one series: that is one scan, and whose it is says the list.
    """
    if candidate.dicom is not None or candidate.refused is not None:
        yield [candidate]
        return
    if candidate.series or not (candidate.path.is_file() and is_archive(candidate.path)):
        yield [candidate]
        return
    with unpacked(candidate.path) as folder:
        places = search_folder(folder, candidate.source, f"{candidate.label}/")
        found = list(places.candidates)
        for label, files in places.folders:
            found += survey(label, files, candidate.source)
        if not found:
            raise UserError("There is no scan in the archive that can be read.")
        yield [_within(one, candidate, len(found)) for one in found]


def _within(inner: Candidate, outer: Candidate, count: int) -> Candidate:
    """Return a scan found in an archive with what is known of the archive."""
    named = inner.dicom is not None and bool(inner.dicom.patient)
    person = inner.person if named or count > 1 else outer.person
    return replace(inner, person=person, profile=outer.profile, part=outer.part, units=outer.units)


def opened(candidate: Candidate) -> Iterator[tuple[Candidate, UserError | None]]:
    """Yield each scan of a candidate; with the reason where it cannot even be opened."""
    try:
        with _place_of(candidate) as found:
            for one in found:
                yield one, one.refused
    except OutputError:
        raise
    except UserError as error:
        yield candidate, error


def _outcome(candidate: Candidate, error: UserError | None, plan: Plan) -> tuple[Outcome, bool]:
    """Prepare one scan; tell too whether trying again would end the same."""
    person = plan.key.person(candidate.person)
    name = plan.key.scan(person, candidate.label)
    try:
        if error is not None:
            raise error
        return Outcome(name, person, _prepared(name, person, candidate, plan)), True
    except OutputError:
        raise
    except UserError as refusal:
        reason = without_names(str(refusal), candidate.secrets)
        lasting = not isinstance(refusal.__cause__, OSError)
    except OSError as failure:
        reason, lasting = f"The scan cannot be read: {failure.strerror or 'system error'}.", False
    except MemoryError:
        reason, lasting = "The scan is too large for this machine's memory.", False
    return Outcome(name, person, None, reason), lasting


def _prepared(name: str, person: str, candidate: Candidate, plan: Plan) -> Prepared:
    """Read, check, preprocess and write one scan."""
    scan = read_scan(candidate)
    volume = _volume(scan)
    skull = make_skull(bone_only(volume))
    fit = locate(skull)[0]
    checks.check_placed(fit)
    stored, frame = fields_of(volume, plan.spec, skull)
    measures = checks.measure(volume, stored, plan.spec, float(fit.residual_mm))
    checks.check_skin(measures)
    plan.write(name, PICTURE, strip_of(volume, stored, frame, plan.spec))
    written = plan.write(name, PLAIN, packed(stored))
    content = combined_sha256(record_files(candidate.files or scan.files))
    return Prepared(
        id=name, source=candidate.source, part="",
        scan_sha256=plan.key.derived("content", content).hex(),
        prepared_sha256=hashlib.sha256(written).hexdigest(),
        frame_method=frame.method, frame_residual_mm=round(float(frame.residual_mm), 3),
        person=person, profile=candidate.profile,
        flags=checks.flags(measures, skull, candidate.damaged),
    )  # fmt: skip


def read_scan(candidate: Candidate) -> Scan:
    """Read a candidate that is one scan."""
    if candidate.dicom is not None:
        return read_dicom(candidate.dicom.series, candidate.dicom, silent)
    return open_scan(candidate.path, candidate.series or None, candidate.units or None)


def _volume(scan: Scan) -> Volume:
    if scan.volume is None:
        raise UserError("It is a mesh of a skull, without a face to learn from.", "Give a CT.")
    if scan.deidentified:
        raise UserError(
            "The face was removed from this scan, or blurred, to protect a person.",
            "There is no face to learn from; use the original scan where you may.",
        )
    return scan.volume
