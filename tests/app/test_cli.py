"""The command line: names, exit statuses, sentences on stderr, data on stdout."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import typer
from typer.testing import CliRunner

from facegen_app.casework.export import Wanted, write_results
from facegen_app.casework.job import Done, write_unplaced
from facegen_app.cli import app
from facegen_app.commands import inspect as inspect_command
from facegen_inference.errors import FrameUnsure
from facegen_inference.landmarks import Landmark, read_landmarks
from facegen_inference.mask_file import read_mask
from facegen_inference.mesh_files import write_mesh
from facegen_inference.progress import Cancelled
from facegen_inference.reconstruct import Request, SkullUnplaced
from facegen_inference.scan import Scan
from facegen_inference.series import Inspection, Series

COMMANDS = ("demo", "inspect", "reconstruct", "compare", "verify", "models")


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def run_apart(*words: object, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a user does."""
    program = code or "from facegen_app.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *(str(word) for word in words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def empty_scan(tmp_path: Path) -> Path:
    """A CT of nothing but air."""
    image = SimpleITK.GetImageFromArray(np.full((40, 40, 40), -1000, np.int16))
    image.SetSpacing((3.0, 3.0, 3.0))
    path = tmp_path / "air.nii.gz"
    SimpleITK.WriteImage(image, str(path))
    return path


def test_help_lists_every_command():
    done = run("--help")
    assert done.exit_code == 0
    assert all(name in done.output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    assert run(name, "--help").exit_code == 0


def test_the_promised_options_are_there():
    group = typer.main.get_command(app)
    options = {
        option for parameter in group.commands["reconstruct"].params for option in parameter.opts
    }
    assert options >= {
        "--out", "--series", "--model", "--method", "--landmarks", "--depth-table", "--purpose",
        "--overwrite", "--sex", "--age", "--build", "--variants", "--seed", "--device",
        "--report", "--units", "--case",
    }  # fmt: skip


def test_starting_needs_neither_qt_nor_vtk_nor_a_network():
    done = run_apart(
        code="import sys, facegen_app.cli;"
        "print([m for m in ('PySide6', 'vtkmodules', 'onnxruntime', 'numpy', 'torch')"
        " if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_version():
    done = run("--version")
    assert done.exit_code == 0
    assert done.output.startswith("facegen ")


def test_a_path_opens_the_window_and_a_command_does_not(tmp_path):
    group = typer.main.get_command(app)
    with group.make_context("facegen", [str(tmp_path)]) as context:
        name, command, rest = group.resolve_command(context, [str(tmp_path)])
        assert (name, rest) == ("window", [str(tmp_path)])
        assert command.hidden
        assert group.resolve_command(context, ["inspect", "x"])[0] == "inspect"
        for case in ("no-such.facegen", str(tmp_path / "no-such.facegen")):  # it is made there
            assert group.resolve_command(context, [case])[0] == "window"


def test_a_misspelt_command_is_named_and_mended():
    done = run("inspct", "scan")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Did you mean inspect?" in done.stderr
    done = run("no-such-scan.nii")
    assert done.exit_code == 2
    assert "facegen --help" in done.stderr


def test_wrong_usage_is_status_2_and_data_where_wanted():
    assert run("reconstruct", "--out", "x").exit_code == 2
    done = run("reconstruct", "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["message"] == "Missing argument 'SCAN'."
    assert run("reconstruct", "a", "--out", "b", "--device", "tpu").exit_code == 2


def test_a_missing_scan_is_one_sentence_and_as_data_too(tmp_path):
    out = tmp_path / "out"
    done = run("reconstruct", tmp_path / "gone", "--out", out, "--method", "mean-face")
    assert (done.exit_code, done.stdout) == (2, "")
    assert str(tmp_path / "gone") in done.stderr
    assert done.stderr.count("\n") == 1
    done = run("reconstruct", tmp_path / "gone", "--out", out, "--method", "mean-face", "--json")
    data = json.loads(done.stdout)
    assert data["error"] == "ScanError"
    assert "gone" in data["message"]
    assert data["advice"]
    assert not out.exists()


def test_a_scan_without_a_head_leaves_nothing(empty_scan, tmp_path):
    out = tmp_path / "results" / "out"
    done = run("reconstruct", empty_scan, "--out", out, "--method", "mean-face")
    assert done.exit_code == 2, done.output
    assert "no bone in it" in done.stderr
    assert not (tmp_path / "results").exists()


def test_an_occupied_folder_is_refused_before_the_scan_is_opened(tmp_path):
    (tmp_path / "mine").write_text("mine")
    done = run("reconstruct", tmp_path / "gone", "--out", tmp_path)
    assert done.exit_code == 2
    assert "--overwrite" in done.stderr


def test_a_list_reports_what_failed_at_the_end(empty_scan, tmp_path):
    cases = tmp_path / "cases.txt"
    cases.write_text(f"# two that cannot work\ngone.nii\n{empty_scan.name}\n")
    done = run("reconstruct", cases, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "0 done, 0 skipped, 2 failed." in done.stdout
    assert "gone.nii" in done.stderr
    assert "air.nii.gz" in done.stderr
    done = run("reconstruct", cases, "--out", tmp_path / "out", "--json")
    states = [(row["name"], row["state"]) for row in json.loads(done.stdout)["scans"]]
    assert states == [("gone", "failed"), ("air", "failed")]
    done = run("reconstruct", cases, "--out", tmp_path / "out", "--landmarks", "x.json")
    assert done.exit_code == 2
    assert "cannot share" in done.stderr


def test_a_bug_is_status_1_with_a_report_that_names_nobody(tmp_path, monkeypatch):
    private = ["DOE", "JANE", "19450312", "jane", str(tmp_path)]

    def broken(series: object) -> str:
        raise KeyError(" ".join(private))

    monkeypatch.setattr(inspect_command, "_described", broken)
    image = SimpleITK.GetImageFromArray(np.full((9, 9, 9), -1000, np.int16))
    path = tmp_path / "jane.nii.gz"
    SimpleITK.WriteImage(image, str(path))
    done = run("inspect", path)
    assert done.exit_code == 1
    report = Path(done.stderr.split("It is in ")[1].strip().rstrip("."))
    text = report.read_text()
    assert "KeyError" in text
    assert "commands/inspect.py" in text
    assert "facegen inspect" in text
    for word in private:
        assert word not in text
        assert word not in done.stderr.replace(str(report), "")


def test_being_stopped_shows_nothing(monkeypatch):
    def stopped(path: object, **choices: object) -> None:
        raise Cancelled

    monkeypatch.setattr("facegen_inference.scan.inspect_scan", stopped)
    done = run("inspect", ".")
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "")


def test_inspect_shows_series_and_refusals(empty_scan, tmp_path):
    done = run("inspect", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    series = json.loads(done.stdout)["series"]
    assert [row["shape"] for row in series] == [[40, 40, 40]]
    assert series[0]["proposed"] is True
    done = run("inspect", tmp_path)
    assert "40 × 40 × 40 voxels of 3.00 × 3.00 × 3.00 mm" in done.stdout
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "note.doc").write_text("no scan")
    done = run("inspect", empty)
    assert done.exit_code == 2
    assert "There is no scan in" in done.stderr
    assert "note.doc" in done.stdout
    (empty / "note.doc").unlink()
    done = run("inspect", empty)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"There is no scan in {empty} that can be used." in done.stderr


def test_inspect_lists_a_refused_series_once(tmp_path):
    path = tmp_path / "flat.nii.gz"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.zeros((9, 9), np.int16)), str(path))
    assert len(json.loads(run("inspect", tmp_path, "--json").stdout)["series"]) == 1
    done = run("inspect", tmp_path)
    assert done.exit_code == 2
    assert done.stdout.count("it measures 9×9") == 1
    assert "Set aside" not in done.stdout


def test_compare_takes_units_from_the_command_line(made_up, monkeypatch, tmp_path):
    face = tmp_path / "face.ply"
    write_mesh(made_up.face.mesh, face)
    seen = []

    def opened(path: Path, series: str | None, units: str | None, **choices: object) -> Scan:
        seen.append(units)
        return Scan(None, made_up.face.mesh, Series("1", "mesh"), (path,))

    monkeypatch.setattr("facegen_inference.scan.open_scan", opened)
    assert "mesh of bone" in run("compare", face, "x", "--units", "cm").stderr
    assert seen == ["cm"]


def test_inspect_takes_units_from_the_command_line(monkeypatch):
    seen = []

    def found(path: Path, **choices: object) -> Inspection:
        seen.append(choices["units"])
        return Inspection(path, (Series("1", "volume"),))

    monkeypatch.setattr("facegen_inference.scan.inspect_scan", found)
    assert run("inspect", "x", "--units", "cm").exit_code == 0
    assert seen == ["cm"]


def test_warnings_and_missing_parts_are_printed(made_up, monkeypatch, tmp_path):
    face = replace(
        made_up.face, notes=("Unlike anyone.", "By a model."), warnings=("Unlike anyone.",)
    )
    monkeypatch.setattr(
        "facegen_app.casework.job.run_job",
        lambda job, progress: Done(job.out, made_up.prepared, face, {}),
    )
    done = run("reconstruct", "scan", "--out", tmp_path)
    lines = done.stdout.splitlines()
    assert "Warning: Unlike anyone." in lines
    assert "Note: Unlike anyone." not in lines
    assert "Note: By a model." in lines
    assert "Warning: The gantry tilt of 18.5° was undone." in lines
    assert "Note: Of the skull, absent: left orbit, right orbit." in lines
    assert "Note: The couch was removed." in lines
    data = json.loads(run("reconstruct", "scan", "--out", tmp_path, "--json").stdout)
    assert data["warnings"] == ["The gantry tilt of 18.5° was undone.", "Unlike anyone."]
    assert data["parts"]["left orbit"] == "absent"


def test_a_scan_inside_the_results_is_not_replaced(tmp_path):
    out = tmp_path / "demo"
    (out / "scan").mkdir(parents=True)
    scan = out / "scan" / "cube.nii.gz"
    values = np.full((40, 40, 40), -1000, np.int16)
    values[10:30, 10:30, 10:30] = 1500
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(scan))
    link = tmp_path / "link"
    link.symlink_to(out / "scan")
    for given in (out / "scan", scan, link, tmp_path):  # the last is above: its file lies within
        done = run(
            "reconstruct", given, "--out", out, "--overwrite", "--method", "mean-face"
        )  # fmt: skip
        assert done.exit_code == 2
        assert "where results are to be replaced" in done.stderr
    assert scan.is_file()
    done = run("reconstruct", scan, "--out", tmp_path / "x", "--overwrite", "--method", "mean-face")
    assert "does not enclose anything" in done.stderr


def test_a_file_that_is_no_model_is_refused_before_the_scan_is_opened(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"\x08\x07not a model")
    done = run("reconstruct", tmp_path / "gone", "--out", tmp_path / "out", "--model", model)
    assert done.exit_code == 2
    assert "model.onnx" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_file_of_the_wrong_kind_is_refused_before_the_scan_is_opened(tmp_path):
    model = tmp_path / "file.npz"
    model.write_bytes(b"no template")
    given = ("reconstruct", tmp_path / "gone", "--out", tmp_path / "out", "--model", model)
    done = run(*given, "--method", "template")
    assert done.exit_code == 2, done.stderr
    assert "file.npz is not a template" in done.stderr
    done = run(*given, "--method", "mean-face")
    assert done.exit_code == 2, done.stderr
    assert "mean-face uses no model file" in done.stderr


def test_a_depth_table_that_the_method_would_not_use_is_refused(tmp_path):
    given = ("reconstruct", tmp_path / "gone", "--out", tmp_path / "out")
    done = run(*given, "--depth-table", "t-table")
    assert done.exit_code == 2, done.stderr
    assert "neural uses no depth table" in done.stderr


def test_models_names_a_damaged_file(tmp_path):
    folder = Path.home() / ".local/share/facegen/models"
    if sys.platform != "linux":
        pytest.skip("the folder of the user's models differs")
    import os

    folder = Path(os.environ["XDG_DATA_HOME"]) / "facegen" / "models"
    folder.mkdir(parents=True)
    (folder / "broken.onnx").write_bytes(b"\x08\x07")
    done = run("models", "--json")
    assert done.exit_code == 2
    rows = {Path(row["path"]).name: row for row in json.loads(done.stdout)["models"]}
    assert all("training_skulls" in row for row in rows.values() if "error" not in row)
    assert rows["broken.onnx"]["error"]["message"]
    assert "refused" in run("models").stdout


def test_verify_tells_a_changed_result_from_an_unchanged_one(made_up, tmp_path):
    out = tmp_path / "out"
    write_results(
        out, made_up.prepared, made_up.face, Request(), wanted=Wanted(pictures=False)
    )  # fmt: skip
    done = run("verify", out)
    assert done.exit_code == 0, done.output
    assert "4 of 4 output files are unchanged." in done.stdout
    assert "1 of 1 input files are unchanged." in done.stdout
    (out / "face.ply").write_bytes(b"")
    done = run("verify", out, "--json")
    assert done.exit_code == 2
    data = json.loads(done.stdout)
    assert data["unchanged"] is False
    assert {"kind": "output", "name": "face.ply", "state": "changed"} in data["files"]
    assert run("verify", tmp_path / "input").exit_code == 2


def test_compare_needs_skin(made_up, tmp_path):
    out = tmp_path / "out"
    write_results(
        out, made_up.prepared, made_up.face, Request(), wanted=Wanted(pictures=False)
    )  # fmt: skip
    done = run("compare", out / "face.ply", out / "skull.ply")
    assert done.exit_code == 2, done.output
    assert "mesh of bone" in done.stderr
    done = run("compare", out / "face.ply", out / "skull.ply", "--exclude", out / "face.ply")
    assert done.exit_code == 2
    assert "cannot be read as a mask" in done.stderr


def test_a_mask_lies_where_its_file_says(tmp_path):
    values = np.zeros((4, 5, 6), np.uint8)
    values[1, 2, 3] = 7
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing((2.0, 3.0, 4.0))
    image.SetOrigin((10.0, 20.0, 30.0))
    path = tmp_path / "mask.nrrd"
    SimpleITK.WriteImage(image, str(path))
    mask = read_mask(path)
    assert mask.array.sum() == 1
    where = mask.grid.patient_points(np.argwhere(mask.array).astype(float))
    np.testing.assert_allclose(where, [[16.0, 26.0, 34.0]])


def test_an_unsure_frame_leaves_points_and_a_picture_and_says_how_to_go_on(made_up, tmp_path):
    points = {"po-L": Landmark("po-L", (1.0, 2.0, 3.0))}
    error = SkullUnplaced(FrameUnsure("It is unsure."), made_up.prepared.skull, points)
    out = tmp_path / "out"
    path = write_unplaced(out, error)
    assert sorted(p.name for p in out.iterdir()) == ["landmarks.json", "skull-in-scanner-axes.png"]
    assert read_landmarks(path)["po-L"].position == (1.0, 2.0, 3.0)
    assert f"--landmarks {path}" in str(error)
    path.write_text("edited by hand")
    assert write_unplaced(out, error).name == "landmarks-2.json"
    assert path.read_text() == "edited by hand"
    # results may then be written beside them without --overwrite
    write_results(
        out, made_up.prepared, made_up.face, Request(), wanted=Wanted(pictures=False)
    )  # fmt: skip
    assert path.read_text() == "edited by hand"


def test_the_demo_needs_a_folder_exactly_when_headless(tmp_path):
    done = run("demo", "--headless")
    assert done.exit_code == 2
    assert "--out DIR" in done.stderr
    done = run("demo", "--out", tmp_path / "x")
    assert done.exit_code == 2
    assert "--headless" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_request_to_end_leaves_nothing_behind(tmp_path):
    code = f"""
import os, signal, sys, time
from pathlib import Path
from facegen_app import cli
from facegen_app.casework.destination import building
from facegen_app.commands import inspect
import facegen_inference.scan as scan
def slow(path, **choices):
    with building(Path({str(tmp_path / "out")!r}), overwrite=False) as folder:
        (folder / 'half.ply').write_text('half')
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
scan.inspect_scan = slow
cli.main()
"""
    done = run_apart("inspect", ".", code=code)
    assert done.returncode == 130, done.stderr
    assert done.stderr == ""
    assert [p.name for p in tmp_path.iterdir()] == []
