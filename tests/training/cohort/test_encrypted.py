"""An encrypted cohort from its first run to its last day: no plain face is left anywhere."""

from __future__ import annotations

import json
from pathlib import Path

from cohort_lab import write_nifti

from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.volume import Volume
from facegen_training.cohort.dataset import read_dataset
from facegen_training.cohort.key import Key
from facegen_training.cohort.prepare_cohort import Wishes, prepare_cohort
from facegen_training.cohort.sheet_list import sheet_list
from facegen_training.cohort.wipe import wipe_prepared


def test_an_encrypted_cohort_leaves_no_face_in_plain_text_and_its_sheets_are_wiped(
    head: Volume, spec: PreprocessSpec, key: Key, tmp_path: Path
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    write_nifti(head, scans / "Quixworth.nii.gz")
    plain = prepare_cohort(scans, out, key, Wishes(spec))
    first = read_dataset(plain.manifest).array(0)

    elsewhere = tmp_path / "desk" / "Quixworth.html"
    elsewhere.parent.mkdir()
    prepare_cohort(scans, out, key, Wishes(spec, encrypt=True, sheet=elsewhere))
    kinds = {"".join(path.suffixes) for path in out.rglob("*") if path.is_file()}
    assert kinds == {".b2nd.aes", ".jpg.aes", ".json"}

    again = prepare_cohort(scans, out, key, Wishes(spec))
    assert json.loads(again.manifest.read_text(encoding="utf-8"))["encrypted"] is True
    assert (read_dataset(again.manifest, key.path).array(0) == first).all()
    assert again.sheet.parent == key.path.parent
    sheets = {elsewhere, again.sheet}
    assert all(b"data:image/jpeg" in sheet.read_bytes() for sheet in sheets)
    assert b"Quixworth" not in again.manifest.read_bytes()
    assert sheet_list(key.path).stat().st_mode & 0o077 == 0

    another = key.path.with_name("another.key")
    (done,) = wipe_prepared(out, another)
    assert done.missing_sheet == again.sheet.name
    assert {sheet.is_file() for sheet in sheets} == {True}
    out = out.rename(tmp_path / "moved")
    (done,) = wipe_prepared(out, key.path)
    assert (done.missing_sheet, done.wiped.files) == ("", 2)
    assert {sheet.exists() for sheet in sheets} == {False}
    (done,) = wipe_prepared(out, another)
    assert not done.missing_sheet, "it is known to be gone"
    left = {path.name for path in out.rglob("*") if path.is_file()}
    assert left == {"manifest.json", "split.json"}
    assert key.path.is_file()
    assert key.names.is_file()
