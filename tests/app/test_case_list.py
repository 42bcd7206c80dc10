"""A list of scans: what is done is skipped, what fails does not stop the others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from facegen_app.casework.case_list import Entry, is_done, is_list, read_list, work_through
from facegen_app.casework.export import Wanted, write_results
from facegen_inference.errors import ScanError, UserError
from facegen_inference.face import Profile
from facegen_inference.provenance import record_file
from facegen_inference.reconstruct import Request

REQUEST = Request()


def write_list(folder: Path, text: str) -> Path:
    path = folder / "cases.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_is_read_with_comments_blanks_and_relative_paths(tmp_path):
    path = write_list(
        tmp_path, "\ufeff# heads\n\na/head.nii.gz\n  b/head.nii.gz \n/far/CT 12\nscans/IM0001\n"
    )
    entries = read_list(path)
    assert [entry.scan for entry in entries] == [
        tmp_path / "a/head.nii.gz", tmp_path / "b/head.nii.gz", Path("/far/CT 12"),
        tmp_path / "scans/IM0001",
    ]  # fmt: skip
    assert [entry.name for entry in entries] == ["head", "b-head", "CT_12", "IM0001"]


def test_every_scan_has_a_folder_of_its_own_and_a_repeated_line_counts_once(tmp_path):
    text = "x/a.nii\nx/a.stl\nx/a.nii\nx/../..\nÄrzte/ö.zip\n"
    names = [entry.name for entry in read_list(write_list(tmp_path, text))]
    assert len(names) == len(set(names)) == 4
    assert names[0] == "a"
    assert not any("/" in name or name.startswith(".") for name in names)
    assert names[3] == "ö"


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n", b"\xff\xfe\x00scan"])
def test_a_list_without_scans_is_refused(tmp_path, content):
    path = tmp_path / "cases.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cases\.txt"):
        read_list(path)


def test_a_list_is_told_by_its_name(tmp_path):
    assert is_list(write_list(tmp_path, "a"))
    (tmp_path / "folder.txt").mkdir()
    assert not is_list(tmp_path / "folder.txt")
    assert not is_list(tmp_path / "missing.txt")
    (tmp_path / "head.nii").write_bytes(b"")
    assert not is_list(tmp_path / "head.nii")


@pytest.fixture
def result(made_up, tmp_path):
    """A finished result and the folder it lies in."""
    out = tmp_path / "out" / "head"
    write_results(out, made_up.prepared, made_up.face, REQUEST, wanted=Wanted(pictures=False))
    return out


def test_an_unchanged_result_of_the_same_request_is_done(result):
    assert is_done(result, REQUEST)
    assert is_done(result, Request())


def test_a_result_without_the_wanted_report_is_not_done(result, tmp_path):
    (result / "report.pdf").write_bytes(b"not recorded in result.json")
    assert not is_done(result, REQUEST, report=True)
    entries = (Entry("head", tmp_path / "head.nii"),)
    worked: list[Path] = []

    def work(entry: Entry, folder: Path) -> None:
        worked.append(folder)

    for report in (False, True):
        work_through(entries, result.parent, REQUEST, work, lambda _: None, report=report)
        assert worked == ([result] if report else [])
    data = json.loads((result / "result.json").read_text())
    data["outputs"].append(record_file(result / "report.pdf").as_data())
    (result / "result.json").write_text(json.dumps(data))
    assert is_done(result, REQUEST, report=True)


@pytest.mark.parametrize(
    "other",
    [
        Request(method="mean-face"),
        Request(seed=1),
        Request(variants=5),
        Request(profile=Profile(sex="female")),
        Request(device="cpu"),
        Request(purpose="validation"),
    ],
)
def test_another_request_is_not_done(result, other):
    assert not is_done(result, other)


@pytest.mark.parametrize("kind", ["model", "template", "atlas"])
def test_a_model_file_that_changed_is_another_request(made_up, tmp_path, kind):
    model = tmp_path / "file"
    model.write_bytes(b"first")
    request = Request(**{kind: model})
    out = tmp_path / "out"
    write_results(out, made_up.prepared, made_up.face, request, wanted=Wanted(pictures=False))
    assert is_done(out, request)
    model.write_bytes(b"second")
    assert not is_done(out, request)


def test_a_changed_scan_or_result_or_program_is_not_done(result, made_up):
    data = json.loads((result / "result.json").read_text())
    (result / "result.json").write_text(
        json.dumps({**data, "program": {"name": "FaceGen", "version": "0.0.0"}})
    )
    assert not is_done(result, REQUEST)
    (result / "result.json").write_text(json.dumps(data))
    assert is_done(result, REQUEST)
    made_up.prepared.scan.files[0].write_bytes(b"another scan")
    assert not is_done(result, REQUEST)
    made_up.prepared.scan.files[0].write_bytes(b"a scan")
    assert is_done(result, REQUEST)
    (result / "face.ply").write_bytes(b"")
    assert not is_done(result, REQUEST)


def test_a_list_goes_on_after_a_failure_and_resumes(make_up, tmp_path):
    made = {name: make_up(name.encode(), f"{name}.bin") for name in ("one", "two", "three")}
    entries = tuple(Entry(name, tmp_path / "input" / f"{name}.bin") for name in made)
    worked: list[str] = []

    def work(entry: Entry, folder: Path, *, broken: str = "two") -> None:
        worked.append(entry.name)
        if entry.name == broken:
            raise ScanError("It is broken.", "Mend it.")
        write_results(
            folder, made[entry.name].prepared, made[entry.name].face, REQUEST,
            wanted=Wanted(pictures=False),
        )  # fmt: skip

    told: list[str] = []
    first = work_through(
        entries, tmp_path / "out", REQUEST, work, lambda outcome: told.append(outcome.state)
    )
    assert [outcome.state for outcome in first] == told == ["done", "failed", "done"]
    assert str(first[1].error) == "It is broken. Mend it."
    assert not (tmp_path / "out" / "two").exists()
    again = work_through(
        entries, tmp_path / "out", REQUEST,
        lambda entry, folder: work(entry, folder, broken=""), lambda outcome: None,
    )  # fmt: skip
    assert [outcome.state for outcome in again] == ["skipped", "done", "skipped"]
    assert worked == ["one", "two", "three", "two"]
    other = replace(REQUEST, seed=9)
    third = work_through(entries, tmp_path / "out", other, work, lambda outcome: None)
    assert [outcome.state for outcome in third] == ["failed"] * 3  # not without --overwrite
