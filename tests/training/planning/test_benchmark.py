"""``facegen-train benchmark``: real steps, timed; what is written, and what plan makes of it."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from facegen_inference.errors import UserError
from facegen_training.cli import app
from facegen_training.cohort.dataset import Dataset
from facegen_training.networks.pix2pix3d import Pix2PixConfig
from facegen_training.planning.benchmark import Grid, calibration_of, run_grid
from facegen_training.planning.calibration import read_calibration
from facegen_training.planning.flops import step_flops
from facegen_training.planning.measure import Settings, precision_set, time_step
from facegen_training.planning.workloads import Request

CPU = torch.device("cpu")


def test_the_command_writes_figures_plot_and_calibration(tmp_path: Path) -> None:
    words = ["--networks", "sdf,depthmap-cgan", "--sizes", "32x32x32", "--seconds", "0.1"]
    words += ["--precisions", "fp32,tf32,bf16", "--device", "cpu", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["benchmark", *words], catch_exceptions=False)
    assert result.exit_code == 0
    data = json.loads((tmp_path / "benchmark.json").read_text())
    assert [(row["network"], row["precision"]) for row in data["rows"]] == [
        ("sdf", "fp32"),
        ("sdf", "bf16"),
        ("depthmap-cgan", "fp32"),
        ("depthmap-cgan", "bf16"),
    ]
    for row in data["rows"]:
        assert row["data"] == "generated"
        assert row["steps"] >= 3
        assert row["samples_per_s"] == pytest.approx(1 / row["seconds"])
        assert row["tflop_per_s"] == pytest.approx(row["tflop"] / row["seconds"])
        assert 0 < row["wait_share"] < 1
        assert row["peak_bytes"] > row["estimated_bytes"] > 0
    assert data["rows"][0]["tflop"] == step_flops(Request("sdf", (32, 32, 32))) / 1e12
    assert data["machine"]["torch"] == torch.__version__
    assert platform.node() not in (tmp_path / "benchmark.json").read_text()
    assert (tmp_path / "benchmark.png").read_bytes()[:4] == b"\x89PNG"
    rate = read_calibration(tmp_path / "calibration.json").rate("sdf", "fp32")
    assert rate is not None
    assert rate.tflop_per_s == data["rows"][0]["tflop_per_s"]
    assert not list(tmp_path.glob("*.part"))


def test_more_work_takes_longer() -> None:
    small, large = (
        time_step(Request("sdf", size), Settings("fp32"), CPU, seconds=0.2).seconds
        for size in ((32, 32, 32), (128, 104, 96))
    )
    assert large > 2 * small


def test_all_settings_run() -> None:
    volume = Pix2PixConfig(ngf=4, ndf=4, z_strides=(2, 2, 1))
    request = Request("pix2pix3d", (24, 32, 32), recompute=True, volume=volume)
    settings = Settings("bf16", channels_last=True)
    assert settings.words(True) == "bf16, checkpointed, channels last"
    assert time_step(request, settings, CPU, seconds=0).steps == 3


def test_prepared_people_come_through_the_loader(people: Dataset) -> None:
    grid = Grid(("sdf", "pix2pix3d-fit"), ("fp32",), seconds=0)
    config = Request("sdf", (8, 8, 8)).config
    assert config.augment.bend_mm > 0  # making a sample takes its time
    result = run_grid(grid, CPU, people)
    sdf, volume = result["rows"]
    assert (sdf["data"], sdf["size"]) == ("prepared people", "32x28x24")
    assert sdf["wait_share"] > 0.05
    assert volume["steps"] == 3


def test_what_fails_is_kept_as_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from facegen_training.planning import benchmark

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(benchmark, "time_step", full)
    result = run_grid(Grid(("sdf",), ("fp32",)), CPU)
    assert {row["left_out"] for row in result["rows"]} == {"out of memory"}
    assert calibration_of(result).measured == ()


def test_the_narrow_baseline_does_not_calibrate_the_full_one() -> None:
    (case,) = Grid(("pix2pix3d",), ("fp32",), ((24, 32, 32),)).cases(gpu=False)
    result = run_grid(Grid(("pix2pix3d",), ("fp32",), ((24, 32, 32),), seconds=0), CPU)
    calibration = calibration_of(result)
    assert case[0].volume.ngf == 16
    assert calibration.rate("pix2pix3d", "fp32") is None
    assert calibration.rate("pix2pix3d (narrow)", "fp32") is not None
    assert calibration.memory_factor("pix2pix3d (narrow)", "fp32") is None
    assert replace(calibration, gpu=True).memory_factor("pix2pix3d (narrow)", "fp32") is not None


def test_a_gpu_times_the_full_volume_by_default() -> None:
    cases = Grid(("pix2pix3d",), ("tf32", "bf16")).cases(gpu=True)
    assert {request.volume.ngf for request, _ in cases} == {136}
    assert max(request.size for request, _ in cases) == (104, 512, 512)
    assert len(cases) == 4


def test_precision_is_put_back() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with precision_set("tf32"):
        assert torch.backends.cudnn.allow_tf32
    with precision_set("fp32"):
        assert not torch.backends.cudnn.allow_tf32
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--networks", "unet"], "No network 'unet'"),
        (["--precisions", "fp8"], "No precision 'fp8'"),
        (["--sizes", "64x64"], "is not a size"),
        (["--device", "tpu"], "no device 'tpu'"),
    ],
)
def test_wrong_words_are_refused(words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        CliRunner().invoke(
            app, ["benchmark", "--out", str(tmp_path), *words], catch_exceptions=False
        )


ABSENT = (
    "SimpleITK blosc2 cryptography lightning matplotlib onnx onnxscript optuna pydantic pydicom "
    "rich safetensors scipy submitit tensorboard typer vtkmodules"
)
BARE = f"""
import runpy, sys
for name in {ABSENT.split()}:
    sys.modules[name] = None
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def test_the_comparison_runs_where_torch_and_monai_are_alone(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[3] / "benchmarks" / "gan_settings.py"
    words = ["--size", "24x32x32", "--channels", "4", "--depth", "3", "--seconds", "0"]
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(script), *words, "--no-compile", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "gan_settings.json").read_text())
    assert len(data["rows"]) == 4
    assert data["rows"][0]["faster"] == 1
    # The step is the same for all; what is computed again is counted on top.
    plain, again = data["rows"][2], data["rows"][3]
    assert plain["tflop"] == data["tflop_a_step"] < again["tflop"]
