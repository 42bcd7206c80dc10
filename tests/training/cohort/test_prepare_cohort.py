"""A lab's own scans, prepared by the command itself in a process of its own."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from cohort_lab import PLANTED, Run, command, command_line, stretched, write_dicom, write_nifti

from facegen_inference.errors import OutputError, UserError
from facegen_inference.preprocess import PreprocessSpec, preprocess
from facegen_inference.scan import inspect_scan, open_scan
from facegen_inference.skull import bone_only, make_skull
from facegen_inference.volume import Volume
from facegen_training.cohort.dataset import read_dataset
from facegen_training.cohort.key import Key, read_or_make_key
from facegen_training.cohort.prepare import fields_of
from facegen_training.cohort.prepare_cohort import Wishes, prepare_cohort
from facegen_training.evaluation.people import own_people


def test_every_scan_is_prepared_or_refused_with_its_reason(prepared: Run) -> None:
    data = prepared.data
    assert len(data["people"]) == 3
    reasons = sorted(data["failed"].values())
    assert len(reasons) == 4
    for reason, words in zip(
        reasons,
        (
            "It is a scan of kind MR",
            "The face was removed",
            "does not hold Hounsfield",
            "cut short",
        ),
        strict=True,
    ):
        assert words in reason
    assert all(f"{scan}: {reason}" in prepared.said for scan, reason in data["failed"].items())


def test_no_name_is_left_in_anything_written_or_said(prepared: Run, lab: Path) -> None:
    files = [path for path in prepared.out.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".b2nd", ".jpg", ".json", ".html"}
    texts = {str(path.relative_to(prepared.out)): path.read_bytes() for path in files}
    texts["names of files"] = "\n".join(str(p.relative_to(prepared.out)) for p in files).encode()
    texts["said"] = prepared.said.encode()
    needles = {*PLANTED, *(n for p in lab.rglob("*") for n in p.relative_to(lab).parts)}
    needles -= {"volumes", "study"}
    for name, text in texts.items():
        for needle in needles:
            for form in (needle.encode(), needle.encode("utf-16-le")):
                assert form.lower() not in text.lower(), f"{needle} in {name}"
    assert prepared.key.secret.hex().encode() not in b"".join(texts.values())


def test_the_list_beside_the_key_says_who_is_who(prepared: Run) -> None:
    with prepared.key.names.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    data = prepared.data
    assert {row["scan"] for row in rows} == {p["id"] for p in data["people"]} | set(data["failed"])
    by_person = {row["person"]: row for row in rows}
    assert by_person["MRN-471183"]["pseudonym"] == prepared.key.person("MRN-471183")
    assert by_person["MRN-998877"]["place"].startswith("Featherstonehaugh 19500312.zip/")
    assert prepared.key.names.stat().st_mode & 0o077 == 0


def test_the_fields_are_those_the_workstation_would_make(
    prepared: Run, lab: Path, spec: PreprocessSpec
) -> None:
    data = read_dataset(prepared.manifest)
    person = prepared.key.person("Wollstonecraft_Ermintrude")
    row = next(n for n, p in enumerate(data.people) if p.person == person)
    scan = open_scan(lab / "volumes" / "Wollstonecraft_Ermintrude.nii.gz")
    assert scan.volume is not None
    expected, frame = fields_of(scan.volume, spec)
    assert (data.array(row) == expected).all()
    skull = make_skull(bone_only(scan.volume))
    seen = preprocess(skull, frame, spec)
    assert abs(data.fields(row)[:2].numpy() - seen).max() < 0.006, "stored in hundredths of a mm"
    assert data.spec == spec


def test_the_split_is_stored_by_person(prepared: Run) -> None:
    split = json.loads((prepared.manifest.parent / "split.json").read_text(encoding="utf-8"))
    people = {p["person"]: p["part"] for p in prepared.data["people"]}
    assert split["parts"] == people
    assert sorted(people.values()) == ["test", "train", "train"]


def test_the_sheet_shows_everyone_without_a_network(prepared: Run) -> None:
    page = (prepared.manifest.parent / "contact.html").read_text(encoding="utf-8")
    data = prepared.data
    assert page.count("data:image/jpeg;base64,") == 3
    for name in [p["id"] for p in data["people"]] + list(data["failed"]):
        assert name in page
    assert "http" not in page.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in page
    assert "<script" not in page


def test_a_second_run_does_nothing_anew_and_ends_the_same(
    prepared: Run, lab: Path, spec_file: Path
) -> None:
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in prepared.out.rglob("p-*")}
    manifest = prepared.manifest.read_bytes()
    words = ["--spec", spec_file, "--key", prepared.key.path, "--workers", 1, "--test", 0.34]
    done = command(lab, "--out", prepared.out, *words)
    assert done.returncode == 0, done.stderr
    assert prepared.manifest.read_bytes() == manifest
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in prepared.out.rglob("p-*")} == before


def test_another_key_is_refused(prepared: Run, lab: Path, spec_file: Path, tmp_path: Path) -> None:
    words = (lab, "--out", prepared.out, "--spec", spec_file, "--key", tmp_path / "other.key")
    done = command(*words)
    assert done.returncode == 2
    assert "There is no key file where one was looked for." in done.stderr
    assert not (tmp_path / "other.key").exists()
    read_or_make_key(tmp_path / "other.key", tmp_path / "out")
    done = command(*words)
    assert done.returncode == 2
    assert "The key is not the one these people were prepared with." in done.stderr


def test_excluded_people_go_and_new_ones_join_without_moving_others(
    prepared: Run, head: Volume, spec: PreprocessSpec, lab: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(prepared.out, out)
    cohort = tmp_path / "cohort"
    (cohort / "volumes").mkdir(parents=True)
    name = "volumes/Wollstonecraft_Ermintrude.nii.gz"
    shutil.copy2(lab / name, cohort / name)
    write_nifti(stretched(head, 1.0, 0.93), cohort / "volumes" / "sub-07_ses-1_ct.nii.gz")
    write_nifti(stretched(head, 1.005, 0.93), cohort / "volumes" / "sub-07_ses-2_ct.nii.gz")
    before = {p["person"]: p["part"] for p in prepared.data["people"]}
    gone = prepared.key.scan(prepared.key.person("sub-07"), "volumes/sub-07_ses-2_ct.nii.gz")
    folder = prepared.manifest.parent.name
    (out / folder / "exclude.txt").write_text(f"{gone}, blurred\n", encoding="utf-8")
    result = prepare_cohort(cohort, out, prepared.key, Wishes(spec))
    data = json.loads(result.manifest.read_text(encoding="utf-8"))
    assert [p["id"] for p in data["excluded"]] == [gone]
    parts = {p["person"]: p["part"] for p in data["people"]}
    assert set(parts) == {prepared.key.person(n) for n in ("sub-07", "Wollstonecraft_Ermintrude")}
    split = json.loads((out / folder / "split.json").read_text(encoding="utf-8"))["parts"]
    assert {p: split[p] for p in before} == before
    kinds = sorted(path.name.partition("-")[0] + path.suffix for path in result.left)
    assert kinds == ["p.b2nd"] * 2 + ["p.jpg"] * 2 + ["scan.json"] * 6, (
        "arrays and pictures of the two who are not in this cohort, and all records but one"
    )
    assert gone in result.sheet.read_text(encoding="utf-8")


def test_a_list_says_who_and_duplicates_stand_on_one_side(
    lab: Path, head: Volume, spec: PreprocessSpec, key: Key, tmp_path: Path
) -> None:
    name = "Wollstonecraft_Ermintrude.nii.gz"
    shutil.copy2(lab / "volumes" / name, tmp_path / "one.nii.gz")
    shutil.copy2(lab / "volumes" / name, tmp_path / "two.nii.gz")
    write_dicom(head, tmp_path / "three", "Quixworth^Zebulon", "MRN-471183")
    (tmp_path / "list.csv").write_text(
        "scan,person,part,sex,age\none.nii.gz,Anna Aal,train,female,41\n"
        "two.nii.gz,Bert Bee,test,,\nthree,Anna Aal,,,\nmissing.nii,Carl,,,\n",
        encoding="utf-8",
    )
    result = prepare_cohort(tmp_path / "list.csv", tmp_path / "out", key, Wishes(spec))
    text = result.manifest.read_bytes()
    data = json.loads(text)
    again = prepare_cohort(tmp_path / "list.csv", tmp_path / "out", key, Wishes(spec))
    assert again.manifest.read_bytes() == text, "the same list again ends the same"
    people = {p["person"]: p for p in data["people"]}
    assert {p["part"] for p in people.values()} == {"test"}
    assert "the same file" in " ".join(people[key.person("Bert Bee")]["flags"])
    assert any("moved from train to test" in warning for warning in result.warnings)
    anna = next(p for p in data["people"] if p["profile"])
    assert anna["profile"] == {"sex": "female", "age": 41.0}
    assert len([p for p in data["people"] if p["person"] == key.person("Anna Aal")]) == 2
    assert list(data["failed"].values()) == ["There is nothing at …. Check the name."]
    assert key.person("Carl") in next(iter(data["failed"]))


def test_two_series_of_one_folder_or_archive_are_two_scans(
    head: Volume, key: Key, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    write_dicom(head, folder / "a", "Quixworth^Zebulon", "MRN-471183")
    write_dicom(
        stretched(head, 1.06, 1.0), folder / "b", "Quixworth^Zebulon", "MRN-471183", SeriesNumber=2
    )
    series = [found.uid for found in inspect_scan(folder).series]
    assert len(series) == 2
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in sorted(folder.rglob("*.dcm")):
            archive.write(path, path.relative_to(tmp_path))
    rows = [f"{place},Anna,{uid}" for place in ("study", "study.zip") for uid in series]
    table = tmp_path / "list.csv"
    table.write_text("\n".join(["scan,person,series", *rows]), encoding="utf-8")
    spec = PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0)
    result = prepare_cohort(table, tmp_path / "out", key, Wishes(spec))
    assert not result.failed
    data = read_dataset(result.manifest)
    assert len({person.id for person in data.people}) == 4
    assert len({person.prepared_sha256 for person in data.people}) == 2
    for row in range(4):
        data.array(row)  # its hash is checked
    assert len(list(result.manifest.parent.glob("scan-*.json"))) == 4
    with key.names.open(encoding="utf-8", newline="") as file:
        places = {row["place"] for row in csv.DictReader(file)}
    assert places == {f"{place}/{uid}" for place in ("study", "study.zip") for uid in series}
    assert series[0].encode() not in result.manifest.read_bytes()
    subjects = own_people(table, result.manifest, data.people[0].part, key.path)
    assert {subject.label for subject in subjects} == places
    contents = {}
    for subject in subjects:
        with subject.scan() as scan:
            contents[subject.label] = scan.series.uid
    assert all(label.endswith(f"/{uid}") for label, uid in contents.items())


def _prepare(cohort: Path, tmp_path: Path, **wishes: object) -> None:
    """Prepare with a key still to be made; a refusal must leave nothing."""
    out, place = tmp_path / "out", tmp_path / "k" / "lab.key"
    asked = Wishes(**wishes)  # type: ignore[arg-type]  # wishes of several kinds
    try:
        prepare_cohort(cohort, out, lambda: read_or_make_key(place, out), asked)
    finally:
        assert not out.exists()
        assert not place.parent.exists()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("nothing here")
    with pytest.raises(UserError, match="There is no scan in the cohort"):
        _prepare(tmp_path / "empty", tmp_path)


@pytest.mark.parametrize(
    ("name", "sentence"), [("missing", "is not there"), ("scan.nii", "neither a folder nor a list")]
)
def test_what_is_no_cohort_is_refused(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "scan.nii").write_bytes(b"")
    with pytest.raises(UserError, match=sentence):
        _prepare(tmp_path / name, tmp_path)


def test_own_data_do_not_pass_for_cleared_ones(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="OpenKBP is a source on the list"):
        _prepare(tmp_path / "in", tmp_path, source="OpenKBP")


def test_a_place_that_cannot_be_written_to_is_refused(key: Key, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "scan.nii").write_bytes(b"")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        prepare_cohort(tmp_path / "in", tmp_path / "out", key, Wishes())


@pytest.mark.skipif(os.name != "posix", reason="resource limits are POSIX")
def test_a_full_disk_ends_the_run_with_one_sentence(
    lab: Path, spec_file: Path, tmp_path: Path
) -> None:
    import resource

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    words = ("--spec", spec_file, "--key", tmp_path / "lab.key", "--workers", 1)
    done = subprocess.run(
        command_line(lab / "volumes", "--out", tmp_path / "out", *words),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        preexec_fn=small_disk,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip() == (
        "Prepared people cannot be written: File too large. Choose a folder with free space that "
        "you may write to; what is done is kept."
    )
    assert not list((tmp_path / "out").rglob("*.part"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "nothing to prepare"),
        (("in", "--out", "out", "--spec", "none.json"), "input grid cannot be read"),
        (("in", "--out", "out", "--retain-until", "soon"), "is no date"),
        (("in", "--out", "out", "--retain-until", "2001-01-01"), "lies in the past"),
        (("in", "--out", "out", "--part", "train"), "goes with --shipped only"),
        (("in", "--out", "out", "--key", "out/lab.key"), "among what it protects"),
        (("in", "--out", "out", "--workers", "-1"), "fewer than no workers"),
        (("--wipe", "."), "Nothing was prepared"),
    ],
)
def test_a_wrong_command_ends_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str
) -> None:
    from typer.testing import CliRunner

    from facegen_training.cli import app

    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["prepare", *words])
    assert isinstance(result.exception, UserError)
    assert sentence in str(result.exception)
