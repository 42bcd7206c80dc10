"""Who is scored: the people of one part of the split, of the project's cohort or of a lab's own."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from facegen_inference.errors import UserError
from facegen_inference.scan import Scan
from facegen_training.cohort.cases import Case, find_cases
from facegen_training.cohort.dataset import Prepared, read_dataset, read_manifest
from facegen_training.cohort.find_scans import Candidate, find_places, survey
from facegen_training.cohort.folds import SHARP_HEADS, folds_of
from facegen_training.cohort.key import Key, read_key
from facegen_training.cohort.one_scan import opened, read_scan
from facegen_training.cohort.redact import without_names

PARTS = ("test", "validation")


@dataclass(frozen=True)
class Subject:
    """One scan to score.

    Attributes
    ----------
    id
        Its name in every file and message; of a lab's own scan a pseudonym.
    person
        Whose it is: several scans of one person count as one person.
    source
        Where it comes from.
    candidate
        Where it lies: itself, or the archive it is in.
    label
        Which of an archive's scans it is; the candidate's own otherwise.
    """

    id: str
    person: str
    source: str
    candidate: Candidate
    label: str

    def stamp(self) -> list[tuple[int, int]]:
        """Return what changes when the scan's files do; (-1, -1) for one that is missing."""
        files = [path for path in self.candidate.files if path.is_file()]
        states = [path.stat() for path in files]
        found = sorted((state.st_size, state.st_mtime_ns) for state in states)
        return found or [(-1, -1)]

    @contextmanager
    def scan(self) -> Iterator[Scan]:
        """Yield the scan, read; what it was unpacked to is there until the end.

        Raises
        ------
        UserError
            When it cannot be read; the sentence holds no name.
        """
        try:
            for one, refused in opened(self.candidate):
                if refused is not None:
                    raise refused
                if one.label == self.label:
                    yield read_scan(one)
                    return
            raise UserError("The scan is no longer in its archive.", "Prepare the cohort again.")
        except UserError as error:
            raise UserError(without_names(error.message, self.candidate.secrets)) from error


def shipped_people(scans: Path, part: str) -> list[Subject]:
    """Return the people of a part of the project's own cohort; `scans` is a folder of them."""
    return [_subject(case) for case in find_cases(scans) if case.part == part]


def _subject(case: Case) -> Subject:
    return Subject(case.id, case.id, case.source, _file(case.path, case.id), case.path.name)


def _file(path: Path, person: str) -> Candidate:
    return Candidate(path.name, path, person, (path,))


def own_people(scans: Path, manifest: Path, part: str, key: Path | None = None) -> list[Subject]:
    """Return the people of a part of a lab's own cohort.

    Parameters
    ----------
    scans
        The cohort as ``facegen-train prepare`` was given it: folder or list.
    manifest
        What prepare printed.
    part
        Of the split beside the manifest.
    key
        The cohort's key file; see `facegen_training.cohort.key.find_key`.

    Raises
    ------
    UserError
        When the key is another, or a scan lies no longer where it was.
    """
    return _own(scans, manifest, lambda person: person.part == part, key)


def _own(
    scans: Path, manifest: Path, scored: Callable[[Prepared], bool], key: Path | None
) -> list[Subject]:
    owner = read_key(key)
    if owner.id != read_manifest(manifest).get("key_id"):
        raise UserError(
            "The key is not the one these people were prepared with.",
            "Give that key with --key or in FACEGEN_KEY.",
        )
    data = read_dataset(manifest, key)
    wanted = [person for person in data.people if scored(person)]
    labels = _labels(owner)
    places = _places(scans, {labels[p.id] for p in wanted if p.id in labels})
    found = []
    for person in wanted:
        label = labels.get(person.id, "")
        if label not in places:
            raise UserError(
                f"The scan of {person.id} is not in this cohort.",
                "Give evaluate the same folder or list as prepare.",
            )
        found.append(Subject(person.id, person.whose, person.source, places[label], label))
    return found


def _labels(key: Key) -> dict[str, str]:
    """Return pseudonym of a scan → where it lies, from the list beside the key."""
    try:
        with key.names.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return {row[1]: row[3] for row in csv.reader(file) if len(row) == 4}
    except OSError as error:
        raise UserError(
            "The list of names beside the key is missing.", "Run facegen-train prepare again."
        ) from error


def _places(scans: Path, labels: set[str]) -> dict[str, Candidate]:
    """Return label → the candidate that is it or holds it."""
    places = find_places(scans)
    candidates = list(places.candidates)
    for folder, files in places.folders:
        if any(label.startswith(f"{folder}/") for label in labels):
            candidates += survey(folder, files)
    return {
        label: candidate
        for label in labels
        for candidate in sorted(candidates, key=lambda one: len(one.label))  # the closest counts
        if label == candidate.label or label.startswith(f"{candidate.label}/")
    }


def people_to_score(
    scans: Path,
    part: str,
    only: Sequence[str] | None = None,
    prepared: tuple[Path, Path | None] | None = None,
) -> list[Subject]:
    """Return the people of a part of the split.

    Parameters
    ----------
    scans
        Folder of scans, or a lab's list.
    part
        ``test`` or ``validation``: whoever was trained on cannot be scored.
    only
        Names to keep; everyone when left away.
    prepared
        Manifest and key file of a lab's own cohort; the project's cohort when left away.

    Raises
    ------
    UserError
        For another part, a name that is not in it, or when nobody is left.
    """
    if part not in PARTS:
        raise UserError(
            f"People of the part {part} cannot be scored.",
            f"Score {' or '.join(PARTS)}: people that nothing was fitted to.",
        )
    if prepared is None:
        subjects = shipped_people(scans, part)
    else:
        subjects = own_people(scans, prepared[0], part, prepared[1])
    missing = sorted(set(only or ()) - {subject.id for subject in subjects})
    if missing:
        raise UserError(f"{missing[0]} is not in the part {part}.", "Check the names.")
    subjects = [subject for subject in subjects if not only or subject.id in only]
    if not subjects:
        raise UserError(f"Nobody is in the part {part}.", "Prepare people with a test part first.")
    return subjects


def is_own(manifest: Path) -> bool:
    """Tell whether a manifest is of a lab's own cohort, which has a key, or of the project's."""
    return "key_id" in read_manifest(manifest)


def people_in_folds(
    scans: Path, manifest: Path, key: Path | None = None
) -> tuple[dict[str, int], list[Subject]]:
    """Return everyone's fold (by person), and every scan that some fold scores.

    Sharp heads that are held out of all folds are scored in the first.

    Parameters
    ----------
    scans
        As ``facegen-train prepare`` was given it.
    manifest
        What prepare printed, of the project's cohort or a lab's own.
    key
        The lab's key file.

    Raises
    ------
    UserError
        When a prepared person's scan is not there any more, or as `folds_of`.
    """
    prepared = read_dataset(manifest, key).people
    folds = folds_of(person.whose for person in prepared)
    folds |= {person.whose: 0 for person in prepared if person.whose in SHARP_HEADS}
    if is_own(manifest):
        return folds, _own(scans, manifest, lambda person: person.whose in folds, key)
    found = {case.id: _subject(case) for case in find_cases(scans)}
    wanted = [person.id for person in prepared if person.whose in folds]
    missing = sorted(set(wanted) - found.keys())
    if missing:
        raise UserError(
            f"The scan of {missing[0]} is not among these scans.",
            "Give evaluate the folder that prepare was given.",
        )
    return folds, [found[name] for name in wanted]


def everybody_prepared(scans: Path, manifest: Path, key: Path | None = None) -> list[Subject]:
    """Return every prepared scan, of those too who are only trained on.

    Parameters are those of `people_in_folds`; a scan of the project's cohort that is not there any
    more is left away.

    Raises
    ------
    UserError
        As `people_in_folds`.
    """
    if is_own(manifest):
        return _own(scans, manifest, lambda person: True, key)
    prepared = {person.id for person in read_dataset(manifest, key).people}
    return [_subject(case) for case in find_cases(scans) if case.id in prepared]
