"""What NIfTI, NRRD and MetaImage headers say of units and position, read without a library.

ITK fills in defaults where such a header is silent; a scan whose left and right are a default
must not be believed.  These functions find out what is really written.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facegen_inference.dicom_header import unreadable
from facegen_inference.errors import ScanError

UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_NRRD_SPACES = {
    "LEFT-POSTERIOR-SUPERIOR", "LPS", "RIGHT-ANTERIOR-SUPERIOR", "RAS",
    "LEFT-ANTERIOR-SUPERIOR", "LAS",
}  # fmt: skip
_NRRD_ITK = _NRRD_SPACES  # all three are turned to LPS by ITK


@dataclass(frozen=True)
class Placement:
    """What a header says of the place of its voxels.

    Attributes
    ----------
    scale
        Millimetres per unit of ITK's reading (1 where the header's unit is already applied).
    matrix
        4×4 (k, j, i, 1) → LPS in ITK's units where it could be worked out independently.
    data_files
        Other files that hold the values.
    """

    scale: float
    matrix: NDArray[np.float64] | None = None
    data_files: tuple[Path, ...] = ()


def read_placement(path: Path, kind: str, units: str | None) -> Placement:
    """Return what the header of a volume file of `kind` (nifti, nrrd, meta) proves.

    Raises
    ------
    ScanError
        Units or position are not written in it.
    """
    try:
        if kind == "nifti":
            return _nifti(path, units)
        return _nrrd(path, units) if kind == "nrrd" else _meta(path, units)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _broken(path) from error
    except OSError as error:
        raise unreadable(path, error) from error
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise _broken(path) from error


def _broken(path: Path) -> ScanError:
    return ScanError(
        f"{path.name} is damaged: its header cannot be read.",
        "Copy it again from its source.",
        file=path,
    )


def _no_position(path: Path, what: str) -> ScanError:
    return ScanError(
        f"{path.name} does not say where its voxels lie in the patient ({what}), so left and "
        "right cannot be told apart.",
        "Convert it again from the DICOM series, keeping its geometry.",
        file=path,
    )


def _nifti(path: Path, units: str | None) -> Placement:
    """Read a NIfTI-1 or -2 header (nifti.nimh.nih.gov: nifti1.h, nifti2.h)."""
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        header = file.read(540)
    order = next((o for o in "<>" if struct.unpack(o + "i", header[:4])[0] in (348, 540)), None)
    if order is None:
        raise _broken(path)
    if struct.unpack(order + "i", header[:4])[0] == 540:
        pixdim = struct.unpack(order + "8d", header[104:168])
        q_code, s_code = struct.unpack(order + "2i", header[344:352])
        quaternion = struct.unpack(order + "6d", header[352:400])
        rows = struct.unpack(order + "12d", header[400:496])
        unit = struct.unpack(order + "i", header[500:504])[0] & 7
    else:
        pixdim = struct.unpack(order + "8f", header[76:108])
        q_code, s_code = struct.unpack(order + "2h", header[252:256])
        quaternion = struct.unpack(order + "6f", header[256:280])
        rows = struct.unpack(order + "12f", header[280:328])
        unit = header[123] & 7
    if q_code <= 0 and s_code <= 0:
        raise _no_position(path, "neither sform nor qform is set")
    if unit not in (1, 2, 3):
        if units is None:
            raise ScanError(
                f"{path.name} does not say the unit of its voxel size.",
                "If you know it, add --units mm (or cm, m).",
                file=path,
            )
        scale = UNITS_MM[units]
    else:
        scale = 1.0
    unit_mm = {1: 1000.0, 3: 1e-3}.get(unit, 1.0)
    matrices = []
    if s_code > 0:
        matrices.append(np.array(rows, dtype=np.float64).reshape(3, 4))
    if q_code > 0:
        matrices.append(_from_quaternion(quaternion, pixdim))
    signs = {float(np.sign(np.linalg.det(m[:, :3]))) for m in matrices}
    if len(signs) > 1 or 0.0 in signs:
        raise _no_position(path, "its two position matrices contradict each other")
    return Placement(scale, _lps(matrices[0] * unit_mm))


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
    rotation = rotation * [pixdim[1], pixdim[2], pixdim[3] * factor]
    return np.column_stack([rotation, np.array(q[3:6])])


def _lps(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn a 3×4 (i, j, k, 1) → RAS matrix into the 4×4 (k, j, i, 1) → LPS."""
    out = np.eye(4)
    out[:3] = np.diag([-1.0, -1.0, 1.0]) @ matrix[:, [2, 1, 0, 3]]
    return out


def _text_header(path: Path) -> dict[str, str]:
    """Return the ``key: value`` or ``key = value`` lines at the start of a file, keys lower."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(500):
            line = file.readline(4096).decode("latin-1").strip()
            if not line and fields:
                break
            separator = "=" if "=" in line and ":" not in line.split("=")[0] else ":"
            key, found, value = line.partition(separator)
            if found:
                fields[key.strip().lower()] = value.lstrip("=").strip()
            if key.strip().lower() == "elementdatafile":
                break
    return fields


def _nrrd(path: Path, units: str | None) -> Placement:
    """Read an NRRD header (teem.sourceforge.net/nrrd/format.html)."""
    fields = _text_header(path)
    space = fields.get("space", "").upper()
    if space not in _NRRD_ITK or "space directions" not in fields or "space origin" not in fields:
        raise _no_position(path, "no space, space directions and space origin that name it")
    declared = {u.strip('"').lower() for u in fields.get("space units", "").split()}
    named = [u for u in UNITS_MM if u in declared]
    scale = UNITS_MM[named[0]] if named else UNITS_MM[units or "mm"]
    return Placement(scale, None, _data_file(path, fields.get("data file", "LOCAL")))


def _meta(path: Path, units: str | None) -> Placement:
    """Read a MetaImage header (itk.org: MetaIO documentation); its unit is the millimetre."""
    fields = _text_header(path)
    position = [k for k in ("position", "offset", "origin") if k in fields]
    turned = [k for k in ("transformmatrix", "rotation", "orientation") if k in fields]
    spaced = [k for k in ("elementspacing", "elementsize") if k in fields]
    if not (position and turned and spaced):
        raise _no_position(path, "no Offset, TransformMatrix and ElementSpacing")
    return Placement(UNITS_MM[units or "mm"], None, _data_file(path, fields["elementdatafile"]))


def _data_file(path: Path, name: str) -> tuple[Path, ...]:
    """Return the file that holds the values where it is another one."""
    if name.upper() == "LOCAL":
        return ()
    if name.upper().startswith("LIST") or "%" in name:
        raise ScanError(
            f"{path.name} spreads its values over several files.",
            "Convert it to one file (.nrrd, .mha or .nii.gz).",
            file=path,
        )
    data = path.parent / name
    if not data.is_file():
        raise ScanError(
            f"{path.name} needs the file {Path(name).name}, which is not there.",
            "Put both files into one folder.",
            file=path,
            data=name,
        )
    return (data,)
