"""The whole line on a real Slurm: prepare, fit on two ranks, the limit, requeue, export, a face."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from facegen_inference.demo_head import head_volume, load_head_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.volume import AIR_HU, Grid, resample, sitk_image

SETTINGS = """
[linear]
copies = 3
rank = 6
folds = 3
latents = 2
feature_band_mm = 16.0

[net]
width = 8
levels = 2

[fit]
steps = 60
batch = 1
checkpoint_every = 1000
validate_every = 20
warmup_steps = 2
tensorboard = false
pictures = 0
"""


def steps_of(run: Path) -> list[int]:
    path = run / "steps.jsonl"
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["step"] for line in lines if "error" in line]


def write_scan(path: Path) -> None:
    """Write the demonstration head at 3 mm, which keeps the test short."""
    volume = head_volume(load_head_model())
    scale = 3.0 / np.asarray(volume.spacing)
    matrix = volume.patient_from_voxel @ np.diag([*scale, 1.0])
    k, j, i = (int(n) for n in np.ceil(np.array(volume.array.shape) / scale))
    array = resample(volume.array, volume.patient_from_voxel, Grid((k, j, i), matrix), AIR_HU)
    SimpleITK.WriteImage(sitk_image(np.round(array).astype(np.int16), matrix), str(path))


def prepared(slurm: Any, program: Any, machine_file: Path, folder: Path) -> Path:
    """Prepare eight synthetic heads in a job, and return the manifest."""
    program("facegen-train", "synthesize", "--out", folder / "scans", "--people", 8,
            "--size", "72x72x72", "--spacing", "4x4", "--format", "nifti")  # fmt: skip
    spec = folder / "spec.json"
    spec.write_text(PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0).to_json())
    said = program("facegen-train", "submit", "--machine", machine_file, "--gpus", 1, "--hours",
                   0.2, "--logs", folder, "--", "prepare", folder / "scans" / "cohort.csv",
                   "--out", folder / "people", "--key", folder / "cohort.key",
                   "--spec", spec)  # fmt: skip
    slurm.wait(int(said.split()[1]), "COMPLETED", seconds=180)
    (manifest,) = (folder / "people").glob("*/manifest.json")
    people = json.loads(manifest.read_text())["people"]
    assert len(people) == 8
    return Path(manifest)


@pytest.mark.timeout(600)  # two cores share two fits of two ranks each
def test_from_scans_through_a_fit_that_is_stopped_and_goes_on_to_a_face(
    slurm: Any, program: Any, machine_file: Path, tmp_path: Path
) -> None:
    manifest = prepared(slurm, program, machine_file, tmp_path / "cohort")
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS)
    jobs = {}
    for name in ("stopped", "through"):
        run = tmp_path / name
        said = program("facegen-train", "submit", "--machine", machine_file, "--gpus", 2, "--hours",
                    0.2, "--", "fit", manifest, "--run", run, "--config", settings)  # fmt: skip
        jobs[name] = int(said.split()[1])
    stopped, through = tmp_path / "stopped", tmp_path / "through"
    slurm.until(lambda: len(steps_of(stopped)) >= 3, seconds=120)
    slurm.signal(jobs["stopped"], "--signal=USR1", "--batch")
    for job in jobs.values():
        slurm.wait(job, "COMPLETED", seconds=180)

    log = (stopped / f"slurm-{jobs['stopped']}.out").read_text()
    assert log.count("queued again") == 1, log
    assert steps_of(stopped) == list(range(1, 61))  # no step lost, none done twice
    assert "queued again" not in (through / f"slurm-{jobs['through']}.out").read_text()
    ends = [run / "checkpoint-0000060" / "weights.safetensors" for run in (stopped, through)]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    record = "".join(path.read_text() for path in (stopped / "staging").glob("*.jsonl"))
    events = [json.loads(line)["event"] for line in record.splitlines()]
    assert events == ["copying", "copied", "wiped"] * 2

    model = tmp_path / "model.onnx"
    program("facegen-train", "export", stopped, manifest, model)
    scan, face = tmp_path / "scan.nii.gz", tmp_path / "face"
    write_scan(scan)
    program("facegen", "reconstruct", scan, "--out", face, "--model", model, "--method", "neural")
    result = json.loads((face / "result.json").read_text())
    assert (face / "face.ply").stat().st_size > 1000
    assert "model.onnx" in json.dumps(result)
