"""The project's own cohort: what is there is kept, what is missing or changed is made again."""

from __future__ import annotations

from pathlib import Path

import pytest
from cohort_lab import write_nifti

from facegen_inference.errors import UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.volume import Volume
from facegen_training.cohort.cases import Case
from facegen_training.cohort.dataset import read_dataset
from facegen_training.cohort.prepare import prepare
from facegen_training.cohort.wipe import wipe_prepared

SPEC = PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0)


def test_a_wiped_or_damaged_cohort_is_prepared_again(head: Volume, tmp_path: Path) -> None:
    scan = write_nifti(head, tmp_path / "okbp_900.nii.gz")
    cases = [Case("okbp_900", scan, "OpenKBP", "train")]
    manifest, failed = prepare(cases, tmp_path / "out", SPEC)
    assert not failed
    first, text = read_dataset(manifest).array(0), manifest.read_bytes()
    (array,) = manifest.parent.glob("*.b2nd")
    state = array.stat().st_mtime_ns

    prepare(cases, tmp_path / "out", SPEC)
    assert array.stat().st_mtime_ns == state, "what is there is not made again"

    array.write_bytes(array.read_bytes()[:-1] + b"x")
    prepare(cases, tmp_path / "out", SPEC)
    assert (read_dataset(manifest).array(0) == first).all()

    (done,) = wipe_prepared(tmp_path / "out")
    assert (done.wiped.files, done.missing_sheet) == (2, "")
    assert [path.name for path in manifest.parent.iterdir()] == ["manifest.json"]
    with pytest.raises(UserError, match="These people were wiped"):
        read_dataset(manifest)
    prepare(cases, tmp_path / "out", SPEC)
    assert manifest.read_bytes() == text
    assert (read_dataset(manifest).array(0) == first).all()
