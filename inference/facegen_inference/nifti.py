"""NIfTI-1 and -2 files read directly, because of what libraries quietly do to them.

ITK's reader turns values that are not numbers into zero (the HU of water), fills what is missing
from a truncated file, and invents a position where none is written.  Format: nifti.nimh.nih.gov,
``nifti1.h`` and ``nifti2.h``.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from facegen_inference.dicom_header import unreadable
from facegen_inference.errors import ScanError
from facegen_inference.volume_headers import UNITS_MM, broken, cut_short, no_position, not_volume

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_UNIT_MM = {1: 1000.0, 2: 1.0, 3: 1e-3}
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI header says.

    Attributes
    ----------
    shape
        Voxels (k, j, i).
    patient_from_voxel
        4×4, (k, j, i, 1) → LPS mm.
    stored
        Type of the stored values; HU = slope · stored + intercept.
    offset
        Byte at which the values start.
    """

    shape: tuple[int, int, int]
    patient_from_voxel: NDArray[np.float64]
    stored: np.dtype[Any]
    slope: float
    intercept: float
    offset: int


def read_nifti_header(path: Path, units: str | None = None) -> NiftiHeader:
    """Read and check the header of a ``.nii`` or ``.nii.gz``.

    Raises
    ------
    ScanError
        It is damaged, is not one 3-D volume, or does not say unit or position.
    """
    try:
        with _opened(path) as file:
            return _header(path, file.read(540), units)
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error) as error:
        raise broken(path) from error
    except OSError as error:
        raise unreadable(path, error) from error


def read_nifti_values(path: Path, header: NiftiHeader) -> NDArray[Any]:
    """Return the values of a NIfTI file, (k, j, i), slope and intercept applied.

    Raises
    ------
    ScanError
        The file ends before its values do.
    """
    values = np.empty(header.shape, dtype=header.stored)
    try:
        with _opened(path) as file:
            file.read(header.offset)
            _fill(path, file, memoryview(values.reshape(-1).view(np.uint8).data))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise cut_short(path) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if (header.slope, header.intercept) == (1.0, 0.0):
        return values
    return values.astype(np.float64) * header.slope + header.intercept


def _opened(path: Path) -> BinaryIO:
    """Open a file, through gzip where it is packed."""
    if path.name.lower().endswith(".gz"):
        return cast("BinaryIO", gzip.open(path))
    return path.open("rb")


def _fill(path: Path, file: BinaryIO, room: memoryview) -> None:
    """Read until `room` is full."""
    at = 0
    while at < len(room):
        chunk = file.read(min(1 << 22, len(room) - at))
        if not chunk:
            raise cut_short(path)
        room[at : at + len(chunk)] = chunk
        at += len(chunk)


def _header(path: Path, data: bytes, units: str | None) -> NiftiHeader:
    """Interpret the bytes of a header."""
    order = next((o for o in "<>" if struct.unpack(o + "i", data[:4])[0] in (348, 540)), None)
    if order is None:
        raise broken(path)
    if struct.unpack(order + "i", data[:4])[0] == 540:
        kind = struct.unpack(order + "h", data[12:14])[0]
        dim = struct.unpack(order + "8q", data[16:80])
        pixdim = struct.unpack(order + "8d", data[104:168])
        offset, slope, intercept = struct.unpack(order + "q2d", data[168:192])
        codes = struct.unpack(order + "2i", data[344:352])
        placed = struct.unpack(order + "18d", data[352:496])
        unit = struct.unpack(order + "i", data[500:504])[0] & 7
        magic = data[4:7]
    else:
        dim = struct.unpack(order + "8h", data[40:56])
        kind = struct.unpack(order + "h", data[70:72])[0]
        pixdim = struct.unpack(order + "8f", data[76:108])
        start, slope, intercept = struct.unpack(order + "3f", data[108:120])
        offset = int(start)
        codes = struct.unpack(order + "2h", data[252:256])
        placed = struct.unpack(order + "18f", data[256:328])
        unit = data[123] & 7
        magic = data[344:347]
    if magic not in (b"n+1", b"n+2"):
        raise not_volume(path, "it is no single-file NIfTI")
    if dim[0] < 3 or min(dim[1:4]) < 2 or any(n > 1 for n in dim[4 : dim[0] + 1]):
        raise not_volume(path, "it measures " + "×".join(map(str, dim[1 : max(dim[0], 1) + 1])))
    if kind not in _TYPES:
        raise not_volume(path, f"its voxels are of NIfTI type {kind}, no plain numbers")
    matrix = _position(path, codes, placed, pixdim)
    matrix[:3] *= _millimetres(path, unit, units)
    plain = not np.isfinite(slope) or slope == 0
    return NiftiHeader(
        (dim[3], dim[2], dim[1]), matrix, np.dtype(order + _TYPES[kind]),
        1.0 if plain else slope, 0.0 if plain else intercept, offset,
    )  # fmt: skip


def _millimetres(path: Path, unit: int, units: str | None) -> float:
    """Return the size in mm of the unit that the header, or else the user, names."""
    if unit in _UNIT_MM:
        return _UNIT_MM[unit]
    if units is None:
        raise ScanError(
            f"{path.name} does not say the unit of its voxel size.",
            "If you know it, add --units mm (or cm, m).", file=path,
        )  # fmt: skip
    return UNITS_MM[units]


def _position(
    path: Path, codes: tuple[int, ...], placed: tuple[float, ...], pixdim: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return the 4×4 (k, j, i, 1) → LPS matrix in the file's unit; the sform before the qform."""
    matrices = []
    if codes[1] > 0:
        matrices.append(np.array(placed[6:18], dtype=np.float64).reshape(3, 4))
    if codes[0] > 0:
        matrices.append(_from_quaternion(placed[:6], pixdim))
    if not matrices:
        raise no_position(path, "neither sform nor qform is set")
    signs = {float(np.sign(np.linalg.det(m[:, :3]))) for m in matrices}
    if not signs <= {1.0} and not signs <= {-1.0}:
        raise no_position(path, "its position matrices are singular or contradict each other")
    out = np.eye(4)
    out[:3] = _LPS_FROM_RAS @ matrices[0][:, [2, 1, 0, 3]]
    return out


def _from_quaternion(q: tuple[float, ...], pixdim: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the 3×4 matrix (i, j, k, 1) → RAS of a qform (nifti1.h, method 2)."""
    b, c, d = q[:3]
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip
    factor = -1.0 if pixdim[0] < 0 else 1.0
    return np.column_stack([rotation * [pixdim[1], pixdim[2], pixdim[3] * factor], q[3:6]])
