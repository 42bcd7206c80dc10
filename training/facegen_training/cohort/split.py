"""Who trains, who validates, who tests: by person, drawn once with the cohort's key and kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facegen_inference.errors import UserError
from facegen_training.cohort.cases import PARTS
from facegen_training.cohort.key import SPLIT, Key

_HELD_OUT = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True)
class Fractions:
    """Share of people who validate and who test; the rest trains."""

    validation: float = 0.1
    test: float = 0.2

    def __post_init__(self) -> None:
        """Refuse shares that leave nobody to train."""
        if not (
            0 <= self.validation < 1 and 0 <= self.test < 1 and self.validation + self.test < 1
        ):
            raise UserError(
                "The shares for validation and test leave nobody to train.",
                "Give numbers from 0 to below 1 that add up to less than 1.",
            )


@dataclass(frozen=True)
class Split:
    """Person → part, and what had to be said about it.

    Attributes
    ----------
    parts
        Pseudonym → ``train``, ``validation`` or ``test``.
    warnings
        Sentences about people who had to be moved.
    moved
        Pseudonym → part that the lab's list says, of people who were moved from it.
    """

    parts: dict[str, str]
    warnings: tuple[str, ...] = ()
    moved: dict[str, str] = field(default_factory=dict)


def draw_split(
    people: Iterable[str],
    key: Key,
    fractions: Fractions,
    stated: Mapping[str, str],
    kept: Split,
    alike: Sequence[tuple[str, str]] = (),
) -> Split:
    """Give each person a part.

    Parameters
    ----------
    people
        Pseudonyms.
    key
        Decides the order in which new people are drawn.
    fractions
        Shares wanted among all people.
    stated
        Pseudonym → part, as the lab's list says.
    kept
        The earlier split; its people stay where they are.
    alike
        Pairs of pseudonyms that seem to be one person.

    Returns
    -------
    The split.  People drawn earlier keep their part, so that a model's test people stay unseen.

    Raises
    ------
    UserError
        When the list contradicts the earlier split; not where it only repeats the part from which
        a person was moved, nor where the person is moved to the earlier part now.
    """
    people = set(people)
    parts = {**kept.parts, **stated}
    groups = _groups(sorted(people), alike)
    new = [group for group in groups if not any(person in parts for person in group)]
    new.sort(key=lambda group: key.derived("split", min(group)))
    total = len(people)
    target = {
        "test": round(fractions.test * total),
        "validation": round(fractions.validation * total),
    }
    current = [person for group in groups for person in group]
    for group in new:
        count = Counter(parts.get(person) for person in current)
        part = next((p for p in target if count[p] + len(group) <= target[p]), "train")
        parts.update(dict.fromkeys(group, part))
    again = {p: kept.parts[p] for p, part in stated.items() if kept.moved.get(p) == part}
    parts.update({person: part for person, part in again.items() if person not in people})
    warnings = _join(groups, parts, again)
    for person in sorted(stated):
        if kept.parts.get(person, stated[person]) not in (stated[person], parts[person]):
            raise UserError(
                f"The list puts {person} into {stated[person]}, but {SPLIT} has "
                f"{kept.parts[person]}.",
                "One person, one part for good: mend the list, or prepare into a new folder.",
            )
    moved = {person: part for person, part in stated.items() if parts[person] != part}
    moved = {**{p: part for p, part in kept.moved.items() if p not in stated}, **moved}
    return Split(dict(sorted(parts.items())), warnings, dict(sorted(moved.items())))


def _groups(people: Sequence[str], alike: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return people grouped so that those who are alike stand together."""
    leader = {person: person for person in people}

    def find(person: str) -> str:
        while leader[person] != person:
            person = leader[person]
        return person

    for one, other in alike:
        if one in leader and other in leader:
            first, second = sorted((find(one), find(other)))
            leader[second] = first
    groups: dict[str, list[str]] = {}
    for person in people:
        groups.setdefault(find(person), []).append(person)
    return list(groups.values())


def _join(
    groups: list[list[str]], parts: dict[str, str], again: Mapping[str, str]
) -> tuple[str, ...]:
    """Bring people who seem to be one onto the side that is held out most.

    `again` has the parts of people who were moved earlier: they stay moved, also when the other
    person is gone.
    """
    warnings = []
    for group in groups:
        known = {part[person] for part in (parts, again) for person in group if person in part}
        part = max(known, key=_HELD_OUT.__getitem__)
        for person in group:
            before = parts.get(person)
            if before is not None and before != part:
                warnings.append(
                    f"{person} was moved from {before} to {part}, where a person stands whose "
                    "scan is almost the same."
                )
            parts[person] = part
    return tuple(warnings)


def read_split(path: Path, key: Key) -> Split:
    """Read an earlier split; empty where there is none.

    Raises
    ------
    UserError
        When it was drawn with another key, is damaged, or puts a person into no known part.
    """
    if not path.exists():
        return Split({})
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        parts = {str(person): str(part) for person, part in data["parts"].items()}
        moved = {str(person): str(part) for person, part in data.get("moved", {}).items()}
        key_id = str(data["key_id"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{SPLIT} is damaged.", "Restore it from a backup, or prepare into a new folder."
        ) from error
    if key_id != key.id:
        raise UserError(
            "The key is not the one these people were prepared with.",
            "Give that key with --key, or prepare into a new folder.",
        )
    if not set(parts.values()) <= set(PARTS):
        raise UserError(f"{SPLIT} names a part that is not known.", f"Parts: {', '.join(PARTS)}.")
    return Split(parts, moved=moved)


def split_data(split: Split, key: Key, fractions: Fractions) -> dict[str, Any]:
    """Return what is stored of a split."""
    return {
        "version": 1,
        "key_id": key.id,
        "fractions": {"validation": fractions.validation, "test": fractions.test},
        "parts": split.parts,
        **({"moved": split.moved} if split.moved else {}),
    }
