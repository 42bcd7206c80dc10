"""Who is left out by hand: ``exclude.txt`` beside the manifest, one pseudonym and reason a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facegen_inference.errors import UserError

EXCLUDE = "exclude.txt"


def read_exclusions(folder: Path, manifest: dict[str, Any]) -> dict[str, str]:
    """Return pseudonym (of a person or a scan) → reason; empty where there is no file.

    Lines are ``p-3f9a0c12de45, mask on the skin``; empty ones and those that start with ``#`` say
    nothing.

    Raises
    ------
    UserError
        When a line has no reason, or names nobody who was prepared or refused.
    """
    path = folder / EXCLUDE
    if not path.exists():
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{EXCLUDE} cannot be read.", "Save it as plain text (UTF-8).") from error
    people = [*manifest["people"], *manifest.get("excluded", [])]
    known = {str(row[name]) for row in people for name in ("id", "person") if row.get(name)}
    known |= set(manifest.get("failed", {}))
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, reason = (text.strip() for text in line.partition(","))
        if not reason:
            raise UserError(
                f"Line {number} of {EXCLUDE} gives no reason.", "Write: pseudonym, reason."
            )
        if name not in known:
            raise UserError(
                f"Line {number} of {EXCLUDE} names nobody in this cohort.",
                "Copy the pseudonym from the contact sheet.",
            )
        found[name] = reason
    return found
