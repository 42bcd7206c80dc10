"""The people to learn from: who they are, which are left out and why, and the split by person.

`split.toml` and `cohort.toml` lie beside this module and are never computed on the fly.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from facegen_inference.errors import UserError

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Case:
    """One person's scan.

    Attributes
    ----------
    id
        Name of the file without its endings.
    path
        The scan.
    source
        Name in `facegen_training.cohort.sources`.
    part
        ``train``, ``validation`` or ``test``.
    """

    id: str
    path: Path
    source: str
    part: Part


def read_table(name: str) -> dict[str, object]:
    """Return what a TOML file beside this module says."""
    text = (files("facegen_training.cohort") / name).read_text(encoding="utf-8")
    return tomllib.loads(text)


def split() -> dict[str, Part]:
    """Return person → part.

    Raises
    ------
    UserError
        When a person stands in two parts.
    """
    found: dict[str, Part] = {}
    table = read_table("split.toml")
    for part in PARTS:
        people = table[part]
        assert isinstance(people, list)
        for person in people:
            if person in found:
                raise UserError(
                    f"{person} stands in two parts of the split.",
                    "Mend split.toml: one person, one part.",
                )
            found[str(person)] = part
    return found


def excluded() -> dict[str, str]:
    """Return person → reason, of those left out."""
    table = read_table("cohort.toml").get("excluded", {})
    assert isinstance(table, dict)
    return {str(person): str(reason) for person, reason in table.items()}


def find_cases(folder: Path) -> list[Case]:
    """Return the scans under a folder that the split knows and that are not excluded.

    Raises
    ------
    UserError
        When there are none.
    """
    parts, left_out = split(), excluded()
    cases = []
    for path in sorted(folder.rglob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        if name in parts and name not in left_out:
            source = "OpenKBP" if name.startswith("okbp_") else "Visible Human Female"
            cases.append(Case(name, path, source, parts[name]))
    if not cases:
        raise UserError(
            f"No scan that the split names was found under {folder.name}.",
            "Give the folder that holds the scans named in split.toml.",
        )
    return cases
