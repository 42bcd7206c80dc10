from __future__ import annotations

from pathlib import Path

import pytest

from facegen_inference.errors import UserError
from facegen_training.cohort.cases import PARTS, excluded, find_cases, split
from facegen_training.cohort.sources import ALLOWED, cleared_sources


def test_every_person_stands_in_one_part_and_every_part_has_people() -> None:
    parts = split()
    assert set(parts.values()) == set(PARTS)
    assert all(reason for reason in excluded().values())


def test_excluded_people_and_strangers_are_not_found(tmp_path: Path) -> None:
    left_out = next(iter(excluded()))
    kept = next(person for person in split() if person not in excluded())
    for name in (left_out, kept, "stranger"):
        (tmp_path / f"{name}.nii.gz").write_bytes(b"")
    assert [case.id for case in find_cases(tmp_path)] == [kept]


def test_a_folder_without_known_scans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No scan"):
        find_cases(tmp_path)


def test_only_listed_sources_ship() -> None:
    assert [s.name for s in cleared_sources(["OpenKBP", "OpenKBP"], ship=True)] == ["OpenKBP"]
    with pytest.raises(UserError, match="my hospital"):
        cleared_sources(["OpenKBP", "my hospital"], ship=True)
    own = cleared_sources(["my hospital"], ship=False)
    assert "not cleared" in own[0].attribution


def test_the_allow_list_says_why_and_since_when() -> None:
    for entry in ALLOWED.values():
        assert entry.why
        assert entry.upstream_terms
        assert len(entry.date) == 10
