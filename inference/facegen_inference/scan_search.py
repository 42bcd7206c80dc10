"""Looking for scans in a folder, an archive, a DICOMDIR or beside a single DICOM file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from facegen_inference.archive import is_archive, unpacked
from facegen_inference.dicom_header import NotDicom, Slice, lenient, read_slices, unreadable
from facegen_inference.dicom_series import (
    DicomSeries,
    directory_files,
    is_directory,
    read_all,
    tell_apart,
)
from facegen_inference.errors import ScanError
from facegen_inference.mesh_files import inspect_mesh_file, is_mesh_file
from facegen_inference.progress import Progress
from facegen_inference.series import Series
from facegen_inference.volume_files import inspect_volume_file, volume_kind


@dataclass(frozen=True)
class Found:
    """A series, with what is needed to read it.

    Attributes
    ----------
    dicom
        The judged DICOM series; None for a volume or mesh file.
    error
        Why it cannot be read; None where it can.
    """

    series: Series
    dicom: DicomSeries | None = None
    error: ScanError | None = None

    @property
    def patient(self) -> str:
        """The patient's ID or name; empty where the file has none."""
        return self.dicom.patient if self.dicom is not None else ""


@dataclass(frozen=True)
class Findings:
    """Everything found at a place: series, damaged files, other files, names of all files."""

    found: tuple[Found, ...]
    damaged: tuple[tuple[str, str], ...]
    set_aside: tuple[tuple[str, str], ...]
    file_names: tuple[str, ...]


@contextmanager
def searched(path: Path, units: str | None, progress: Progress) -> Iterator[Findings]:
    """Find everything at a place; an archive stays unpacked for as long as the context lasts.

    Raises
    ------
    ScanError
        Nothing is there, or the system does not let us read it.
    """
    try:
        if not path.exists():
            raise ScanError(f"There is nothing at {path}.", "Check the name.", path=path)
        packed = is_archive(path) and path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error
    with unpacked(path) if packed else nullcontext(path) as place:
        findings = _search(place, units, progress)
        yield findings


def _search(path: Path, units: str | None, progress: Progress) -> Findings:
    """Find everything in a folder or at a file."""
    aside: list[tuple[str, str]] = []
    wanted: str | None = None
    if path.is_dir():
        files, root = _files_below(path, aside), path
    elif _is_special(path):
        files, root = [path], path.parent
    else:
        files, wanted = _around(path, aside)
        root = path.parent
    special = [f for f in files if _is_special(f)]
    archives = [f for f in files if is_archive(f)]
    aside += [(f.name, "an archive inside the folder: open it by itself") for f in archives]
    rest = [f for f in files if not _is_special(f) and not is_archive(f)]
    slices, damaged, others = read_all(rest, progress)
    aside += [(f.name, "not a kind of file that is read") for f in others]
    aside += [(s.path.name, "the index of the disc") for s in slices if is_directory(s)]
    if wanted is not None:
        slices = [s for s in slices if s.series_uid == wanted]
    with lenient():
        found = [Found(s.series, s, s.error) for s in tell_apart(slices)]
    found += [_found_file(f, root, units) for f in special]
    names = tuple(f.name for f in files)
    return Findings(_with_proposal(found), tuple(damaged), tuple(damaged + aside), names)


def _with_proposal(found: list[Found]) -> tuple[Found, ...]:
    """Propose the first usable series where none is proposed yet; the proposed one first."""
    if not any(f.series.proposed for f in found):
        usable = [n for n, f in enumerate(found) if f.series.usable]
        for n in usable[:1]:
            found[n] = replace(found[n], series=replace(found[n].series, proposed=True))
    return tuple(sorted(found, key=lambda f: not f.series.proposed))


def _found_file(path: Path, root: Path, units: str | None) -> Found:
    """Inspect a volume or mesh file."""
    uid = path.relative_to(root).as_posix()
    inspect = inspect_mesh_file if is_mesh_file(path) else inspect_volume_file
    try:
        return Found(inspect(path, uid, units))
    except ScanError as error:
        kind = "mesh" if is_mesh_file(path) else "volume"
        refused = Series(uid, kind, path.name, files=(path,), usable=False, reason=error.message)
        return Found(refused, error=error)


def _is_special(path: Path) -> bool:
    """Return whether a file is a volume or mesh by its name."""
    return volume_kind(path) is not None or is_mesh_file(path)


def _files_below(folder: Path, aside: list[tuple[str, str]]) -> list[Path]:
    """Return all files of a folder tree, sorted; what cannot be entered is set aside."""

    def failed(error: OSError) -> None:
        place = Path(error.filename or folder)
        if place == folder:
            raise unreadable(folder, error) from error
        aside.append((place.name, "there is no permission to read it"))

    files: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=failed):
        folders.sort()
        files += [Path(parent, n) for n in sorted(names) if not n.startswith(".")]
    return files


def _around(path: Path, aside: list[tuple[str, str]]) -> tuple[list[Path], str | None]:
    """Return the files to read for one DICOM file, and the series that it belongs to.

    For a DICOMDIR these are the files it lists, of any series.
    """
    try:
        with lenient():
            first: Slice = read_slices(path)[0]
    except NotDicom:
        return [path], None
    if is_directory(first):
        listed, missing = directory_files(path)
        aside += [(name, "listed in the DICOMDIR, but not there") for name in missing]
        if not listed:
            raise ScanError(
                f"None of the images that {path.name} lists is there.",
                "Copy the whole disc, or open the folder of images.",
                file=path,
            )
        return listed, None
    siblings = sorted(p for p in path.parent.iterdir() if p.is_file() and not _is_special(p))
    return siblings, first.series_uid
