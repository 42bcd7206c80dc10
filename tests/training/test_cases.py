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


def test_the_projects_cohort_is_prepared_as_ever(shared_ct: Path, tmp_path: Path) -> None:
    """`--shipped` keeps names and parts of split.toml and makes no key."""
    import json

    from typer.testing import CliRunner

    from facegen_inference.preprocess import PreprocessSpec
    from facegen_inference.provenance import sha256_of
    from facegen_inference.volume_files import read_volume_file
    from facegen_training.cli import app
    from facegen_training.cohort.dataset import read_dataset
    from facegen_training.cohort.key import default_key_path
    from facegen_training.cohort.prepare import fields_of

    name = next(p for p, part in split().items() if part == "test" and p not in excluded())
    scan = shared_ct / "openkbp" / f"{name}.nii.gz"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / scan.name).symlink_to(scan)
    spec = PreprocessSpec(shape=(64, 52, 48), spacing_mm=4.0)
    (tmp_path / "spec.json").write_text(spec.to_json(), encoding="utf-8")
    words = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--shipped", "--workers", "1"]
    result = CliRunner().invoke(
        app, ["prepare", *words, "--spec", str(tmp_path / "spec.json")], catch_exceptions=False
    )
    manifest = Path(result.stdout.strip())
    assert json.loads(manifest.read_text(encoding="utf-8"))["failed"] == {}
    data = read_dataset(manifest)
    (person,) = data.people
    assert (person.id, person.part, person.source) == (name, "test", "OpenKBP")
    assert person.scan_sha256 == sha256_of(scan)
    assert (data.array(0) == fields_of(read_volume_file(scan), spec)[0]).all()
    assert not default_key_path().exists()
