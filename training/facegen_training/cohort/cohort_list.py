"""A lab's list of its scans: CSV with a head line, or TOML with ``[[scan]]`` tables."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facegen_inference.errors import UserError
from facegen_training.cohort.cases import PARTS

COLUMNS = ("scan", "person", "source", "part", "series", "units", "sex", "age", "build")
"""What a list may say of a scan; only ``scan`` is needed."""
_CHOICES = {
    "part": PARTS,
    "units": ("mm", "cm", "m"),
    "sex": ("female", "male", "unknown"),
    "build": ("thin", "average", "heavy", "unknown"),
}
_PROFILE = ("sex", "age", "build")
Profile = dict[str, str | float]


@dataclass(frozen=True)
class Listed:
    """One row of a list.

    Attributes
    ----------
    scan
        What `facegen_inference.scan.open_scan` takes.
    label
        The scan as the list names it.
    person
        Whose it is; empty where the list does not say.
    source, part, series, units
        Empty where the list does not say.
    profile
        ``sex``, ``age`` (years) and ``build``, as far as known.
    """

    scan: Path
    label: str
    person: str = ""
    source: str = ""
    part: str = ""
    series: str = ""
    units: str = ""
    profile: Profile = field(default_factory=dict)


def is_list(path: Path) -> bool:
    """Return whether a file is a list by its name."""
    return path.suffix.lower() in (".csv", ".toml")


def read_list(path: Path) -> list[Listed]:
    """Read a list; paths in it are relative to its folder.

    Raises
    ------
    UserError
        When it cannot be read, has an unknown column or value, names a scan twice, gives one
        person two parts, or lists nothing.
    """
    rows = _rows(path)
    unknown = sorted({key for row in rows for key in row} - set(COLUMNS))
    if unknown:
        raise UserError(
            f"The list has a column that is not known: {unknown[0]}.",
            f"Columns are {', '.join(COLUMNS)}.",
        )
    listed = [_listed(row, number, path.parent) for number, row in enumerate(rows, start=1)]
    if not listed:
        raise UserError("The list names no scan.", "Give one scan a row, under the heading scan.")
    places = [(entry.scan, entry.series) for entry in listed]
    for number, place in enumerate(places, start=1):
        if place in places[: number - 1]:
            raise UserError(
                f"Row {number} of the list names a scan that an earlier row names.",
                "Give each scan one row.",
            )
    _one_part_each(listed)
    return listed


def _rows(path: Path) -> list[dict[str, Any]]:
    advice = "Give a CSV file with a head line, or a TOML file of [[scan]] tables."
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".toml":
            tables = tomllib.loads(text)
            if set(tables) - {"scan"}:
                raise UserError(
                    f"The list has a table that is not known: {min(set(tables) - {'scan'})}.",
                    advice,
                )
            rows = tables.get("scan", [])
        else:
            rows = _csv_rows(text)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError("The list of scans cannot be read.", advice, reason=error) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError("The list of scans cannot be read.", advice)
    return rows


def _csv_rows(text: str) -> list[dict[str, Any]]:
    """Return the rows of a table with commas, semicolons or tabs between its columns."""
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    reader = csv.DictReader(text.splitlines(), delimiter=separator, strict=True)
    rows = []
    for number, row in enumerate(reader, start=1):
        if None in row or None in row.values():
            raise UserError(
                f"Row {number} of the list has more or fewer fields than the head line.",
                "Put texts that hold the separator between double quotes.",
            )
        if any(row.values()):
            rows.append({str(key).strip().lower(): value.strip() for key, value in row.items()})
    return rows


def _listed(row: dict[str, Any], number: int, folder: Path) -> Listed:
    scan = str(row.get("scan", ""))
    if not scan or "\0" in scan:
        raise UserError(f"Row {number} of the list names no scan.", "Fill in the column scan.")
    for column, choices in _CHOICES.items():
        value = row.get(column, "")
        if value and value not in choices:
            raise UserError(
                f"Row {number} of the list has a value for {column} that is not known.",
                f"Choose one of {', '.join(choices)}, or leave it empty.",
            )
    profile: Profile = {}
    for column in _PROFILE:
        value = row.get(column, "")
        if value not in ("", "unknown"):
            profile[column] = _age(value, number) if column == "age" else str(value)
    texts = {name: str(row.get(name, "")) for name in ("person", "source", "part", "series")}
    return Listed(folder / scan, scan, **texts, units=str(row.get("units", "")), profile=profile)


def _age(value: Any, number: int) -> float:
    try:
        age = float(value)
    except (TypeError, ValueError):
        age = -1.0
    if not 0 <= age <= 120:
        raise UserError(
            f"Row {number} of the list has an age that is no number of years.",
            "Give years between 0 and 120, or leave it empty.",
        )
    return age


def _one_part_each(listed: list[Listed]) -> None:
    """Refuse a person who stands in two parts."""
    parts: dict[str, str] = {}
    for number, entry in enumerate(listed, start=1):
        person = entry.person.strip().casefold()
        if not person or not entry.part:
            continue
        if parts.setdefault(person, entry.part) != entry.part:
            raise UserError(
                f"Row {number} of the list puts a person into {entry.part} who stands in "
                f"{parts[person]} above.",
                "One person, one part: mend the list.",
            )
