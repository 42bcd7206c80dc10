"""Real head CTs of a lab's kind, where they are at hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import read_dataset
from facegen_training.cohort.key import Key
from facegen_training.cohort.prepare_cohort import Wishes, prepare_cohort

_PLACE = "ImagePositionPatient"


@pytest.fixture
def cohort(shared_ct: Path, shared_dicom: dict[str, Path], tmp_path: Path) -> Path:
    """Three people, and every third slice of a plastic skull."""
    folder = tmp_path / "cohort"
    folder.mkdir()
    for name in ("okbp_004", "okbp_054", "okbp_116"):
        shutil.copy2(shared_ct / "openkbp" / f"{name}.nii.gz", folder)
    files = (p for p in shared_dicom["philips_dryskull_1mm"].rglob("*") if p.is_file())
    heads = ((dcmread(path, specific_tags=[_PLACE]), path) for path in files)
    plastic = sorted((float(head[_PLACE].value[2]), path) for head, path in heads if _PLACE in head)
    (folder / "plastic").mkdir()
    for _, path in plastic[::3]:
        shutil.copy2(path, folder / "plastic")
    return folder


def test_people_are_prepared_and_what_is_no_head_with_a_face_is_refused(
    cohort: Path, spec: PreprocessSpec, key: Key, tmp_path: Path
) -> None:
    wishes = Wishes(spec, workers=2)
    result = prepare_cohort(cohort, tmp_path / "out", key, wishes)
    manifest = json.loads(result.manifest.read_text(encoding="utf-8"))
    people = {p["person"]: p for p in manifest["people"]}
    assert set(people) == {key.person("okbp_004"), key.person("okbp_054")}
    assert result.warnings == ()
    reasons = sorted(result.failed.values())
    assert len(reasons) == 2, reasons
    assert "of the facial bone has no skin over it" in reasons[0]
    assert "could not be aligned" in reasons[1], "a face in a thermoplastic mask"
    flags = " ".join(people[key.person("okbp_004")]["flags"])
    assert "coarse: voxels of" in flags
    assert "skin level doubtful" in flags
    data = read_dataset(result.manifest)
    bone, seen, skin, _ = data.fields(0)
    assert seen.mean() > 0.3
    inside = (bone < -1) & (seen > 0)
    assert (skin[inside] < 1).float().mean() > 0.97, "bone lies under the skin"
