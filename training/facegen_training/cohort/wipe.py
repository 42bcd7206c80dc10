"""Wiping prepared people and the pages that show them; what was wiped is recorded.

Files are overwritten once before they are removed.  On disks that write elsewhere (SSD, copy on
write, network) old blocks may outlive that: there encryption protects, wiping only tidies.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facegen_inference.errors import UserError
from facegen_training.cohort.arrays import ENCRYPTED, PLAIN, SEALED, cannot_write
from facegen_training.cohort.contact_sheet import SHEET
from facegen_training.cohort.dataset import MANIFEST, read_manifest, write_json
from facegen_training.cohort.key import find_key, read_key
from facegen_training.cohort.pictures import PICTURE
from facegen_training.cohort.sheet_list import default_sheet, is_anothers, noted_sheets

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


@dataclass(frozen=True)
class WipedFolder:
    """What was wiped of one prepared folder.

    Attributes
    ----------
    folder
        The folder.
    wiped
        How much, contact sheets elsewhere included.
    missing_sheet
        Name of a contact sheet that must be somewhere and was not found; empty where none is.
    """

    folder: Path
    wiped: Wiped
    missing_sheet: str = ""


def wipe_prepared(out: Path, key: Path | None = None) -> list[WipedFolder]:
    """Wipe what `facegen-train prepare` left in a folder, and record it in each manifest.

    Arrays, pictures, records and contact sheets go, those beside the key and elsewhere too;
    manifest, split and exclusions, which hold pseudonyms only, stay.

    Parameters
    ----------
    out
        What ``--out`` named, or the folder in it, or a manifest.
    key
        Key file, beside which the sheets' places are noted; that of
        `facegen_training.cohort.key.find_key` where None.  Nothing is decrypted.

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
    return [_wipe_folder(manifest, find_key(key)) for manifest in manifests]


def _wipe_folder(manifest: Path, key: Path) -> WipedFolder:
    folder, data = manifest.parent, read_manifest(manifest)
    files = _prepared_files(folder, data)
    inside = any(path.name == SHEET for path in files)
    noted = _sheets_elsewhere(folder, data, key)
    there = [sheet for sheet in noted if sheet.is_file()]
    wiped = wipe_files([*files, *there])
    known = bool(inside or noted or data.get("wiped", {}).get("sheets"))
    record = {**asdict(wiped), "sheets": known}
    write_json(manifest, {**data, "wiped": record})
    missing = "" if known or not data.get("key_id") else SHEET
    if missing and data.get("encrypted"):
        missing = default_sheet(key, folder).name
    return WipedFolder(folder, wiped, missing)


def _prepared_files(folder: Path, data: dict[str, Any]) -> list[Path]:
    """Return the files that preparing left in a folder, less those that stay."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    ids = {str(row["id"]) for row in data["people"]}
    ids |= {path.name.removesuffix(PLAIN) for path in files if path.name.endswith(PLAIN)}
    return [
        path
        for path in files
        if path.name.endswith(_OURS)
        or path.name == SHEET
        or (path.suffix == ".json" and (path.name.startswith("scan-") or path.stem in ids))
    ]


def _sheets_elsewhere(folder: Path, data: dict[str, Any], key: Path) -> list[Path]:
    """Return the contact sheets of a prepared folder that lie outside it, as far as known."""
    sheets = noted_sheets(key, folder)
    usual = default_sheet(key, folder)
    if not data.get("encrypted") or usual in sheets or is_anothers(key, usual, folder):
        return sheets
    # Prepared before sheets were noted: the usual place counts beside the cohort's own key only.
    if key.is_file() and usual.is_file() and read_key(key).id == data.get("key_id"):
        sheets.append(usual)
    return sheets


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
