"""A CT volume as a DICOM series: CT Image Storage, one file per slice, any orientation.

Used for the demonstration scan and by the tests.  The identifiers follow from a seed, so the same
volume is written as the same bytes each time.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from facegen_inference.errors import OutputError
from facegen_inference.volume import Volume

_OFFSET = 1024
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_RAW = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", _BIG_ENDIAN)
_UID_ROOT = "1.2.826.0.1.3680043.10.1561."


def write_series(
    volume: Volume,
    folder: Path,
    *,
    patient_id: str = "FACEGEN",
    patient_name: str = "FaceGen^Synthetic",
    series_description: str = "Head",
    modality: str = "CT",
    transfer_syntax: str = ExplicitVRLittleEndian,
    bits_stored: int = 12,
    signed: bool = False,
    padding_hu: int | None = None,
    seed: str = "facegen",
    tags: Mapping[str, object] | None = None,
) -> tuple[Path, ...]:
    """Write a volume as a DICOM CT series into a folder of its own.

    Parameters
    ----------
    volume
        Any orientation.  Slices are the planes of constant k; the step from one to the next may
        be oblique to them (a tilted gantry), the rows and columns must be perpendicular.
    folder
        Made if needed; must hold nothing yet.
    patient_id, patient_name, series_description, modality
        As the header will say.
    transfer_syntax
        UID of an uncompressed syntax (little or big endian, deflated), RLE, JPEG-LS or JPEG 2000.
    bits_stored
        At most 16, in 16 allocated.  Unsigned values are HU + 1024, signed ones HU.
    signed
        Whether stored values have a sign.
    padding_hu
        Value given, and declared as padding, where ``volume.observed`` is False.
    seed
        Text from which all identifiers follow.
    tags
        Further attributes by keyword.

    Returns
    -------
    The files, in the order of k.

    Raises
    ------
    OutputError
        The folder holds something, or cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(
            f"The folder {folder.name} is not empty.", "Choose a new folder.", path=folder
        )
    common = _common(volume, seed, bits_stored, signed)
    common.PatientID, common.PatientName = patient_id, patient_name
    common.SeriesDescription, common.Modality = series_description, modality
    intercept = 0 if signed else -_OFFSET
    if padding_hu is not None:
        common.add_new("PixelPaddingValue", "SS" if signed else "US", padding_hu - intercept)
    for keyword, value in (tags or {}).items():
        setattr(common, keyword, value)
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for k in range(len(volume.array)):
            values = _stored(volume, k, bits_stored, signed, padding_hu)
            _save(common, values, volume, k, seed, transfer_syntax, partial / _name(k))
        folder.mkdir(parents=True, exist_ok=True)
        folder.rmdir()
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(
            f"The series cannot be written to {folder.name}: {error.strerror or error}.",
            "Choose a folder with free space that you may write to.",
            path=folder,
        ) from error
    return tuple(folder / _name(k) for k in range(len(volume.array)))


def _name(k: int) -> str:
    return f"CT{k + 1:04d}.dcm"


def _common(volume: Volume, seed: str, bits_stored: int, signed: bool) -> Dataset:
    """Return the attributes that all slices share."""
    matrix = volume.patient_from_voxel[:3, :3]
    _, row_step, column_step = np.linalg.norm(matrix, axis=0)
    rows, columns = matrix[:, 2] / column_step, matrix[:, 1] / row_step
    normal = np.cross(rows, columns)
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
                    "PatientBirthDate", "PatientSex", "StudyID", "KVP", "AcquisitionNumber",
                    "PositionReferenceIndicator", "PatientPosition"):  # fmt: skip
        setattr(ds, keyword, None)
    ds.Manufacturer = "FaceGen"
    ds.BodyPartExamined = "HEAD"
    ds.SeriesNumber = 1
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = (
        _uid(seed, part) for part in ("study", "series", "frame")
    )
    ds.SliceThickness = _decimal(abs(float(matrix[:, 0] @ normal)))
    ds.ImageOrientationPatient = [_decimal(v) for v in (*rows, *columns)]
    ds.PixelSpacing = [_decimal(row_step), _decimal(column_step)]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = volume.array.shape[1:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(signed)
    ds.RescaleIntercept, ds.RescaleSlope = (0 if signed else -_OFFSET), 1
    ds.RescaleType = "HU"
    ds.WindowCenter, ds.WindowWidth = 400, 2000
    return ds


def _decimal(value: float) -> str:
    """Return a number as a DICOM decimal string of at most 16 characters."""
    text = repr(round(float(value), 10) + 0.0)
    return (
        text if len(text) <= 16 else f"{value:.9e}" if abs(value) < 1e-4 else f"{value:.14g}"[:16]
    )


def _uid(seed: str, part: str) -> str:
    return str(generate_uid(prefix=_UID_ROOT, entropy_srcs=[seed, part]))


def _stored(
    volume: Volume, k: int, bits_stored: int, signed: bool, padding_hu: int | None
) -> NDArray[np.uint16]:
    """Return the stored values of a slice, (j, i) uint16 as they lie in the file."""
    values = volume.array[k].astype(np.int32)
    if padding_hu is not None and volume.observed is not None:
        values[~volume.observed[k]] = padding_hu
    low, high = (
        (-(1 << (bits_stored - 1)), 1 << (bits_stored - 1)) if signed else (0, 1 << bits_stored)
    )
    stored = np.clip(values + (0 if signed else _OFFSET), low, high - 1)
    return np.asarray(stored.astype(np.int16 if signed else np.uint16).view(np.uint16))


def _save(
    common: Dataset, values: NDArray[np.uint16], volume: Volume, k: int, seed: str,
    transfer_syntax: str, path: Path,
) -> None:  # fmt: skip
    """Write one slice."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = common.SOPClassUID
    meta.MediaStorageSOPInstanceUID = UID(_uid(seed, f"slice {k}"))
    raw = transfer_syntax in _RAW
    meta.TransferSyntaxUID = UID(transfer_syntax) if raw else ExplicitVRLittleEndian
    ds = Dataset()
    ds.file_meta = meta
    ds.update(common)
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.InstanceNumber = k + 1
    position = volume.patient_from_voxel[:3, 3] + k * volume.patient_from_voxel[:3, 0]
    ds.ImagePositionPatient = [_decimal(v) for v in position]
    order = ">u2" if transfer_syntax == _BIG_ENDIAN else "<u2"
    ds.add_new("PixelData", "OW", values.astype(order).tobytes())
    if not raw:
        ds.compress(transfer_syntax, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)
