"""Scans that come packed: zip and tar, also inside each other, unpacked safely for one reading.

Nothing is believed of what an archive says of itself: names cannot leave the temporary folder,
and sizes are counted while unpacking, so that a small file cannot fill the disk.
"""

from __future__ import annotations

import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from facegen_inference.dicom_header import unreadable
from facegen_inference.errors import ScanError

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
_CHUNK = 1 << 20


@dataclass
class Limits:
    """How much an archive may unpack to.

    Attributes
    ----------
    files, total_bytes
        In all, nested archives included.
    ratio, ratio_from_bytes
        Largest unpacked size in multiples of the archive, looked at above `ratio_from_bytes`.
    depth
        How many archives may lie inside each other.
    """

    files: int = 50_000
    total_bytes: int = 16 << 30
    ratio: float = 300.0
    ratio_from_bytes: int = 64 << 20
    depth: int = 3


class _Budget:
    """Counts what has been unpacked and stops at the limits."""

    def __init__(self, archive: Path, limits: Limits) -> None:
        self._archive, self._limits = archive, limits
        self._packed = max(1, archive.stat().st_size)
        self._files = self._bytes = 0

    def file(self) -> None:
        """Count one file."""
        self._files += 1
        if self._files > self._limits.files:
            raise self._bomb(f"more than {self._limits.files} files")

    def take(self, count: int) -> None:
        """Count unpacked bytes."""
        self._bytes += count
        if self._bytes > self._limits.total_bytes:
            raise self._bomb(f"more than {self._limits.total_bytes >> 30} GB")
        large = self._bytes > self._limits.ratio_from_bytes
        if large and self._bytes > self._limits.ratio * self._packed:
            raise self._bomb(f"over {self._limits.ratio:.0f} times its own size")

    def _bomb(self, what: str) -> ScanError:
        return ScanError(
            f"{self._archive.name} unpacks to {what}, which no scan does; it was not opened.",
            "If it really is a scan, unpack it yourself and open the folder.",
            file=self._archive, packed_bytes=self._packed,
        )  # fmt: skip


def is_archive(path: Path) -> bool:
    """Return whether the name is that of a zip or tar."""
    name = path.name.lower()
    return name.endswith((".zip", *_TAR_ENDINGS))


@contextmanager
def unpacked(path: Path, limits: Limits | None = None) -> Iterator[Path]:
    """Unpack an archive into a temporary folder, which is gone afterwards.

    Raises
    ------
    ScanError
        The archive is damaged, locked by a password, or unpacks to more than `limits`.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="facegen-") as folder:
        target = Path(folder)
        try:
            budget = _Budget(path, limits)
            _unpack(path, target, budget, limits.depth)
        except OSError as error:
            raise unreadable(path, error) from error
        yield target


def _unpack(path: Path, target: Path, budget: _Budget, depth: int) -> None:
    """Unpack one archive, and those in it."""
    try:
        if path.name.lower().endswith(".zip"):
            _unpack_zip(path, target, budget)
        else:
            _unpack_tar(path, target, budget)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(path, error) from error
    for inner in [p for p in target.rglob("*") if p.is_file() and is_archive(p)]:
        if depth <= 1:
            raise ScanError(
                f"{path.name} holds archives inside archives, deeper than is reasonable.",
                "Unpack it yourself and open the folder.",
                file=path,
            )
        room = inner.with_name(inner.name + ".unpacked")
        room.mkdir()
        _unpack(inner, room, budget, depth - 1)
        inner.unlink()


def _damaged(path: Path, error: Exception) -> ScanError:
    return ScanError(
        f"{path.name} is damaged or not an archive of the kind its name says.",
        "Copy or pack it again.",
        file=path,
        cause=error,
    )


def _unpack_zip(path: Path, target: Path, budget: _Budget) -> None:
    """Unpack the plain files of a zip."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            if member.flag_bits & 1:
                raise ScanError(
                    f"{path.name} is locked with a password.",
                    "Unpack it yourself and open the folder.",
                    file=path,
                )
            try:
                source = archive.open(member)
            except NotImplementedError as error:
                raise _damaged(path, error) from error
            with source:
                _copy(source, _inside(target, member.filename), budget)


def _unpack_tar(path: Path, target: Path, budget: _Budget) -> None:
    """Unpack the plain files of a tar; links and devices are left out."""
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            source = archive.extractfile(member) if member.isfile() else None
            if source is not None:
                with source:
                    _copy(source, _inside(target, member.name), budget)


def _inside(target: Path, name: str) -> Path:
    """Return a place for `name` that cannot lie outside `target`."""
    parts = [p for p in name.replace("\\", "/").split("/") if p not in ("", ".", "..")]
    parts = [p.replace(":", "_").replace("\0", "_")[:120] for p in parts] or ["file"]
    return target.joinpath(*parts)


def _copy(source: IO[bytes], place: Path, budget: _Budget) -> None:
    """Write one unpacked file; a name that is taken gets another beside it."""
    budget.file()
    place.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while place.exists():
        number += 1
        place = place.with_name(f"{number}-{place.name}")
    with place.open("xb") as out:
        while chunk := source.read(_CHUNK):
            budget.take(len(chunk))
            out.write(chunk)
