"""Real sweeps with real fits: an array of four tasks on Slurm, and two processes here."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from facegen_training.cluster.study import StudyFolder
from facegen_training.cluster.study_page import metric_of

SETTINGS = """
[settings.linear]
copies = 2
rank = 4
folds = 2
latents = 1
feature_band_mm = 16.0

[settings.net]
width = 8
levels = 2

[settings.fit]
steps = {steps}
batch = 1
checkpoint_every = 1000
validate_every = 2
warmup_steps = 2
tensorboard = false
pictures = 0

[space]
"fit.learning_rate" = {{ log = [1e-4, 1e-2] }}
"fit.spread_weight" = {{ float = [0.0, 0.5] }}
"""


@pytest.fixture
def sweep_file(manifest: Path, tmp_path: Path) -> Any:
    def write(trials: int, steps: int) -> Path:
        path = tmp_path / "sweep.toml"
        study = f"[study]\nmanifest = {json.dumps(str(manifest))}\ntrials = {trials}\n"
        path.write_text(study + SETTINGS.format(steps=steps))
        return path

    return write


def check_whole(folder: Path, trials: int, steps: int) -> None:
    """Every trial ended once, with every step and its own settings, and the page shows all."""
    found = StudyFolder(folder).trials()
    assert [t.number for t in found] == list(range(trials))
    assert {t.state for t in found} == {TrialState.COMPLETE}, [t.user_attrs for t in found]
    assert len({tuple(t.params.values()) for t in found}) == trials
    for trial in found:
        run = folder / "trials" / f"{trial.number:04d}" / "run"
        lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "error" in line] == list(range(1, steps + 1))
        assert trial.value == metric_of(run / "steps.jsonl", "validation_mm")[-1][1]
    assert f"{trials} trials wanted: {trials} done." in (folder / "study.html").read_text()
    assert list((folder / "claims").glob("*.json")) == []


def test_four_tasks_at_once_on_slurm_one_of_them_requeued(
    slurm: Any, program: Any, sweep_file: Any, machine_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("facegen-train")), "sweep", str(sweep_file(6, 12)),
         "--out", str(folder), "--machine", str(machine_file), "--workers", "4", "--hours", "0.2",
         "--wait"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as waiting:  # fmt: skip
        slurm.until(lambda: len(list(folder.glob("trials/*/run/steps.jsonl"))) >= 4, seconds=120)
        array = next((folder / "slurm").glob("*_0_submitted.pkl")).name.partition("_")[0]
        assert slurm.state(array).split() == ["RUNNING"] * 4
        slurm.signal(f"{array}_1", "--signal=USR2")  # what submitit gets before the time limit
        printed, said = waiting.communicate(timeout=150)
    assert waiting.returncode == 0, said
    assert printed.strip() == str(folder / "study.html")
    slurm.wait(array, "COMPLETED")
    check_whole(folder, 6, 12)
    log = (folder / "slurm" / f"{array}_1_0_log.err").read_text()
    assert "Requeued job" in log + (folder / "slurm" / f"{array}_1_0_log.out").read_text()


def test_here_an_interrupted_sweep_goes_on(sweep_file: Any, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    command = [str(Path(sys.executable).with_name("facegen-train")), "sweep"]
    command += [str(sweep_file(2, 20)), "--out", str(folder), "--local", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        deadline = time.monotonic() + 100
        while len(list(folder.glob("trials/*/run/steps.jsonl"))) < 2:
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.1)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=60)
    assert first.returncode != 0
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    check_whole(folder, 2, 20)
