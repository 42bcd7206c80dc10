"""Triangle meshes in files: STL, PLY and OBJ, read and written in LPS millimetres.

None of the three formats has a field for unit or axes.  What is written here says
``SPACE=LPS``; what is read is believed if it says ``SPACE=RAS`` or ``SPACE=LPS`` and taken for
LPS, with a warning, if it says nothing.  A unit is accepted only if it gives the size of a skull.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facegen_inference.dicom_header import unreadable
from facegen_inference.errors import OutputError, ScanError
from facegen_inference.mesh import Mesh
from facegen_inference.mesh_formats import RawMesh, encode, parse
from facegen_inference.mesh_repair import outward
from facegen_inference.series import Series
from facegen_inference.volume_headers import UNITS_MM

_ENDINGS = (".stl", ".ply", ".obj")
_SMALLEST_MM, _LARGEST_MM = 60.0, 400.0


def is_mesh_file(path: Path) -> bool:
    """Return whether the name is that of a mesh that can be read."""
    return path.suffix.lower() in _ENDINGS


def read_mesh(path: Path) -> Mesh:
    """Read a mesh as it is, in LPS and in the file's unit.

    Raises
    ------
    ScanError
        It is damaged, empty, or holds coordinates that are no numbers.
    """
    return _to_lps(_read(path))


def write_mesh(mesh: Mesh, path: Path) -> None:
    """Write a mesh as binary PLY (with its vertex data), binary STL or OBJ, by the file's ending.

    The file appears complete or not at all.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    if not is_mesh_file(path):
        raise OutputError(f"{path.name} is no STL, PLY or OBJ file.", "Choose one of these.")
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            for chunk in encode(mesh, path.suffix.lower()):
                file.write(chunk)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(
            f"{path.name} cannot be written: {error.strerror or error}.",
            "Choose a folder with free space that you may write to.",
            path=path,
        ) from error


def inspect_mesh_file(path: Path, uid: str, units: str | None = None) -> Series:
    """Say whether a mesh file can be read as a skull.

    Raises
    ------
    ScanError
        It cannot; see `read_skull_mesh`.
    """
    _, _, sentences = read_skull_mesh(path, units)
    return Series(uid, "mesh", path.name, files=(path,), warnings=sentences)


def read_skull_mesh(
    path: Path, units: str | None = None
) -> tuple[Mesh, dict[str, object], tuple[str, ...]]:
    """Read a mesh of a skull, in millimetres, closed and facing outward.

    Parameters
    ----------
    path
        STL, PLY or OBJ.
    units
        ``mm``, ``cm`` or ``m``; None takes millimetres if that gives the size of a skull.

    Returns
    -------
    The mesh (LPS mm), plain data on its geometry, and warnings.

    Raises
    ------
    ScanError
        It is damaged, not closed, or not of the size of a skull in any or the named unit.
    """
    raw = _read(path)
    mesh = _to_lps(raw)
    unit = units or raw.units or "mm"
    size = float(np.ptp(mesh.vertices, axis=0).max())
    _check_size(path, size, unit, named=units is not None or raw.units is not None)
    mesh = Mesh(mesh.vertices * UNITS_MM[unit], mesh.triangles, mesh.vertex_data)
    mesh, sentences = outward(mesh, path.name)
    if raw.space is None:
        sentences.append(
            f"{path.name} does not name its axes; they were taken as left, posterior, superior."
        )
    facts: dict[str, object] = {
        "units": unit, "space": raw.space or "LPS (assumed)", "vertices": len(mesh.vertices),
        "triangles": len(mesh.triangles),
        "size_mm": np.ptp(mesh.vertices, axis=0).round(3).tolist(),
    }  # fmt: skip
    return mesh, facts, tuple(sentences)


def _read(path: Path) -> RawMesh:
    """Read and check what is in a file."""
    try:
        raw = parse(path.read_bytes(), path.suffix.lower())
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, IndexError, KeyError, OverflowError, StopIteration) as error:
        raise ScanError(
            f"{path.name} is damaged or cut short: its triangles cannot be read.",
            "Export the mesh again.",
            file=path,
            cause=error,
        ) from error
    if len(raw.vertices) < 4 or len(raw.triangles) < 4:
        raise ScanError(f"{path.name} holds no surface.", "Export the mesh again.", file=path)
    bad = int((~np.isfinite(raw.vertices)).any(axis=1).sum())
    if bad:
        raise ScanError(
            f"{path.name} holds {bad} points whose coordinates are not numbers.",
            "Export the mesh again.", file=path, points=bad,
        )  # fmt: skip
    if raw.triangles.min() < 0 or raw.triangles.max() >= len(raw.vertices):
        raise ScanError(
            f"{path.name} is damaged: its triangles name points that do not exist.",
            "Export the mesh again.",
            file=path,
        )
    return raw


def _to_lps(raw: RawMesh) -> Mesh:
    """Return what was read in LPS.  RAS to LPS is half a turn, so triangles keep their sense."""
    vertices = raw.vertices * [-1.0, -1.0, 1.0] if raw.space == "RAS" else raw.vertices
    return Mesh(vertices, raw.triangles, raw.vertex_data)


def _check_size(path: Path, size: float, unit: str, *, named: bool) -> None:
    """Raise unless `size` in `unit` is that of a skull, naming the unit that would fit."""
    if _SMALLEST_MM <= size * UNITS_MM[unit] <= _LARGEST_MM:
        return
    fitting = [u for u, mm in UNITS_MM.items() if 100.0 <= size * mm <= 260.0]
    fitting = [u for u in fitting if u != unit]
    said = f"in {unit} it would be {size * UNITS_MM[unit]:.3g} mm, and a skull is 100 to 260 mm"
    words = {"mm": "millimetres", "cm": "centimetres", "m": "metres"}
    if fitting:
        raise ScanError(
            f"{path.name} measures {size:.3g} units, which looks like {words[fitting[0]]}: {said}.",
            f"If that is right, add --units {fitting[0]}.", file=path, size=size,
        )  # fmt: skip
    raise ScanError(
        f"{path.name} is not of the size of a skull: {said}.",
        "Check the unit given." if named else "Name the unit with --units mm, cm or m.",
        file=path, size=size,
    )  # fmt: skip
