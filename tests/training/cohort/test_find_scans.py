"""Whose a scan is, where no list says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cohort_lab import write_dicom

from facegen_inference.volume import Volume
from facegen_training.cohort.find_scans import find_places, search_folder


def people(root: Path, *places: str) -> dict[str, str]:
    """Return place -> person of files in a folder tree."""
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return {one.label: one.person for one in search_folder(root).candidates}


@pytest.mark.parametrize("name", ["head ct.nii.gz", "CT.nrrd", "scan.zip"])
def test_files_called_alike_in_several_folders_are_their_folders(tmp_path: Path, name: str) -> None:
    found = people(tmp_path, f"anna/{name}", f"bert/first/{name}", "bert/first/later.nii", name)
    assert found[f"anna/{name}"] == "anna"
    assert found[f"bert/first/{name}"] == found["bert/first/later.nii"] == "bert/first"
    assert len({found[f"anna/{name}"], found[f"bert/first/{name}"], found[name]}) == 3


def test_names_of_their_own_stay_and_a_bids_subject_is_one_person(tmp_path: Path) -> None:
    found = people(
        tmp_path,
        "a/0017.nii.gz",
        "b/0018.nii.gz",
        "sub-01/ses-1/ct.nii.gz",
        "sub-01/ses-2/ct.nii.gz",
        "sub-02/ses-1/ct.nii.gz",
    )
    assert found["a/0017.nii.gz"] == "0017"
    assert found["b/0018.nii.gz"] == "0018"
    assert found["sub-01/ses-1/ct.nii.gz"] == found["sub-01/ses-2/ct.nii.gz"] == "sub-01"
    assert found["sub-02/ses-1/ct.nii.gz"] == "sub-02"


def test_a_list_without_people_takes_them_from_the_dicom_headers(
    head: Volume, tmp_path: Path
) -> None:
    small = replace(head, array=head.array[:6, :16, :16])
    for place, number in (("a/series 2", "MRN-1"), ("b/series 2", "MRN-2"), ("c", "MRN-1")):
        write_dicom(small, tmp_path / place, "Quixworth^Zebulon", number)
    write_dicom(small, tmp_path / "a" / "other", "Quixworth^Zebulon", "MRN-1", SeriesNumber=3)
    one = next((tmp_path / "b/series 2").iterdir()).relative_to(tmp_path)
    table = tmp_path / "list.csv"
    rows = ["a/series 2,", "b/series 2,", "c,Anna", f"{one},", "a/other,", "gone/x.nii,"]
    table.write_text("\n".join(["scan,person", *rows]), encoding="utf-8")
    found = [candidate.person for candidate in find_places(table).candidates]
    assert found == ["MRN-1", "MRN-2", "Anna", "MRN-2", "MRN-1", "x"]
