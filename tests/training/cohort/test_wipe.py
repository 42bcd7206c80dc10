from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from egg_heads import synthesize

from facegen_inference.errors import OutputError, UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import read_dataset, read_manifest
from facegen_training.cohort.wipe import staged, wipe_files, wipe_prepared

SPEC = PreprocessSpec(shape=(16, 14, 12), spacing_mm=16.0)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return synthesize(tmp_path / "out" / "digest-1", SPEC, people=4)


def test_wiping_removes_people_and_is_recorded(manifest: Path) -> None:
    folder = manifest.parent
    (folder / "contact.html").write_text("faces")
    (folder / "scan-12.json").write_text("{}")
    (folder / "split.json").write_text("{}")
    (folder / "own notes.txt").write_text("mine")
    size = sum(p.stat().st_size for p in folder.glob("*.b2nd")) + len("faces") + len("{}")
    (wiped,) = wipe_prepared(folder.parent)
    assert (wiped.files, wiped.bytes) == (6, size)
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["manifest.json", "own notes.txt", "split.json"]
    assert read_manifest(manifest)["wiped"] == {
        "time": wiped.time,
        "files": 6,
        "bytes": size,
    }
    with pytest.raises(UserError, match=f"wiped on {wiped.time[:10]}"):
        read_dataset(manifest)


def test_a_file_is_overwritten_before_it_goes(tmp_path: Path) -> None:
    secret, link = tmp_path / "a.b2nd", tmp_path / "link"
    secret.write_bytes(b"face" * 500_000)
    link.hardlink_to(secret)
    wiped = wipe_files([secret])
    assert (wiped.files, wiped.bytes) == (1, 2_000_000)
    assert not secret.exists()
    assert link.read_bytes() == bytes(2_000_000)


def test_what_cannot_be_wiped_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        wipe_files([tmp_path / "missing"])
    with pytest.raises(UserError, match="Nothing was prepared"):
        wipe_prepared(tmp_path)


def test_a_staged_copy_is_read_and_then_gone_and_that_is_recorded(
    manifest: Path, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    (manifest.parent / "exclude.txt").write_text("synthetic_001, blurred\n")
    original = read_dataset(manifest)
    with staged(manifest, scratch) as copy:
        data = read_dataset(copy)
        assert copy.is_relative_to(scratch)
        assert data.manifest_sha256 == original.manifest_sha256
        torch.testing.assert_close(data.fields(1), original.fields(1))
    assert list(scratch.iterdir()) == []
    (note,) = json.loads(manifest.read_text())["wiped_copies"]
    assert note["files"] == 6
    assert note["bytes"] > 4000
    assert read_dataset(manifest).manifest_sha256 == original.manifest_sha256


def test_a_failed_job_leaves_no_copy_either(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(manifest, tmp_path / "scratch"):
        raise ZeroDivisionError
    assert list((tmp_path / "scratch").iterdir()) == []
    assert len(json.loads(manifest.read_text())["wiped_copies"]) == 1


def test_an_incomplete_cohort_is_not_staged(manifest: Path, tmp_path: Path) -> None:
    next(manifest.parent.glob("*.b2nd")).unlink()
    with pytest.raises(UserError, match="is missing"), staged(manifest, tmp_path / "scratch"):
        pytest.fail("nothing to work on")
    assert list((tmp_path / "scratch").iterdir()) == []
