"""Five folds over people: everyone is scored once, by models that never saw that person.

The folds of the project's cohort are stored (`folds.toml`, beside this module); a lab's own people
are dealt in the order of a hash of their pseudonyms, which the cohort's key made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from facegen_inference.errors import UserError
from facegen_training.cohort.cases import excluded, read_table
from facegen_training.cohort.dataset import Dataset

FOLDS = 5
VALIDATION_PEOPLE = 5
"""People of the next fold whom this fold's networks do not learn from: they are watched while a
network is trained, and count when its bands are calibrated."""
SHARP_HEADS = ("visible_human_female",)
"""Held out of every fold; tested with the models of the first."""
SALT = "facegen-fold-1"


def hash_order(people: Iterable[str]) -> list[str]:
    """Return people in the order of the SHA-256 of ``facegen-fold-1:<person>``."""
    return sorted(people, key=lambda one: hashlib.sha256(f"{SALT}:{one}".encode()).digest())


def dealt(people: Iterable[str]) -> dict[str, int]:
    """Return person → fold: in hash order, one to each fold in turn."""
    return {person: n % FOLDS for n, person in enumerate(hash_order(people))}


def fold_of() -> dict[str, int]:
    """Return person → fold of the project's cohort, less those excluded since.

    Raises
    ------
    UserError
        When a person stands in two folds.
    """
    left_out = excluded()
    found: dict[str, int] = {}
    for fold, people in enumerate(_stored()):
        for person in people:
            if person in found:
                raise UserError(
                    f"{person} stands in two folds.", "Mend folds.toml: one person, one fold."
                )
            found[person] = fold
    return {person: fold for person, fold in found.items() if person not in left_out}


def _stored() -> list[list[str]]:
    rows = read_table("folds.toml")["people"]
    assert isinstance(rows, list)
    assert len(rows) == FOLDS
    return rows


def folds_of(people: Iterable[str]) -> dict[str, int]:
    """Return person → fold of those who are scored among these people.

    The stored folds where the people are the project's; else all people, dealt anew.

    Raises
    ------
    UserError
        When there are too few people for every fold.
    """
    there = set(people)
    stored = fold_of()
    folds = {person: stored[person] for person in sorted(there & stored.keys())}
    if not folds:
        folds = dealt(there - set(SHARP_HEADS))
    if len(set(folds.values())) < FOLDS:
        raise UserError(
            f"{len(folds)} people are too few for {FOLDS} folds.", "Prepare more people."
        )
    return folds


def parts_in(folds: Mapping[str, int], people: Iterable[str], fold: int) -> dict[str, str]:
    """Return person → part for one fold; whoever has no part in it is left away.

    Parameters
    ----------
    folds
        Person → fold, see `folds_of`.
    people
        Everyone there is: those without a fold train in every fold.
    fold
        0 to 4.
    """
    following = [p for p in hash_order(folds) if folds[p] == (fold + 1) % FOLDS]
    validation = set(following[:VALIDATION_PEOPLE])
    parts = {}
    for person in people:
        if person in SHARP_HEADS:
            if fold == 0:
                parts[person] = "test"
        elif folds.get(person) == fold:
            parts[person] = "test"
        else:
            parts[person] = "validation" if person in validation else "train"
    return parts


def folded(data: Dataset, fold: int) -> Dataset:
    """Return prepared people with the parts of one fold.

    Parameters
    ----------
    data
        Everyone, whatever their parts.
    fold
        0 to 4: its people become ``test``, `VALIDATION_PEOPLE` of the next fold ``validation``,
        the rest, who stand in no fold included, ``train``.  Sharp heads are tested in the first
        fold and have no part in the others.

    Returns
    -------
    The same arrays; the manifest's hash says the fold, so that no run can be taken for another's.

    Raises
    ------
    UserError
        When there is no such fold or there are too few people.
    """
    if fold not in range(FOLDS):
        raise UserError(f"There is no fold {fold}.", f"Folds: 0 to {FOLDS - 1}.")
    people = [person.whose for person in data.people]
    parts = parts_in(folds_of(people), people, fold)
    kept = [n for n, person in enumerate(people) if person in parts]
    about = json.dumps([data.manifest_sha256, fold, parts], sort_keys=True)
    return replace(
        data,
        people=tuple(replace(data.people[n], part=parts[people[n]]) for n in kept),
        stored=tuple(data.stored[n] for n in kept),
        manifest_sha256=hashlib.sha256(about.encode()).hexdigest(),
    )


def everyone(data: Dataset) -> Dataset:
    """Return prepared people with nobody left out, for the model that ships.

    Everyone is in the part ``train`` but the sharp heads, who are left away.  What is said of such
    a model is what its recipe reached in folds; what it is calibrated on are the predictions that
    its linear part and its windowed ridge make of people left out of them.

    Returns
    -------
    The same arrays; the manifest's hash says so, so that no other run can be taken for it.
    """
    kept = [n for n, person in enumerate(data.people) if person.whose not in SHARP_HEADS]
    about = json.dumps([data.manifest_sha256, "everyone"])
    return replace(
        data,
        people=tuple(replace(data.people[n], part="train") for n in kept),
        stored=tuple(data.stored[n] for n in kept),
        manifest_sha256=hashlib.sha256(about.encode()).hexdigest(),
    )


def people_of_run(data: Dataset, digest: str) -> Dataset:
    """Return prepared people as a run had them: with their own parts, or `everyone`.

    Parameters
    ----------
    data
        As prepared.
    digest
        ``manifest_sha256`` of the run.

    Raises
    ------
    UserError
        When the run learned from other people.
    """
    for one in (data, everyone(data)):
        if one.manifest_sha256 == digest:
            return one
    raise UserError(
        "The run learned from other people than this manifest lists.",
        "Give the manifest that fit was given.",
    )
