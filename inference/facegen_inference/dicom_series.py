"""DICOM series in a folder: told apart, judged, and the CT of a head proposed.

Finds out what the files are; where the slices lie is `dicom_geometry`'s, their values are
`dicom_pixels`'s task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom

from facegen_inference.dicom_geometry import Stack, build_stack
from facegen_inference.dicom_header import (
    CT_IMAGES,
    NotDicom,
    Slice,
    lenient,
    read_slices,
)
from facegen_inference.errors import ScanError
from facegen_inference.hounsfield import NotACt
from facegen_inference.progress import Progress
from facegen_inference.series import Series

_DIRECTORY = "1.2.840.10008.1.3.10"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_HEAD_WORDS = ("HEAD", "SKULL", "BRAIN", "CRAN", "FACE", "FACIAL", "SINUS", "KOPF", "NEURO")
_OTHER_WORDS = ("CHEST", "THORAX", "LUNG", "ABDO", "PELV", "SPINE", "KNEE", "HIP", "CARDIAC")


@dataclass(frozen=True)
class DicomSeries:
    """A judged series: `series` says what it is, `stack` where its slices are (None if refused).

    `error` is what `open` raises for a series that is set aside.
    """

    series: Series
    slices: tuple[Slice, ...]
    stack: Stack | None
    error: ScanError | None

    @property
    def patient(self) -> str:
        """The patient's ID, or name where there is no ID."""
        number, name = self.slices[0].patient
        return number or name


def read_all(
    files: Sequence[Path], progress: Progress
) -> tuple[list[Slice], list[tuple[str, str]], list[Path]]:
    """Read the headers of files.

    Returns
    -------
    The images and other DICOM objects; (file, reason) for damaged ones; the files that are
    something else than DICOM.
    """
    slices: list[Slice] = []
    damaged: list[tuple[str, str]] = []
    others: list[Path] = []
    with lenient():
        for n, path in enumerate(files):
            try:
                slices.extend(read_slices(path))
            except NotDicom:
                others.append(path)
            except ScanError as error:
                damaged.append((path.name, error.message))
            progress((n + 1) / len(files), "reading headers")
    return slices, damaged, others


def directory_files(path: Path) -> tuple[list[Path], list[str]]:
    """Return the files that a DICOMDIR lists: those there, and the names of those missing."""
    with lenient():
        dataset = pydicom.dcmread(path, force=True)
    found, missing = [], []
    for record in dataset.get("DirectoryRecordSequence") or ():
        names = record.get("ReferencedFileID")
        if not names:
            continue
        parts = [names] if isinstance(names, str) else [str(n) for n in names]
        # A folder copied from the middle of a disc lacks the first parts of the names.
        places = (_any_case(path.parent, parts[n:]) for n in range(len(parts)))
        place = next((p for p in places if p is not None), None)
        if place is None:
            missing.append("/".join(parts))
        else:
            found.append(place)
    return found, missing


def _any_case(folder: Path, parts: Iterable[str]) -> Path | None:
    """Return the file under `folder`, whatever the case of its names on this disk."""
    place = folder
    for part in parts:
        if part in ("", ".", ".."):
            return None
        choices = (place / part, place / part.lower(), place / part.upper())
        place = next((c for c in choices if c.exists()), choices[0])
    return place if place.is_file() else None


def is_directory(slice_: Slice) -> bool:
    """Return whether the object is a DICOMDIR."""
    return slice_.sop_class == _DIRECTORY


def tell_apart(slices: Sequence[Slice]) -> list[DicomSeries]:
    """Group slices into series, judge each and propose the CT of a head, proposed one first."""
    judged: list[DicomSeries] = []
    by_uid: dict[str, list[Slice]] = defaultdict(list)
    for slice_ in slices:
        if not is_directory(slice_):
            by_uid[slice_.series_uid].append(slice_)
    for uid, members in by_uid.items():
        groups = sorted(_groups(members), key=len, reverse=True)
        for n, group in enumerate(groups):
            judged.append(_judge(uid if n == 0 else f"{uid}#{n + 1}", group))
    judged.sort(key=lambda found: (-_score(found), found.series.uid))
    if judged and judged[0].series.usable:
        judged[0] = replace(judged[0], series=replace(judged[0].series, proposed=True))
    return judged


def _groups(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Split the images of one SeriesInstanceUID into stacks."""
    groups: list[list[Slice]] = []
    for slice_ in slices:
        group = next((g for g in groups if _alike(g[0], slice_)), None)
        if group is None:
            groups.append([slice_])
        else:
            group.append(slice_)
    return [part for group in groups for part in _by_reconstruction(_without_copies(group))]


def _alike(one: Slice, other: Slice) -> bool:
    """Return whether two images may belong to one stack."""
    if one.sop_class != other.sop_class or one.modality != other.modality:
        return False
    if one.image_type[:3] != other.image_type[:3]:
        return False
    if one.orientation is None or other.orientation is None:
        return one.orientation is other.orientation
    return bool(np.abs(np.subtract(one.orientation, other.orientation)).max() < 0.01)


def _without_copies(group: list[Slice]) -> list[Slice]:
    """Leave out second copies of the same image (same SOPInstanceUID and frame)."""
    seen: dict[tuple[str, int | None], Slice] = {}
    for slice_ in group:
        key = (slice_.sop_uid or str(slice_.path), slice_.frame)
        first = seen.setdefault(key, slice_)
        if first is not slice_ and first.position != slice_.position:
            seen[(str(slice_.path), slice_.frame)] = slice_  # one UID given to different images
    return list(seen.values())


def _by_reconstruction(group: list[Slice]) -> list[list[Slice]]:
    """Split a group that covers the same positions twice, by kernel or acquisition."""
    if _distinct(group):
        return [group]
    keys: tuple[Callable[[Slice], object], ...] = (
        lambda s: s.kernel,
        lambda s: s.acquisition,
        lambda s: (s.rows, s.columns, s.spacing),
        lambda s: s.image_type,
    )
    for key in keys:
        parts: dict[object, list[Slice]] = defaultdict(list)
        for slice_ in group:
            parts[key(slice_)].append(slice_)
        if len(parts) > 1 and all(_distinct(part) for part in parts.values()):
            return list(parts.values())
    return [group]


def _distinct(group: list[Slice]) -> bool:
    """Return whether no two images lie at the same position."""
    places = {tuple(np.round(s.position, 2)) for s in group if s.position is not None}
    return len(places) == sum(s.position is not None for s in group)


def _judge(uid: str, slices: list[Slice]) -> DicomSeries:
    """Say whether a series is usable and, if not, why."""
    stack: Stack | None = None
    error: ScanError | None = None
    try:
        _check_kind(slices)
        stack = build_stack(slices)
    except ScanError as refusal:
        error = refusal
    first = slices[0]
    ordered = stack.slices if stack else tuple(slices)
    series = Series(
        uid=uid, kind="dicom", description=first.description, modality=first.modality,
        slice_count=len(slices),
        shape=stack.shape if stack else (len(slices), first.rows, first.columns),
        spacing_mm=stack.spacing if stack else (),
        files=tuple(dict.fromkeys(s.path for s in ordered)),
        usable=error is None, reason=error.message if error else "",
        warnings=stack.warnings if stack else (),
    )  # fmt: skip
    return DicomSeries(series, ordered, stack, error)


def _check_kind(slices: Sequence[Slice]) -> None:
    """Raise with the reason where a series is no set of CT slices."""
    first = slices[0]
    kinds = {kind.upper() for kind in first.image_type}
    if first.modality in ("SR", "DOC", "KO", "PR", "REG") or first.pixels is None:
        what = "a dose or other report" if first.modality == "SR" else "no image"
        raise NotACt(f"It is {what} ({first.modality or 'no modality'}).", _NEED_CT)
    if first.modality not in ("CT", ""):
        raise NotACt(f"It is a scan of kind {first.modality}, not a CT.", _NEED_CT)
    if first.sop_class.startswith(_SECONDARY_CAPTURE):
        raise NotACt("It is a secondary capture (a picture of a screen), not a CT.", _NEED_CT)
    if first.pixels.samples != 1:
        raise NotACt("It is a colour picture, not a CT.", _NEED_CT)
    if "LOCALIZER" in kinds:
        raise NotACt("It is a localiser (scout view), not a CT stack.", _NEED_CT)
    if first.sop_class not in CT_IMAGES:
        name = pydicom.uid.UID(first.sop_class).name
        raise NotACt(f"It is stored as {name}, not as a CT image.", _NEED_CT)
    if kinds & {"SCREEN SAVE", "DOSE", "DOSE_INFO", "PROJECTION IMAGE", "VOLUME_RENDER", "MIP"}:
        raise NotACt("It is a derived picture, not CT slices.", _NEED_CT)
    _check_rescale(slices)


_NEED_CT = "Choose a CT series with its original slices."


def _check_rescale(slices: Sequence[Slice]) -> None:
    """Raise where stored values cannot be turned into Hounsfield units."""
    for slice_ in slices:
        if slice_.slope is None or slice_.intercept is None or slice_.slope == 0:
            raise ScanError(
                f"{slice_.name} does not say how its values become Hounsfield units "
                "(rescale slope and intercept).",
                "Export the original series.",
                file=slice_.path,
            )
        if slice_.rescale_type.upper() in ("OD", "Z_EFF", "ED", "EDW", "MGML", "PCT"):
            raise NotACt(
                f"The values of {slice_.name} are of kind {slice_.rescale_type}, "
                "not Hounsfield units.",
                _NEED_CT,
            )


def _score(found: DicomSeries) -> float:
    """Return how well a series suits: usable, a head, original, axial, thin, many slices."""
    if found.stack is None:
        return -1000.0 + min(len(found.slices), 500) / 1000
    first = found.slices[0]
    text = f"{first.body_part} {first.description}".upper()
    kinds = {kind.upper() for kind in first.image_type}
    score = 40.0 * any(word in text for word in _HEAD_WORDS)
    score -= 40.0 * any(word in text for word in _OTHER_WORDS)
    score += 20.0 * ("ORIGINAL" in kinds) + 20.0 * ("AXIAL" in kinds)
    score -= 8.0 * max(found.stack.spacing)
    extent = found.stack.shape[0] * found.stack.spacing[0]
    score += min(extent, 250.0) / 5
    score -= 10.0 * found.stack.resampled
    return score + min(len(found.slices), 1000) / 1000
