"""What was run on what: hashes of files, versions of packages, the machine, and where time goes.

Nothing here names a patient or a person; file names are kept only where a result must be
checked against its files later.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from facegen_inference.errors import UserError
from facegen_inference.progress import Progress, silent

PACKAGES = (
    "facegen",
    "numpy",
    "scipy",
    "SimpleITK",
    "pydicom",
    "vtk",
    "onnxruntime",
    "onnxruntime-gpu",
    "reportlab",
)
_CHUNK = 1 << 20


@dataclass(frozen=True)
class FileRecord:
    """One file as it was.

    Attributes
    ----------
    name
        Path relative to the folder it was found under, with forward slashes.
    bytes
        Size in bytes.
    sha256
        Hexadecimal digest of the content.
    """

    name: str
    bytes: int
    sha256: str

    def as_data(self) -> dict[str, object]:
        """Return the record as plain data for JSON."""
        return asdict(self)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def record_file(path: Path, under: Path | None = None) -> FileRecord:
    """Return name, size and hash of a file; the name is relative to `under` where it lies there.

    Raises
    ------
    UserError
        When the file cannot be read.
    """
    name = path.name
    if under is not None and path.is_relative_to(under):
        name = path.relative_to(under).as_posix()
    try:
        return FileRecord(name, path.stat().st_size, sha256_of(path))
    except OSError as error:
        raise UserError(
            f"{path.name} cannot be read.",
            "Check that the file is still there and that you may read it.",
            reason=error,
        ) from error


def record_files(
    paths: Iterable[Path], under: Path | None = None, progress: Progress = silent
) -> tuple[FileRecord, ...]:
    """Return the records of many files, sorted by name."""
    files = sorted(paths)
    records = []
    for number, path in enumerate(files):
        progress(number / len(files), "hashing the input")
        records.append(record_file(path, under))
    return tuple(sorted(records, key=lambda record: record.name))


def combined_sha256(records: Iterable[FileRecord]) -> str:
    """Return one digest for many files: the SHA-256 of their sorted hashes, one a line.

    File names do not enter, so that a renamed or moved copy of the same series is recognised.
    """
    lines = "\n".join(sorted(record.sha256 for record in records))
    return hashlib.sha256(lines.encode("ascii")).hexdigest()


def package_versions() -> dict[str, str]:
    """Return package name → version of what is installed, and of Python."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def program_version() -> str:
    """Return FaceGen's own version."""
    try:
        return metadata.version("facegen")
    except metadata.PackageNotFoundError:
        return "unknown"


def machine() -> dict[str, object]:
    """Return what of the machine can change a number; neither its name nor its user's."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processors": os.cpu_count() or 0,
        "byte order": sys.byteorder,
    }


@contextmanager
def timed(timings: dict[str, float], step: str) -> Iterator[None]:
    """Add the wall-clock seconds spent inside to ``timings[step]``."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[step] = timings.get(step, 0.0) + time.perf_counter() - start
