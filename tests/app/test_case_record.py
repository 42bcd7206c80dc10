"""``facegen reconstruct --case``: a run in a case, with all that it rests on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from facegen_app.casework.audit_log import Who
from facegen_app.casework.case_actions import set_setting, write_note
from facegen_app.casework.case_data import CaseData
from facegen_app.casework.case_errors import CaseError, CaseReadOnly
from facegen_app.casework.case_opening import create_case, open_case
from facegen_app.casework.case_record import Finished, recording
from facegen_app.casework.export import Wanted, write_results
from facegen_app.casework.job import Done, Job
from facegen_app.casework.verify_case import verify_case
from facegen_app.cli import app
from facegen_inference.face import Profile
from facegen_inference.reconstruct import Request

ANNA = Who("anna", "examiner")


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def finished(made_up, tmp_path) -> Finished:
    """A made-up reconstruction in a folder of results."""
    request = Request(profile=Profile("female", 40.0, "thin"))
    wanted = Wanted(pictures=False, case=CaseData(case_number="7/26"))
    out = tmp_path / "out"
    result = write_results(out, made_up.prepared, made_up.face, request, wanted=wanted)
    job = Job(made_up.prepared.scan.files[0], out, request, wanted=wanted)
    return Finished(job, Done(result, made_up.prepared, made_up.face, {}))


def test_a_run_is_stored_with_all_it_rests_on(finished, tmp_path):
    path = tmp_path / "new" / "7.facegen"
    with recording(path, ANNA) as record:
        assert record(finished) == "1"
    out = finished.job.out
    with open_case(path) as case:
        (source,) = case.rows("sources").values()
        assert source["path"] == str(tmp_path / "input")
        assert source["beside"] == "../input"
        assert json.loads(source["geometry"])["kind"] == "volume"
        (file,) = case.rows("source_files").values()
        assert file["sha256"] == hashlib.sha256(b"a scan").hexdigest()
        points = case.rows("landmarks")
        assert {code: row["provenance"] for code, row in points.items()} == {
            code: point.provenance for code, point in finished.done.prepared.landmarks.items()
        }
        assert [points["n"][axis] for axis in ("x_mm", "y_mm", "z_mm")] == [6.0, 2.0, -3.0]
        assert case.row("settings", "bone_level_hu") == {"value": 250.0}
        frame = json.loads(case.row("settings", "frame")["value"])
        assert np.array_equal(frame["patient_from_frame"], np.eye(4))
        assert case.rows("profile") == {
            "sex": {"value": "female"}, "age": {"value": 40.0}, "build": {"value": "thin"},
        }  # fmt: skip
        assert case.row("facts", "case_number") == {"value": "7/26"}
        one = case.row("runs", "1")
        assert (one["method"], one["model_sha256"]) == ("neural", "b" * 64)
        assert json.loads(one["result"]) == json.loads((out / "result.json").read_text())
        meshes = case.rows("meshes")
        assert set(meshes) == {
            "1/face.ply", "1/skull.ply", "1/variants/variant-01.ply", "1/variants/variant-02.ply",
        }  # fmt: skip
        for row in meshes.values():
            assert case.content(row["sha256"]) == (out / row["name"]).read_bytes()
        done = [name for name, state in case.steps().items() if state == "done"]
        assert done == ["scan", "skull", "landmarks", "profile", "face"]
        assert {entry.role for entry in case.log()} == {"examiner"}
    verdict = verify_case(path)
    assert verdict.unchanged, verdict.faults
    assert len(verdict.checked) == 5


def test_the_same_again_adds_a_run_and_nothing_else(finished, tmp_path):
    path = tmp_path / "7.facegen"
    for key in ("1", "2"):
        with recording(path, ANNA) as record:
            assert record(finished) == key
    with open_case(path) as case:
        whats = [entry.what for entry in case.log()]
        assert whats.count("face made") == 2
        assert whats.count("scan chosen") == 1
        assert set(case.rows("runs")) == {"1", "2"}
        content = case._connection.execute("SELECT count(*) FROM content").fetchone()
        assert content == (4,)
        assert case.steps()["face"] == "done"


def test_another_frame_makes_a_review_stale(finished, tmp_path):
    path = tmp_path / "7.facegen"
    with recording(path, ANNA) as record:
        record(finished)
    prepared = finished.done.prepared
    turned = replace(prepared.frame, patient_from_frame=np.diag([-1.0, -1.0, 1.0, 1.0]))
    other = replace(
        finished, done=replace(finished.done, prepared=replace(prepared, frame=turned))
    )  # fmt: skip
    with open_case(path) as case:
        case.act(set_setting("bone_level_hu", 300.0, "tried another level"))
        assert case.steps()["face"] == "stale"
    with recording(path, ANNA) as record:
        record(other)
    with open_case(path) as case:
        assert case.steps()["face"] == "done"
        first, second = case.rows("runs").values()
        assert first["rests_on"] != second["rests_on"]


def test_a_case_that_is_open_elsewhere_is_refused_before_any_work(finished, tmp_path):
    path = tmp_path / "7.facegen"
    with create_case(path, ANNA) as case:
        case.act(write_note("1", "scan", "at work"))
        with pytest.raises(CaseReadOnly, match="open already, by anna"), recording(path, ANNA):
            pass
    with pytest.raises(CaseError, match="no name for a case"), recording(tmp_path / "x", ANNA):
        pass


def test_a_job_that_fails_leaves_no_case(tmp_path):
    path = tmp_path / "7.facegen"
    done = run("reconstruct", tmp_path / "gone", "--out", tmp_path / "out", "--case", path)
    assert done.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_list_cannot_go_into_one_case(tmp_path):
    (tmp_path / "cases.txt").write_text("a.nii\nb.nii\n")
    done = run(
        "reconstruct", tmp_path / "cases.txt", "--out", tmp_path / "o", "--case", tmp_path / "a"
    )  # fmt: skip
    assert done.exit_code == 2
    assert "cannot go into one case" in done.stderr


def test_the_command_stores_what_it_made(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("facegen_app.casework.job.run_job", lambda _job, _tell: finished.done)
    path = Path(tmp_path / "out" / "7.facegen")
    words = ("reconstruct", finished.job.scan, "--out", finished.job.out, "--case", path)
    done = run(*words, "--role", "second examiner")
    assert done.exit_code == 0, done.stderr
    assert f"Stored in the case {path} as run 1." in done.stdout
    data = json.loads(run(*words, "--json").stdout)
    assert (data["case"], data["run"]) == (str(path), "2")
    with open_case(path) as case:
        assert case.log()[1].role == "second examiner"
    assert run("verify", path).exit_code == 0
