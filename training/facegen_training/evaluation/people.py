"""Who is scored: the people of one part of the split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facegen_inference.errors import UserError
from facegen_training.cohort.cases import Case, find_cases

PARTS = ("test", "validation")


def people_to_score(scans: Path, part: str, only: Sequence[str] | None = None) -> list[Case]:
    """Return the people of a part of the split whose scans lie under a folder.

    Parameters
    ----------
    scans
        Folder of the scans.
    part
        ``test`` or ``validation``: whoever was trained on cannot be scored.
    only
        Names to keep; everyone when left away.

    Raises
    ------
    UserError
        For another part, a name that is not in it, or when nobody is left.
    """
    if part not in PARTS:
        raise UserError(
            f"People of the part {part} cannot be scored.",
            f"Score {' or '.join(PARTS)}: people that nothing was fitted to.",
        )
    cases = [case for case in find_cases(scans) if case.part == part]
    missing = sorted(set(only or ()) - {case.id for case in cases})
    if missing:
        raise UserError(f"{missing[0]} is not in the part {part}.", "Check the names.")
    cases = [case for case in cases if not only or case.id in only]
    if not cases:
        raise UserError(f"Nobody is in the part {part}.", "Prepare people with a test part first.")
    return cases
