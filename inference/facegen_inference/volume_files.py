"""NIfTI, NRRD and MetaImage files as a `Volume`: the values as HU, the place proved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from facegen_inference.errors import ScanError
from facegen_inference.hounsfield import check_hounsfield, to_hounsfield
from facegen_inference.nifti import read_nifti_header, read_nifti_values
from facegen_inference.series import Series
from facegen_inference.volume import Volume, matrix_from_sitk
from facegen_inference.volume_headers import Placement, cut_short, not_volume, read_placement

_KINDS = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "meta",
    ".mhd": "meta",
}
_MAX_SHEAR = 1e-3


def volume_kind(path: Path) -> str | None:
    """Return nifti, nrrd or meta by the file's name, or None."""
    name = path.name.lower()
    return next((kind for end, kind in _KINDS.items() if name.endswith(end)), None)


def inspect_volume_file(path: Path, uid: str, units: str | None = None) -> Series:
    """Return what the header of a volume file says, without reading its values.

    Raises
    ------
    ScanError
        The header proves no geometry; see `read_volume_file`.
    """
    files: tuple[Path, ...] = (path,)
    if volume_kind(path) == "nifti":
        header = read_nifti_header(path, units)
        shape, matrix = header.shape, header.patient_from_voxel
    else:
        placement = read_placement(path, volume_kind(path) or "", units)
        reader = _reader(path)
        shape, matrix = _shape(reader), _matrix(reader, placement)
        files += placement.data_files
    _check_straight(path, matrix)
    return Series(
        uid=uid, kind="volume", description=path.name, modality="CT", slice_count=shape[0],
        shape=shape, files=files,
        spacing_mm=tuple(float(s) for s in np.linalg.norm(matrix[:3, :3], axis=0)),
    )  # fmt: skip


def read_volume_file(path: Path, units: str | None = None) -> Volume:
    """Read a volume file.

    Parameters
    ----------
    path
        ``.nii``, ``.nii.gz``, ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``.
    units
        ``mm``, ``cm`` or ``m``, where the file does not say.

    Raises
    ------
    ScanError
        It is damaged, does not say where its voxels are, or is not one 3-D volume.
    NotACt
        Its values are not Hounsfield units.
    """
    if volume_kind(path) == "nifti":
        header = read_nifti_header(path, units)
        matrix = header.patient_from_voxel
        _check_straight(path, matrix)
        values = read_nifti_values(path, header)
    else:
        placement = read_placement(path, volume_kind(path) or "", units)
        reader = _reader(path)
        matrix = _matrix(reader, placement)
        _check_straight(path, matrix)
        try:
            values = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as error:
            raise cut_short(path, error) from error
    check_hounsfield(values, path.name)
    array, observed = to_hounsfield(values)
    return Volume(array, matrix, observed, source=path.name)


def _reader(path: Path) -> sitk.ImageFileReader:
    """Return a reader with the file's header read."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    warned = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _sheared(path) if "ortho" in str(error) else cut_short(path, error) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warned)
    size = reader.GetSize()
    if len(size) != 3 or min(size) < 2:
        raise not_volume(path, f"it measures {'×'.join(map(str, size))}")
    if reader.GetNumberOfComponents() != 1:
        raise not_volume(path, "its voxels hold colours or vectors")
    return reader


def _shape(reader: sitk.ImageFileReader) -> tuple[int, int, int]:
    """Return the voxels (k, j, i) that a header announces."""
    i, j, k = reader.GetSize()
    return int(k), int(j), int(i)


def _matrix(reader: sitk.ImageFileReader, placement: Placement) -> NDArray[np.float64]:
    """Return the 4×4 (k, j, i, 1) → LPS mm matrix of a header."""
    frame = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    frame.SetSpacing(reader.GetSpacing())
    frame.SetDirection(reader.GetDirection())
    frame.SetOrigin(reader.GetOrigin())
    matrix = matrix_from_sitk(frame)
    matrix[:3] *= placement.scale
    return matrix


def _check_straight(path: Path, matrix: NDArray[np.float64]) -> None:
    """Raise where the axes of a grid are not perpendicular."""
    columns = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.abs(columns.T @ columns - np.eye(3)).max() <= _MAX_SHEAR:
        raise _sheared(path)


def _sheared(path: Path) -> ScanError:
    return ScanError(
        f"The axes of {path.name} are not perpendicular (a tilted or deformed grid).",
        "Open the original DICOM series, or resample the file onto a straight grid.",
        file=path,
    )
