"""What scans a lab gives: a folder that is searched, or a list.

Each is found cheaply here, by names and DICOM headers; reading comes later.  Of several series
that one folder holds of one person the one is taken that `facegen` itself would propose.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from facegen_inference.archive import is_archive
from facegen_inference.dicom_header import Slice, lenient
from facegen_inference.dicom_series import DicomSeries, is_directory, read_all, tell_apart
from facegen_inference.errors import UserError
from facegen_inference.mesh_files import is_mesh_file
from facegen_inference.progress import silent
from facegen_inference.volume_files import volume_kind
from facegen_training.cohort.cohort_list import Listed, Profile, is_list, read_list

OWN_SOURCE = "own data"
"""Source of scans for which none is named; never on the allow-list."""
_BIDS_PERSON = re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+)(?=[/_.]|$)")


@dataclass(frozen=True)
class Candidate:
    """Something that may be one scan, or an archive of several.

    Attributes
    ----------
    label
        Where it lies, relative to the folder searched or as listed; with its series behind it
        where a folder holds several, or a list names one.
    path
        Volume file, archive, or whatever a list names; of a DICOM series its folder.
    person
        Whose it is, in the lab's own words; of an archive only known once it is open.
    files
        The files it consists of, as far as known without opening it.
    dicom
        The judged series; None for anything else.
    refused
        Why it cannot be used, where that is known already.
    damaged
        How many damaged DICOM files lay beside it.
    source, part, profile, series, units
        As a list says.
    """

    label: str
    path: Path
    person: str
    files: tuple[Path, ...] = ()
    dicom: DicomSeries | None = None
    refused: UserError | None = None
    damaged: int = 0
    source: str = OWN_SOURCE
    part: str = ""
    profile: Profile = field(default_factory=dict)
    series: str = ""
    units: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not be written: names of files and folders, person and series.

        Folders with one small word for a name (``ct``, ``scans``) are not names of people.
        """
        folders = {*Path(self.label).parts, *self.path.parts[1:]}
        names = [name for name in folders if not (name.isalpha() and name.islower())]
        names += [self.label, str(self.path), self.person, self.path.stem, self.series]
        if self.dicom is not None:
            patient = self.dicom.slices[0].patient
            names += [*patient, self.dicom.series.uid, self.dicom.series.description]
        names += [file.name for file in self.files[:5000]]
        return tuple(sorted({name for name in names if len(name) > 1}))


@dataclass(frozen=True)
class Places:
    """Where to look: files that are scans by their name, and folders that may hold DICOM.

    Attributes
    ----------
    candidates
        Volume files, archives, listed scans.
    folders
        (label, files) of folders whose files have to be looked into.
    """

    candidates: tuple[Candidate, ...]
    folders: tuple[tuple[str, tuple[Path, ...]], ...] = ()


def find_places(cohort: Path, source: str = OWN_SOURCE) -> Places:
    """Return where the scans of a cohort may lie.

    Parameters
    ----------
    cohort
        Folder, or a CSV or TOML list.
    source
        Name of the source of scans for which a list names none.

    Raises
    ------
    UserError
        When nothing is there, or the list is wrong.
    """
    if cohort.is_file() and is_list(cohort):
        return Places(tuple(_of_list(entry, source) for entry in read_list(cohort)))
    if not cohort.is_dir():
        what = "neither a folder nor a list of scans" if cohort.exists() else "not there"
        raise UserError(
            f"The cohort is {what}.", "Give a folder of scans, or a list (.csv or .toml)."
        )
    return search_folder(cohort, source)


def search_folder(root: Path, source: str = OWN_SOURCE, prefix: str = "") -> Places:
    """Return what may be scans in a folder tree; hidden files and meshes are passed over."""
    candidates: list[Candidate] = []
    folders: list[tuple[str, tuple[Path, ...]]] = []

    def failed(error: OSError) -> None:
        raise UserError(
            "A folder of the cohort cannot be entered.",
            "Give yourself the permission, or take the folder out of the cohort.",
        ) from error

    for parent, below, names in os.walk(root, onerror=failed):
        below[:] = sorted(name for name in below if not name.startswith("."))
        rest = []
        for name in sorted(names):
            path = Path(parent, name)
            label = prefix + path.relative_to(root).as_posix()
            if name.startswith(".") or is_mesh_file(path):
                continue
            if volume_kind(path) is not None or is_archive(path):
                candidates.append(
                    Candidate(label, path, _person_of_file(label), (path,), source=source)
                )
            else:
                rest.append(path)
        if rest:
            label = prefix + Path(parent).relative_to(root).as_posix()
            folders.append((label, tuple(rest)))
    return Places(tuple(_told_apart(candidates)), tuple(folders))


def _told_apart(candidates: list[Candidate]) -> list[Candidate]:
    """Name files after their folders where the same name stands in several folders.

    ``Anna/head.nii.gz`` and ``Bert/head.nii.gz`` are two people; all files in such folders are
    then their folder's.  A file that names its BIDS subject is that subject's wherever it lies.
    """
    places: dict[str, set[str]] = defaultdict(set)
    for one in candidates:
        places[one.person].add(_folder(one.label))
    shared = {
        folder
        for one in candidates
        if len(places[one.person]) > 1 and not _BIDS_PERSON.search(one.label)
        for folder in places[one.person]
    }
    return [
        replace(one, person=_folder(one.label) or one.person)
        if _folder(one.label) in shared and not _BIDS_PERSON.search(one.label)
        else one
        for one in candidates
    ]


def _folder(label: str) -> str:
    """Return the folder of a label; empty for the folder that was searched."""
    return label.rpartition("/")[0]


def _person_of_file(label: str) -> str:
    """Return whose a file is: its BIDS subject, else its name without endings."""
    bids = _BIDS_PERSON.search(label)
    if bids:
        return bids.group(1)
    name = label.rsplit("/", 1)[-1]
    while Path(name).suffix.lower() in _ENDINGS:
        name = Path(name).stem
    return name


_ENDINGS = {
    *(".nii", ".gz", ".nrrd", ".nhdr", ".mha", ".mhd"),
    *(".zip", ".tar", ".tgz", ".txz", ".xz", ".bz2", ".tbz2"),
}


def _of_list(entry: Listed, source: str) -> Candidate:
    files: tuple[Path, ...] = (entry.scan,)
    if entry.scan.is_dir():
        files = tuple(sorted(p for p in entry.scan.rglob("*") if p.is_file()))
    person = entry.person or _patient(files, entry.series)
    person = person or _person_of_file(entry.label.rstrip("/"))
    label = f"{entry.label}/{entry.series}" if entry.series else entry.label
    return Candidate(
        label, entry.scan, person, files, source=entry.source or source, part=entry.part,
        profile=entry.profile, series=entry.series, units=entry.units,
    )  # fmt: skip


def _patient(files: tuple[Path, ...], series: str) -> str:
    """Return whose DICOM files are by their headers: of the series named, else of the best one.

    Empty where the files are not DICOM, or do not say.
    """
    images = [f for f in files if f.is_file() and volume_kind(f) is None]
    images = [f for f in images if not (is_archive(f) or is_mesh_file(f))]
    slices = [s for s in read_all(images, silent)[0] if not is_directory(s)]
    if not slices:
        return ""
    with lenient():
        found = tell_apart(slices)
    named = [one for one in found if one.series.uid == series]
    return (named or found)[0].patient


def survey(label: str, files: tuple[Path, ...], source: str = OWN_SOURCE) -> list[Candidate]:
    """Return the best series of each person among the files of one folder.

    Where none of a person's series is usable, the first is returned with the reason.
    """
    slices, damaged, _ = read_all(files, silent)
    people: dict[tuple[str, str], list[Slice]] = defaultdict(list)
    for slice_ in slices:
        if not is_directory(slice_):
            people[_identity(slice_)].append(slice_)
    folder = files[0].parent
    found = []
    for own in people.values():
        with lenient():
            best = tell_apart(own)[0]
        person = best.patient or label
        found.append(
            Candidate(
                f"{label}/{best.series.uid}", folder, person,
                tuple(dict.fromkeys(s.path for s in best.slices)), best, best.error,
                len(damaged), source,
            )
        )  # fmt: skip
    if damaged and not found:
        reason = UserError(f"{len(damaged)} DICOM files are damaged. {damaged[0][1]}")
        found.append(Candidate(label, folder, label, files, refused=reason, source=source))
    return found


def _identity(slice_: Slice) -> tuple[str, str]:
    """Return what tells one patient from another: the ID, or the name where there is none."""
    number, name = slice_.patient
    return (number, "") if number else ("", name)
