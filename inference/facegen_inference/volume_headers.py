"""What NRRD and MetaImage headers say of units and position, read without a library.

ITK fills in defaults where such a header is silent; a scan whose left and right are a default
must not be believed.  These functions find out what is really written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facegen_inference.dicom_header import unreadable
from facegen_inference.errors import ScanError

UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_NRRD_SPACES = {
    "LEFT-POSTERIOR-SUPERIOR", "LPS", "RIGHT-ANTERIOR-SUPERIOR", "RAS",
    "LEFT-ANTERIOR-SUPERIOR", "LAS",
}  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """What a header says of the place of its voxels.

    Attributes
    ----------
    scale
        Millimetres per unit of ITK's reading.
    data_files
        Other files that hold the values.
    """

    scale: float
    data_files: tuple[Path, ...] = ()


def read_placement(path: Path, kind: str, units: str | None) -> Placement:
    """Return what the header of a volume file of `kind` (nrrd, meta) proves.

    Raises
    ------
    ScanError
        Units or position are not written in it.
    """
    try:
        return _nrrd(path, units) if kind == "nrrd" else _meta(path, units)
    except OSError as error:
        raise unreadable(path, error) from error


def broken(path: Path) -> ScanError:
    """Return the error for a header that makes no sense."""
    return ScanError(
        f"{path.name} is damaged: its header cannot be read.",
        "Copy it again from its source.",
        file=path,
    )


def cut_short(path: Path, cause: Exception | None = None) -> ScanError:
    """Return the error for values that end too early or cannot be decoded."""
    return ScanError(
        f"{path.name} is damaged or cut short and cannot be read.",
        "Copy it again from its source.",
        file=path,
        cause=cause,
    )


def not_volume(path: Path, why: str) -> ScanError:
    """Return the error for a picture, a series in time or colours."""
    return ScanError(
        f"{path.name} is not one three-dimensional volume: {why}.",
        "Choose the CT volume.",
        file=path,
    )


def no_position(path: Path, what: str) -> ScanError:
    """Return the error for a file whose left and right are not written."""
    return ScanError(
        f"{path.name} does not say where its voxels lie in the patient ({what}), so left and "
        "right cannot be told apart.",
        "Convert it again from the DICOM series, keeping its geometry.",
        file=path,
    )


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
    if (
        space not in _NRRD_SPACES
        or "space directions" not in fields
        or "space origin" not in fields
    ):
        raise no_position(path, "no space, space directions and space origin that name it")
    declared = {u.strip('"').lower() for u in fields.get("space units", "").split()}
    named = [u for u in UNITS_MM if u in declared]
    scale = UNITS_MM[named[0]] if named else UNITS_MM[units or "mm"]
    return Placement(scale, _data_file(path, fields.get("data file", "LOCAL")))


def _meta(path: Path, units: str | None) -> Placement:
    """Read a MetaImage header (itk.org: MetaIO documentation); its unit is the millimetre."""
    fields = _text_header(path)
    position = [k for k in ("position", "offset", "origin") if k in fields]
    turned = [k for k in ("transformmatrix", "rotation", "orientation") if k in fields]
    spaced = [k for k in ("elementspacing", "elementsize") if k in fields]
    if not (position and turned and spaced):
        raise no_position(path, "no Offset, TransformMatrix and ElementSpacing")
    return Placement(UNITS_MM[units or "mm"], _data_file(path, fields["elementdatafile"]))


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
