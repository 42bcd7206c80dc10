"""Wiping prepared people, and copies of them on a node's scratch disk; what was wiped is recorded.

Files are overwritten once before they are removed.  On disks that write elsewhere (SSD, copy on
write, network) old blocks may outlive that: there encryption protects, wiping only tidies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from facegen_inference.errors import UserError
from facegen_training.cohort.arrays import ENCRYPTED, PLAIN, SEALED, cannot_write
from facegen_training.cohort.contact_sheet import SHEET
from facegen_training.cohort.dataset import MANIFEST, read_manifest, write_json
from facegen_training.cohort.exclude import EXCLUDE
from facegen_training.cohort.pictures import PICTURE

_BLOCK = bytes(1 << 20)
_OURS = (PLAIN, ENCRYPTED, PICTURE, f"{PICTURE}{SEALED}", ".part")


@dataclass(frozen=True)
class Wiped:
    """What was wiped.

    Attributes
    ----------
    time
        ISO 8601, UTC.
    files, bytes
        How much.
    """

    time: str
    files: int
    bytes: int


def wipe_prepared(out: Path) -> list[Wiped]:
    """Wipe what `facegen-train prepare` left in a folder, and record it in each manifest.

    Arrays, pictures, contact sheets and the workers' notes go; manifest, split and exclusions,
    which hold pseudonyms only, stay.

    Raises
    ------
    UserError
        When nothing was prepared there.
    OutputError
        When something cannot be removed.
    """
    places = [out.parent] if out.name == MANIFEST else [out, *sorted(out.glob("*/"))]
    manifests = [place / MANIFEST for place in places if (place / MANIFEST).is_file()]
    if not manifests:
        raise UserError(
            "Nothing was prepared in this folder.", "Give the folder that --out named before."
        )
    done = []
    for manifest in manifests:
        data = read_manifest(manifest)
        wiped = wipe_files(_prepared_files(manifest.parent))
        write_json(manifest, {**data, "wiped": asdict(wiped)})
        done.append(wiped)
    return done


def _prepared_files(folder: Path) -> list[Path]:
    """Return the files that preparing left in a folder, less those that stay."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and (
            path.name.endswith(_OURS)
            or path.name == SHEET
            or (path.name.startswith("scan-") and path.suffix == ".json")
        )
    ]


def wipe_files(files: Iterable[Path]) -> Wiped:
    """Overwrite files with zeros and remove them.

    Raises
    ------
    OutputError
        When one cannot be overwritten or removed.
    """
    count = total = 0
    for path in files:
        try:
            size = path.stat().st_size
            with path.open("r+b") as file:
                for start in range(0, size, len(_BLOCK)):
                    file.write(_BLOCK[: min(len(_BLOCK), size - start)])
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except OSError as error:
            raise cannot_write(path.parent, error) from error
        count, total = count + 1, total + size
    return Wiped(datetime.now(UTC).isoformat(timespec="seconds"), count, total)


@contextmanager
def staged(manifest: Path, scratch: Path) -> Iterator[Path]:
    """Copy prepared people to a scratch disk for as long as the context lasts.

    Parameters
    ----------
    manifest
        Of the people; encrypted ones stay encrypted.
    scratch
        Folder on the node's own disk.

    Yields
    ------
    The manifest of the copy.  At the end, also after an error, the copy is wiped and that is
    recorded under ``wiped_copies`` in the original manifest, whose digest does not change.
    """
    data = read_manifest(manifest)
    ending = ENCRYPTED if data.get("encrypted") else PLAIN
    names = [f"{row['id']}{ending}" for row in data["people"]]
    names += [name for name in (MANIFEST, EXCLUDE) if (manifest.parent / name).is_file()]
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        copy = Path(mkdtemp(prefix="facegen-", dir=scratch))
    except OSError as error:
        raise cannot_write(scratch, error) from error
    try:
        for name in names:
            _copied(manifest.parent / name, copy / name)
        yield copy / MANIFEST
    finally:
        wiped = wipe_files(sorted(path for path in copy.iterdir() if path.is_file()))
        shutil.rmtree(copy)
        with _alone(manifest.parent):
            _record_copy(manifest, wiped)


def _copied(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise UserError(
            f"The prepared array of {source.name.partition('.')[0]} is missing.",
            "Run facegen-train prepare again.",
        ) from error
    except OSError as error:
        raise cannot_write(target.parent, error) from error


def _record_copy(manifest: Path, wiped: Wiped) -> None:
    data: dict[str, Any] = read_manifest(manifest)
    write_json(manifest, {**data, "wiped_copies": [*data.get("wiped_copies", []), asdict(wiped)]})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other jobs of this kind waiting, where the system can (not on Windows)."""
    with suppress(ImportError):
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
        return
    yield
