"""A lab's own cohort is scored from its manifest and key; no name comes out."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from cohort_lab import stretched, write_nifti

from facegen_inference.errors import UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.volume import Volume
from facegen_training.cohort.key import Key, read_or_make_key
from facegen_training.cohort.prepare_cohort import Wishes, prepare_cohort
from facegen_training.evaluation.contenders import contenders
from facegen_training.evaluation.people import people_to_score
from facegen_training.evaluation.score import jobs_for, score_jobs


@dataclass(frozen=True)
class Lab:
    scans: Path
    manifest: Path
    key: Key


@pytest.fixture(scope="module")
def lab(head_3mm: Volume, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Two people who test, one of them in an archive, and one who trains."""
    root = tmp_path_factory.mktemp("lab")
    scans = root / "scans"
    whole = write_nifti(head_3mm, scans / "Quixworth.nii.gz")
    write_nifti(stretched(head_3mm, 1.08, 1.1), scans / "Throckmorton.nii.gz")
    with zipfile.ZipFile(scans / "Pemberton.zip", "w") as archive:
        archive.write(whole, "inner/head.nii.gz")
    table = root / "cohort.csv"
    table.write_text(
        "scan,person,part\n"
        "scans/Quixworth.nii.gz,Quixworth,test\n"
        "scans/Pemberton.zip,Pemberton,test\n"
        "scans/Throckmorton.nii.gz,Throckmorton,train\n",
        encoding="utf-8",
    )
    spec = PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0)
    key = read_or_make_key(root / "secret" / "cohort.key", root / "out")
    result = prepare_cohort(table, root / "out", key, Wishes(spec))
    assert not result.failed
    return Lab(table, result.manifest, key)


def test_only_the_part_is_scored_and_an_archive_is_opened(lab: Lab, tmp_path: Path) -> None:
    people = people_to_score(lab.scans, "test", prepared=(lab.manifest, lab.key.path))
    assert {p.id[:14] for p in people} == {lab.key.person(n) for n in ("Quixworth", "Pemberton")}
    rows = score_jobs(jobs_for(people, contenders(["mean-face"], []), []), tmp_path)
    assert [r.get("failed") for r in rows] == [None, None]
    first, second = (r["closest"]["mean"] for r in rows)
    assert first == pytest.approx(second, abs=1e-6)
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    names = " ".join(os.fspath(p) for p in tmp_path.rglob("*"))
    for name in ("Quixworth", "Pemberton", "head.nii"):
        assert name.encode() not in written
        assert name not in names


def test_another_key_or_another_cohort_is_refused(lab: Lab, tmp_path: Path) -> None:
    other = read_or_make_key(tmp_path / "other.key", tmp_path / "out")
    with pytest.raises(UserError, match="not the one these people were prepared with"):
        people_to_score(lab.scans, "test", prepared=(lab.manifest, other.path))
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    with pytest.raises(UserError, match="is not in this cohort"):
        people_to_score(empty, "test", prepared=(lab.manifest, lab.key.path))
