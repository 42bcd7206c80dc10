"""NIfTI, NRRD and MetaImage files as a `Volume`: the values as HU, the place proved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from facegen_inference.errors import ScanError
from facegen_inference.hounsfield import check_hounsfield, to_hounsfield
from facegen_inference.series import Series
from facegen_inference.volume import Volume, matrix_from_sitk
from facegen_inference.volume_headers import Placement, read_placement

_KINDS = {
    ".nii": "nifti", ".nii.gz": "nifti", ".nrrd": "nrrd", ".nhdr": "nrrd",
    ".mha": "meta", ".mhd": "meta",
}  # fmt: skip
_MAX_SHEAR = 1e-3


def volume_kind(path: Path) -> str | None:
    """Return nifti, nrrd or meta by the file's name, or None."""
    name = path.name.lower()
    return next((kind for end, kind in _KINDS.items() if name.endswith(end)), None)


def inspect_volume_file(path: Path, uid: str, units: str | None = None) -> Series:
    """Return what the header of a volume file says, without reading its values."""
    try:
        placement = read_placement(path, volume_kind(path) or "", units)
        reader = _reader(path)
        matrix = _matrix(path, reader, placement)
    except ScanError as error:
        return Series(uid, "volume", files=(path,), usable=False, reason=error.message)
    size = [int(n) for n in reader.GetSize()[:3]]
    return Series(
        uid=uid, kind="volume", description=path.name, modality="CT", slice_count=size[2],
        shape=(size[2], size[1], size[0]),
        spacing_mm=tuple(float(s) for s in np.linalg.norm(matrix[:3, :3], axis=0)),
        files=(path, *placement.data_files),
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
    placement = read_placement(path, volume_kind(path) or "", units)
    reader = _reader(path)
    matrix = _matrix(path, reader, placement)
    if reader.GetNumberOfComponents() != 1:
        raise _not_volume(path, "its voxels hold colours or vectors")
    try:
        values = sitk.GetArrayViewFromImage(image := reader.Execute())
    except RuntimeError as error:
        raise _damaged(path, error) from error
    values = values.reshape(values.shape[-3:])
    check_hounsfield(values, path.name)
    array, observed = to_hounsfield(values)
    del image
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
        if "orthonormal" in str(error):
            raise _sheared(path) from error
        raise _damaged(path, error) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warned)
    size = reader.GetSize()
    if len(size) < 3 or any(n != 1 for n in size[3:]) or min(size[:3]) < 2:
        raise _not_volume(path, f"it measures {'×'.join(map(str, size))}")
    return reader


def _matrix(path: Path, reader: sitk.ImageFileReader, placement: Placement) -> NDArray[np.float64]:
    """Return the 4×4 (k, j, i, 1) → LPS mm matrix, compared with the header's own."""
    if reader.GetDimension() == 3:
        frame = sitk.Image([1, 1, 1], sitk.sitkUInt8)
        frame.SetSpacing(reader.GetSpacing())
        frame.SetDirection(reader.GetDirection())
        frame.SetOrigin(reader.GetOrigin())
        matrix = matrix_from_sitk(frame)
    elif placement.matrix is not None:
        matrix = placement.matrix.copy()
    else:
        raise _not_volume(path, f"it has {reader.GetDimension()} dimensions")
    if placement.matrix is not None and reader.GetDimension() == 3:
        size = np.array(reader.GetSize()[2::-1], dtype=np.float64)
        corners = np.array([np.zeros(3), size, [size[0], 0, 0], [0, size[1], 0]])
        apart = corners @ (matrix - placement.matrix)[:3, :3].T
        apart += (matrix - placement.matrix)[:3, 3]
        if np.abs(apart).max() > 0.5:
            raise _sheared(path)
    columns = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    if np.abs(columns.T @ columns - np.eye(3)).max() > _MAX_SHEAR:
        raise _sheared(path)
    matrix[:3] *= placement.scale
    return matrix


def _sheared(path: Path) -> ScanError:
    return ScanError(
        f"The axes of {path.name} are not perpendicular (a tilted or deformed grid).",
        "Open the original DICOM series, or resample the file onto a straight grid.",
        file=path,
    )


def _not_volume(path: Path, why: str) -> ScanError:
    return ScanError(
        f"{path.name} is not one three-dimensional volume: {why}.",
        "Choose the CT volume.",
        file=path,
    )


def _damaged(path: Path, cause: Exception) -> ScanError:
    return ScanError(
        f"{path.name} is damaged or cut short and cannot be read.",
        "Copy it again from its source.",
        file=path,
        cause=cause,
    )
