"""Opening a scan: from whatever the user points at to one volume or skull mesh, or the reason not.

Takes a folder (searched), a DICOM file, a DICOMDIR, a zip or tar, a volume file or a mesh.
`inspect_scan` says what is there; `open_scan` reads one of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from facegen_inference.archive import is_archive
from facegen_inference.dicom_pixels import read_stack
from facegen_inference.dicom_series import DicomSeries
from facegen_inference.errors import ScanError
from facegen_inference.hounsfield import NotACt, check_hounsfield
from facegen_inference.mesh import Mesh
from facegen_inference.mesh_files import read_skull_mesh
from facegen_inference.progress import Progress, part, silent
from facegen_inference.scan_search import Findings, Found, searched
from facegen_inference.series import Inspection, Series
from facegen_inference.volume import Volume
from facegen_inference.volume_files import read_volume_file

__all__ = ["Inspection", "NotACt", "Scan", "Series", "inspect_scan", "open_scan"]

_WHAT_OPENS = (
    "Choose a DICOM series (folder, file, DICOMDIR, zip or tar), a NIfTI, NRRD or MHA volume, or a "
    "skull mesh (STL, PLY, OBJ)."
)


@dataclass(frozen=True)
class Scan:
    """One scan, read.

    Attributes
    ----------
    volume
        The CT; None where the scan is a mesh.
    mesh
        A closed skull mesh, LPS mm; None where the scan is a volume.
    series
        What it was read from.
    files
        The files on disk that were used, for hashing: an archive stands for what is in it.
    geometry
        Plain data: spacing, orientation, tilt undone, resampled, units.
    deidentified
        Whether the header says that the face was removed or blurred; None where it does not say.
    """

    volume: Volume | None
    mesh: Mesh | None
    series: Series
    files: tuple[Path, ...]
    geometry: dict[str, object] = field(default_factory=dict)
    deidentified: bool | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what was done to make the scan regular, or what is doubtful."""
        return self.volume.warnings if self.volume is not None else self.series.warnings


def inspect_scan(path: Path, progress: Progress = silent, units: str | None = None) -> Inspection:
    """Say what could be read at a place and what not, and why.

    Raises
    ------
    ScanError
        Nothing is there, or it cannot be opened at all.
    """
    with searched(path, units, progress) as findings:
        refused = tuple(
            (f"{f.series.description or 'series'} ({f.series.uid})", f.series.reason)
            for f in findings.found if not f.series.usable
        )  # fmt: skip
        series = tuple(_named(f.series, path) for f in findings.found)
        return Inspection(path, series, (*refused, *findings.set_aside))


def open_scan(
    path: Path, series_uid: str | None = None, units: str | None = None, progress: Progress = silent
) -> Scan:
    """Read the scan at a place.

    Parameters
    ----------
    path
        Folder (searched), DICOM file, DICOMDIR, zip or tar, volume file or mesh.
    series_uid
        Which series, as `Series.uid` names it; the proposed one where None.
    units
        ``mm``, ``cm`` or ``m`` for a mesh or volume file that does not say.

    Raises
    ------
    ScanError
        There is no usable scan; the sentence says why.
    """
    with searched(path, units, part(progress, 0.0, 0.3)) as findings:
        found = _chosen(path, findings, series_uid)
        if found.error is not None:
            raise found.error
        scan = _with_damage(_read(found, units, part(progress, 0.3, 1.0)), findings)
        series = _named(scan.series, path)
        return replace(scan, series=series, files=series.files)


def _named(series: Series, path: Path) -> Series:
    """Name the archive, not the temporary files, as what a packed series consists of."""
    packed = is_archive(path) and path.is_file()
    return replace(series, files=(path,)) if packed else series


def _chosen(path: Path, findings: Findings, series_uid: str | None) -> Found:
    """Return the series to read, or raise with the reason why there is none."""
    if series_uid is not None:
        for found in findings.found:
            if found.series.uid == series_uid:
                return found
        known = ", ".join(f.series.uid for f in findings.found) or "none"
        raise ScanError(
            f"There is no series {series_uid} in {path.name}.", f"There is: {known}.", path=path
        )
    usable = [f for f in findings.found if f.series.usable]
    if not usable:
        raise _nothing(path, findings)
    patients = {f.patient for f in usable if f.patient}
    if len(patients) > 1:
        raise ScanError(
            f"{path.name} holds scans of {len(patients)} patients.",
            "Choose one with --series; `facegen inspect` lists them.",
            path=path, series=[f.series.uid for f in usable],
        )  # fmt: skip
    return next(f for f in usable if f.series.proposed)


def _nothing(path: Path, findings: Findings) -> ScanError:
    """Return the error for a place without a usable scan."""
    if not findings.file_names:
        return ScanError(f"The folder {path.name} is empty.", _WHAT_OPENS, path=path)
    refused = [f for f in findings.found if f.error is not None]
    if findings.damaged and not any(isinstance(f.error, NotACt) for f in refused):
        return _damaged(path, findings)
    if len(refused) == 1 and refused[0].error is not None:
        return refused[0].error
    if refused:
        reasons = list(dict.fromkeys(f.series.reason for f in refused))
        only_other = all(isinstance(f.error, NotACt) for f in refused)
        return (NotACt if only_other else ScanError)(
            f"None of the {len(refused)} series in {path.name} can be used. {reasons[0]}",
            "Choose the CT series; `facegen inspect` gives the reason for each.",
            path=path, reasons=reasons,
        )  # fmt: skip
    endings = Counter(Path(n).suffix.lower() or "no ending" for n in findings.file_names)
    kinds = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(4))
    where = f"In {path.name} there is" if path.is_dir() else f"{path.name} is"
    return ScanError(f"{where} no scan that can be read ({kinds}).", _WHAT_OPENS, path=path)


def _damaged(path: Path, findings: Findings) -> ScanError:
    """Return the error for a place whose DICOM files are damaged."""
    names, reasons = zip(*findings.damaged, strict=True)
    message = reasons[0]
    if len(names) > 1:
        message = f"{len(names)} DICOM files in {path.name} are damaged. {reasons[0]}"
    return ScanError(message, "Copy the scan again from its source.", path=path, files=names)


def _with_damage(scan: Scan, findings: Findings) -> Scan:
    """Warn of DICOM files that were left out because they are damaged."""
    if scan.volume is None or scan.series.kind != "dicom" or not findings.damaged:
        return scan
    names = [name for name, _ in findings.damaged]
    count = f"{len(names)} damaged files were" if len(names) > 1 else "A damaged file was"
    sentence = f"{count} left out ({', '.join(names[:3])}); a slice at an end may be missing."
    return replace(scan, volume=scan.volume.with_warning(sentence))


def _read(found: Found, units: str | None, progress: Progress) -> Scan:
    """Read a usable series."""
    if found.dicom is not None:
        return read_dicom(found.series, found.dicom, progress)
    path = found.series.files[0]
    progress(0.0, "reading the file")
    if found.series.kind == "mesh":
        mesh, facts, sentences = read_skull_mesh(path, units)
        series = replace(found.series, warnings=sentences)
        return Scan(None, mesh, series, found.series.files, facts)
    volume = read_volume_file(path, units)
    spacing = volume.spacing
    geometry: dict[str, object] = {
        "spacing_mm": [round(float(s), 6) for s in spacing],
        "shape": list(volume.array.shape),
        "orientation": (volume.patient_from_voxel[:3, :3] / spacing).round(6).tolist(),
        "slices": volume.array.shape[0], "tilt_undone_degrees": 0.0, "resampled": False,
    }  # fmt: skip
    return Scan(volume, None, found.series, found.series.files, geometry)


def read_dicom(series: Series, dicom: DicomSeries, progress: Progress) -> Scan:
    """Read a judged DICOM series onto its grid.

    Raises
    ------
    ScanError
        It was refused, or its values are not Hounsfield units.
    """
    if dicom.stack is None:
        raise dicom.error or ScanError("The series has no provable geometry.")
    array, observed = read_stack(dicom.stack, progress)
    check_hounsfield(array, "The series")
    source = f"DICOM series of {len(dicom.slices)} slices"
    volume = Volume(
        array, dicom.stack.patient_from_voxel, observed, source, dicom.stack.warnings
    )  # fmt: skip
    stated = {s.faceless for s in dicom.slices}
    faceless = True if True in stated else False if False in stated else None
    return Scan(volume, None, series, series.files, dicom.stack.as_data(), faceless)
