"""Folds: everyone tested once, nobody fitted to in their own fold, and the stored draw."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from facegen_inference.errors import UserError
from facegen_training.cohort import folds
from facegen_training.cohort.cases import excluded, split
from facegen_training.cohort.dataset import Dataset


def test_the_stored_folds_are_the_draw_they_say_they_are() -> None:
    stored = [person for people in folds._stored() for person in people]
    assert folds.dealt(stored) == {p: k for k, row in enumerate(folds._stored()) for p in row}
    assert set(stored) <= split().keys()
    assert len(stored) == 67
    assert [row == folds.hash_order(row) for row in folds._stored()] == [True] * folds.FOLDS


def test_who_was_excluded_drops_out_and_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    before = folds.fold_of()
    gone = folds._stored()[2][0]
    monkeypatch.setattr(folds, "excluded", lambda: {**excluded(), gone: "a mask on the skin"})
    assert folds.fold_of() == {p: k for p, k in before.items() if p != gone}


def test_a_fold_trains_on_everyone_else_and_never_on_the_sharp_head() -> None:
    everyone = [p for p in split() if p not in excluded()]
    of = folds.fold_of()
    tested: Counter[str] = Counter()
    for fold in range(folds.FOLDS):
        parts = folds.parts_in(of, everyone, fold)
        tested.update(p for p, part in parts.items() if part == "test")
        validation = [p for p, part in parts.items() if part == "validation"]
        assert len(validation) == folds.VALIDATION_PEOPLE
        assert {of[p] for p in validation} == {(fold + 1) % folds.FOLDS}
        trained = {p for p, part in parts.items() if part == "train"}
        assert trained == set(everyone) - set(folds.SHARP_HEADS) - set(validation) - {
            p for p, k in of.items() if k == fold
        }
    assert tested == Counter([*of, *(set(everyone) & set(folds.SHARP_HEADS))])


def test_a_lab_s_own_people_are_dealt_and_say_their_fold(people: Dataset) -> None:
    tests = []
    for fold in range(folds.FOLDS):
        data = folds.folded(people, fold)
        assert Counter(person.part for person in data.people) == {
            "train": 9, "validation": 3, "test": 3,
        }  # fmt: skip
        assert data.manifest_sha256 != people.manifest_sha256
        assert len(data.stored) == len(people.stored)
        tests += [data.people[row].id for row in data.rows("test")]
    assert sorted(tests) == sorted(person.id for person in people.people)


def test_scans_of_one_person_stay_together(people: Dataset) -> None:
    twice = tuple(replace(p, person=f"p-{n // 2}") for n, p in enumerate(people.people))
    for fold in range(folds.FOLDS):
        parts: dict[str, set[str]] = {}
        for person in folds.folded(replace(people, people=twice), fold).people:
            parts.setdefault(person.person, set()).add(person.part)
        assert all(len(found) == 1 for found in parts.values())


def test_too_few_people_and_no_such_fold(people: Dataset) -> None:
    few = replace(people, people=people.people[:4], stored=people.stored[:4])
    with pytest.raises(UserError, match="4 people are too few for 5 folds"):
        folds.folded(few, 0)
    with pytest.raises(UserError, match="no fold 5"):
        folds.folded(people, 5)


def test_the_model_that_ships_learns_from_all_but_the_sharp_heads(
    people: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharp = people.people[3].whose
    monkeypatch.setattr(folds, "SHARP_HEADS", (sharp,))
    every = folds.everyone(people)
    assert [p.id for p in every.people] == [p.id for p in people.people if p.whose != sharp]
    assert {p.part for p in every.people} == {"train"}
    assert folds.people_of_run(people, every.manifest_sha256).people == every.people
    assert folds.people_of_run(people, people.manifest_sha256) is people
    with pytest.raises(UserError, match="other people"):
        folds.people_of_run(people, "0" * 64)
