"""The whole line on a real CT of a head phantom: through the command line, to files and back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from facegen_inference.mesh_files import read_mesh
from facegen_inference.progress import silent
from facegen_inference.scan import open_scan
from facegen_inference.volume import AIR_HU, Grid, resample, sitk_image


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """Run ``facegen`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "facegen_app.cli", *(str(word) for word in words)],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def coarse_phantom(shared_dicom, tmp_path_factory) -> Path:
    """The phantom at 3 mm as NIfTI, which keeps the tests short."""
    volume = open_scan(shared_dicom["imagex_phantom"], progress=silent).volume
    assert volume is not None
    scale = 3.0 / volume.spacing
    shape = np.ceil(np.array(volume.array.shape) / scale).astype(int)
    matrix = volume.patient_from_voxel @ np.diag([*scale, 1.0])
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)
    array = resample(volume.array, volume.patient_from_voxel, grid, AIR_HU)
    image = sitk_image(np.round(array).astype(np.int16), matrix)
    path = tmp_path_factory.mktemp("coarse") / "phantom.nii.gz"
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="module")
def worked(coarse_phantom, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A list of the phantom and a scan that is not there, worked through once."""
    cases = coarse_phantom.parent / "cases.txt"
    cases.write_text(f"{coarse_phantom.name}\ngone.nii.gz\n")
    out = tmp_path_factory.mktemp("results")
    return out, run("reconstruct", cases, "--out", out, "--method", "mean-face", "--report")


def test_a_list_is_worked_through_and_its_failure_named(worked):
    out, done = worked
    assert done.returncode == 2, done.stderr
    assert "1 done, 0 skipped, 1 failed." in done.stdout
    assert "gone.nii.gz" in done.stderr
    assert (out / "phantom" / "report.pdf").is_file()
    assert not (out / "gone").exists()


def test_what_is_done_is_skipped(worked, coarse_phantom):
    out, _ = worked
    before = (out / "phantom" / "result.json").read_bytes()
    cases = coarse_phantom.parent / "cases.txt"
    done = run("reconstruct", cases, "--out", out, "--method", "mean-face", "--json")
    states = [row["state"] for row in json.loads(done.stdout)["scans"]]
    assert states == ["skipped", "failed"]
    assert (out / "phantom" / "result.json").read_bytes() == before


def test_the_face_lies_where_the_phantom_has_its_face(worked, coarse_phantom):
    out, _ = worked
    done = run("compare", out / "phantom" / "face.ply", coarse_phantom, "--json")
    assert done.returncode == 0, done.stderr
    closest = json.loads(done.stdout)["closest"]
    assert 0 < closest["mean"] < 8.0


def test_left_is_left_and_front_is_front(worked):
    out, _ = worked
    data = json.loads((out / "phantom" / "result.json").read_text())
    points = {row["code"]: np.array(row["position"]) for row in data["landmarks"]["landmarks"]}
    assert points["po-L"][0] > points["po-R"][0] + 80  # LPS: x grows to the examinee's left
    face = read_mesh(out / "phantom" / "face.ply")
    skull = read_mesh(out / "phantom" / "skull.ply")
    assert face.vertices[:, 1].mean() < skull.vertices[:, 1].mean() - 20  # y grows backward
    assert data["geometry"]["spacing_kji_mm"] == [3.0, 3.0, 3.0]
    assert data["skull"]["parts"]["cranium"] == "present"


def test_the_result_verifies(worked):
    out, _ = worked
    done = run("verify", out / "phantom")
    assert done.returncode == 0, done.stdout
    assert "1 of 1 input files are unchanged." in done.stdout


def test_the_same_scan_gives_the_same_meshes_byte_for_byte(worked, coarse_phantom, tmp_path):
    out, _ = worked
    again = tmp_path / "again"
    done = run(
        "reconstruct", coarse_phantom, "--out", again, "--method", "mean-face", "--json"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    meshes = sorted(path.relative_to(again) for path in again.rglob("*.ply"))
    assert len(meshes) == 5
    for mesh in meshes:
        assert (again / mesh).read_bytes() == (out / "phantom" / mesh).read_bytes(), mesh


def test_landmarks_given_by_the_examiner_are_used_and_recorded(worked, coarse_phantom, tmp_path):
    out, _ = worked
    found = json.loads((out / "phantom" / "result.json").read_text())["landmarks"]
    for row in found["landmarks"]:
        row["provenance"] = "manual"
    file = tmp_path / "landmarks.json"
    file.write_text(json.dumps(found))
    done = run(
        "reconstruct", coarse_phantom, "--out", tmp_path / "given", "--landmarks", file,
        "--method", "mean-face", "--variants", 0, "--case", tmp_path / "given.facegen",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verified = run("verify", tmp_path / "given.facegen", "--json")
    assert verified.returncode == 0, verified.stdout
    stored = {row["name"] for row in json.loads(verified.stdout)["files"]}
    assert stored > {
        "1/face.ply",
        "1/skull.ply",
        "1/pictures/frontal-overlay.png",
        "phantom.nii.gz",
    }
    data = json.loads((tmp_path / "given" / "result.json").read_text())
    assert data["inputs"]["landmarks"]["name"] == "landmarks.json"
    assert {row["provenance"] for row in data["landmarks"]["landmarks"]} == {"manual"}
