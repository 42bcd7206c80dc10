"""One DICOM file's header, read once and kept small: what sorting, geometry and decoding need.

Knows nothing of folders or series.  The place of raw pixel values in the file is noted so that
they can later be read straight into the volume, without parsing the file again.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from facegen_inference.dicom_elements import RAW_SYNTAXES, Picked, Picker
from facegen_inference.errors import ScanError

Header = pydicom.Dataset | Picked

_UNDEFINED_LENGTH = 0xFFFFFFFF

_KEYWORDS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImageType",
    "SeriesDescription", "PatientID", "PatientName", "BodyPartExamined", "ConvolutionKernel",
    "AcquisitionNumber", "InstanceNumber", "Rows", "Columns", "PixelSpacing",
    "ImageOrientationPatient", "ImagePositionPatient", "RescaleSlope", "RescaleIntercept",
    "RescaleType", "PixelPaddingValue", "PixelPaddingRangeLimit", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "SamplesPerPixel", "NumberOfFrames", "GantryDetectorTilt",
    "RecognizableVisualFeatures", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


BROKEN = (
    BytesLengthException, InvalidDicomError, EOFError, ValueError, LookupError, AttributeError,
    NotImplementedError, TypeError, OverflowError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""What pydicom and its decoders raise for files that break the standard."""

CT_IMAGES = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
)
"""SOP classes of CT slices: classic, enhanced, legacy converted."""

_PICKER = Picker(_KEYWORDS)


class NotDicom(Exception):
    """The file is not DICOM."""


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the stored values of an image are laid out.

    Attributes
    ----------
    bits_allocated, bits_stored, high_bit, signed, samples
        As in the DICOM attributes.
    syntax
        Transfer syntax UID.
    offset
        Byte of the file at which the raw values of this frame start; None where they are
        compressed.
    """

    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    samples: int
    syntax: str
    offset: int | None


@dataclass(frozen=True, slots=True)
class Slice:
    """One image: a classic DICOM file or one frame of an enhanced one.

    Attributes
    ----------
    position, orientation, spacing
        ImagePositionPatient (LPS mm), ImageOrientationPatient (direction along a row, then down
        a column) and PixelSpacing (between rows, between columns; mm); None where missing.
    slope, intercept
        HU = slope · stored + intercept; None where the header does not say.
    padding
        Lowest and highest stored value that mean "outside the scanned circle", or None.
    frame
        Number within a multi-frame file, from 0; None in a classic file.
    faceless
        Whether the header says that the face was removed; None where it does not say.
    """

    path: Path
    frame: int | None
    sop_class: str
    sop_uid: str
    series_uid: str
    modality: str
    image_type: tuple[str, ...]
    description: str
    patient: tuple[str, str]
    body_part: str
    kernel: str
    acquisition: str
    instance: str
    rows: int
    columns: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    padding: tuple[int, int] | None
    tilt: float
    faceless: bool | None
    pixels: PixelFormat | None

    @property
    def name(self) -> str:
        """What to call the image in a sentence."""
        return self.path.name if self.frame is None else f"{self.path.name} frame {self.frame + 1}"


@contextmanager
def lenient() -> Iterator[None]:
    """Let pydicom read what breaks the letter of the standard, without a word."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def looks_like_dicom(start: bytes) -> bool:
    """Return whether the first 132 or more bytes of a file may be DICOM."""
    if start[128:132] == b"DICM":
        return True
    # Without preamble: the first element is of group 0002 or 0008 and short.
    return start[:2] in (b"\x02\x00", b"\x08\x00") and start[3:4] == b"\x00" and len(start) > 64


def read_slices(path: Path) -> list[Slice]:
    """Return the images of one DICOM file (several for enhanced multi-frame; never none).

    Objects without pixels (reports, structures) come back with ``pixels`` None.

    Raises
    ------
    NotDicom
        The file is something else.
    ScanError
        It is DICOM and damaged, or cannot be opened.
    """
    try:
        with path.open("rb", buffering=0) as file:
            picked = _PICKER.pick(file)
        if picked is not None:
            return [_slice(path, picked, [], None, picked.syntax, picked.offset)]
        with path.open("rb") as file:
            if not looks_like_dicom(file.read(132)):
                raise NotDicom(path.name)
            file.seek(0)
            dataset = pydicom.dcmread(
                file, stop_before_pixels=True, force=True, specific_tags=list(_KEYWORDS)
            )
            slices = _slices(path, dataset, _raw_offset(file, dataset))
    except NotDicom:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except BROKEN as error:
        raise _broken_header(path, error) from error
    if slices[0].pixels is None and slices[0].sop_class in ("", *CT_IMAGES):
        raise _broken_header(path)
    return slices


def _broken_header(path: Path, cause: Exception | None = None) -> ScanError:
    return ScanError(
        f"{path.name} is damaged: its DICOM header ends or breaks off in the middle.",
        "Copy it again from its source.",
        file=path,
        cause=cause,
    )


def unreadable(path: Path, error: OSError) -> ScanError:
    """Return the error for a file or folder that the system does not let us read."""
    if isinstance(error, PermissionError):
        return ScanError(
            f"There is no permission to read {path.name}.",
            "Change its permissions or copy it to a folder of your own.",
            file=path,
        )
    return ScanError(
        f"{path.name} cannot be read: {error.strerror or error}.",
        "Check the disk or copy the file again.",
        file=path,
    )


def _raw_offset(file: BinaryIO, dataset: pydicom.Dataset) -> int | None:
    """Return where raw pixel values start, or None where compressed or absent."""
    syntax = _syntax(dataset)
    if syntax.is_deflated or _declared_syntax(dataset) not in RAW_SYNTAXES:
        return None
    start = file.read(12)
    order = "little" if syntax.is_little_endian else "big"
    group = int.from_bytes(start[0:2], order)  # type: ignore[arg-type]
    element = int.from_bytes(start[2:4], order)  # type: ignore[arg-type]
    if (group, element) != (0x7FE0, 0x0010):
        return None
    size = 8 if syntax.is_implicit_VR else 12
    length = int.from_bytes(start[size - 4 : size], order)  # type: ignore[arg-type]
    return None if length == _UNDEFINED_LENGTH else file.tell() - 12 + size


def _syntax(dataset: pydicom.Dataset) -> pydicom.uid.UID:
    """Return the transfer syntax; implicit little endian where the file does not say."""
    meta = getattr(dataset, "file_meta", None)
    uid = pydicom.uid.UID(str(meta.get("TransferSyntaxUID", "")) if meta is not None else "")
    if not uid:
        implicit = dataset.original_encoding[0]
        return (
            pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        )
    return uid if uid.is_transfer_syntax else pydicom.uid.UID("1.2.840.10008.1.2.1")


def _declared_syntax(dataset: pydicom.Dataset) -> str:
    """Return the transfer syntax UID as the file says, known or not."""
    meta = getattr(dataset, "file_meta", None)
    declared = str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
    return declared or str(_syntax(dataset))


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """Return `count` finite numbers of a header value, or None."""
    try:
        numbers = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        return None
    good = len(numbers) == count and all(abs(v) < 1e6 for v in numbers)
    return numbers if good else None


def _number(value: Any) -> float | None:
    """Return one number of a header value, or None."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    """Return a header value as one line of text."""
    return "" if value is None else str(value).strip()


def _first(groups: list[Any], sequence: str, keyword: str) -> Any:
    """Return a value of the first functional group that has it."""
    for group in groups:
        items = group.get(sequence)
        if items and keyword in items[0]:
            return items[0].get(keyword)
    return None


def _padding(dataset: Header, signed: bool, bits: int) -> tuple[int, int] | None:
    """Return the range of stored padding values; wrong signs in the header are put right."""
    values = [_number(dataset.get(k)) for k in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    low = values[0]
    if low is None or bits not in (8, 16, 32):
        return None
    whole = [int(v) % (1 << bits) for v in (low, values[1] if values[1] is not None else low)]
    if signed:
        whole = [v - (1 << bits) if v >> (bits - 1) else v for v in whole]
    return min(whole), max(whole)


def _faceless(dataset: Header) -> bool | None:
    """Return whether the header says that the face was removed or blurred."""
    recognizable = _text(dataset.get("RecognizableVisualFeatures")).upper()
    codes = dataset.get("DeidentificationMethodCodeSequence") or ()
    method = _text(dataset.get("DeidentificationMethod")).lower()
    # 113102: Clean Recognizable Visual Features Option (DICOM PS3.16, CID 7050).
    if recognizable == "NO" or any(_text(c.get("CodeValue")) == "113102" for c in codes):
        return True
    if "deface" in method or "defacing" in method:
        return True
    return False if recognizable == "YES" else None


def _slices(path: Path, ds: pydicom.Dataset, offset: int | None) -> list[Slice]:
    """Return the `Slice` records of a header."""
    syntax = _declared_syntax(ds)
    per_frame = list(ds.get("PerFrameFunctionalGroupsSequence") or ())
    shared = list(ds.get("SharedFunctionalGroupsSequence") or ())
    if not per_frame:
        return [_slice(path, ds, [], None, syntax, offset)]
    return [
        _slice(path, ds, [group, *shared], n, syntax, offset) for n, group in enumerate(per_frame)
    ]


def _slice(
    path: Path,
    ds: Header,
    groups: list[Any],
    frame: int | None,
    syntax: str,
    offset: int | None,
) -> Slice:
    """Return one `Slice`; values of functional groups come before those of the file."""
    rows, columns = int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)
    pixels = (
        _pixel_format(ds, syntax, offset, (frame or 0) * rows * columns)
        if rows and columns
        else None
    )
    signed, bits = (pixels.signed, pixels.bits_allocated) if pixels else (False, 16)

    def value(sequence: str, keyword: str) -> Any:
        found = _first(groups, sequence, keyword) if groups else None
        return ds.get(keyword) if found is None else found

    image_type = value("CTImageFrameTypeSequence", "FrameType") or ds.get("ImageType") or ()
    position = value("PlanePositionSequence", "ImagePositionPatient")
    orientation = value("PlaneOrientationSequence", "ImageOrientationPatient")
    rescale = "PixelValueTransformationSequence"
    return Slice(
        path=path, frame=frame,
        sop_class=_sop_class(ds), sop_uid=_text(ds.get("SOPInstanceUID")),
        series_uid=_text(ds.get("SeriesInstanceUID")), modality=_text(ds.get("Modality")),
        image_type=(image_type,) if isinstance(image_type, str) else tuple(map(str, image_type)),
        description=_text(ds.get("SeriesDescription")),
        patient=(_text(ds.get("PatientID")), _text(ds.get("PatientName"))),
        body_part=_text(ds.get("BodyPartExamined")), kernel=_text(ds.get("ConvolutionKernel")),
        acquisition=_text(ds.get("AcquisitionNumber")), instance=_text(ds.get("InstanceNumber")),
        rows=rows, columns=columns,
        position=_numbers(position, 3), orientation=_numbers(orientation, 6),
        spacing=_numbers(value("PixelMeasuresSequence", "PixelSpacing"), 2),
        slope=_number(value(rescale, "RescaleSlope")),
        intercept=_number(value(rescale, "RescaleIntercept")),
        rescale_type=_text(value(rescale, "RescaleType")),
        padding=_padding(ds, signed, bits),
        tilt=_number(value("CTAcquisitionDetailsSequence", "GantryDetectorTilt")) or 0.0,
        faceless=_faceless(ds), pixels=pixels,
    )  # fmt: skip


def _sop_class(ds: Header) -> str:
    """Return what kind of object it is; a DICOMDIR says so only in its file meta information."""
    meta = getattr(ds, "file_meta", None)
    stated = _text(ds.get("SOPClassUID"))
    return stated or (_text(meta.get("MediaStorageSOPClassUID")) if meta is not None else "")


def _pixel_format(ds: Header, syntax: str, offset: int | None, values_before: int) -> PixelFormat:
    """Return the layout of stored values, `values_before` of which belong to earlier frames."""
    bits = int(ds.get("BitsAllocated") or 16)
    stored = int(ds.get("BitsStored") or bits)
    samples = int(ds.get("SamplesPerPixel") or 1)
    return PixelFormat(
        bits_allocated=bits, bits_stored=stored, high_bit=int(ds.get("HighBit") or stored - 1),
        signed=bool(ds.get("PixelRepresentation") or 0), samples=samples,
        syntax=syntax,
        offset=None if offset is None else offset + values_before * samples * bits // 8,
    )  # fmt: skip
