"""Real processes killed, stopped by signals and by the clock, and out of disk."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from egg_heads import synthesize

from facegen_inference.preprocess import PreprocessSpec

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "kill_training.py"


@pytest.fixture(scope="module")
def killing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kill_training", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_training"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifest")
    return synthesize(folder, PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0), people=8)


def test_a_killed_run_ends_in_the_same_weights(
    killing: ModuleType, manifest: Path, tmp_path: Path
) -> None:
    kills = killing.killed(manifest, tmp_path, times=3, seed=int(time.time()))
    assert len(kills) == 3
    assert all(kill.lost <= killing.INTERVAL for kill in kills)


@pytest.mark.parametrize("asked_by", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_checkpoint_and_status_75(
    killing: ModuleType, manifest: Path, tmp_path: Path, asked_by: signal.Signals
) -> None:
    run = tmp_path / "run"
    process = killing.start(manifest, run, tmp_path / "log")
    try:
        while process.poll() is None and len(killing.logged(run)) < 4:
            time.sleep(0.005)
        process.send_signal(asked_by)
        status = process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
    said = (tmp_path / "log").read_text()
    assert status == 75, said
    assert "the same command goes on from there" in said
    assert killing.newest(run) == killing.logged(run)[-1] < killing.STEPS


def test_a_signal_while_torch_is_being_read_does_not_kill(
    killing: ModuleType, manifest: Path, tmp_path: Path
) -> None:
    """The moment that RECIPES warns of: the handler stands before the slow imports."""
    code = (
        "import os, signal, sys\n"
        "class Early:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            sys.meta_path.remove(self)\n"
        "            os.kill(os.getpid(), signal.SIGUSR1)\n"
        "sys.meta_path.insert(0, Early())\n"
        "from facegen_training.cli import main\n"
        "main()\n"
    )
    settings = tmp_path / "settings.toml"
    settings.write_text(killing.SETTINGS)
    run = tmp_path / "run"
    command = [sys.executable, "-c", code, "fit", str(manifest), "--run", str(run)]
    done = subprocess.run([*command, "--config", str(settings)], capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert killing.newest(run) == 1


def test_a_run_stops_before_its_time_is_over(
    killing: ModuleType, manifest: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(killing.SETTINGS.replace("steps = 120", "steps = 100000"))
    run = tmp_path / "run"
    command = [sys.executable, "-c", killing._FIT, "fit", str(manifest), "--run", str(run)]
    command += ["--config", str(settings), "--time-limit", "0.1"]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert time.monotonic() - started < 30  # 6 s and what Python needs to start and end
    assert killing.newest(run) == killing.logged(run)[-1]


FULL = """
import resource, sys
from facegen_training.fitting import checkpoint
real = checkpoint.save_checkpoint
def save(run, moment, settings):
    if moment.step == 6:  # from here on no file may be longer than this: as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
    return real(run, moment, settings)
checkpoint.save_checkpoint = save
from facegen_training.cli import main
main()
"""


def test_a_full_disk_leaves_the_older_checkpoint_and_says_so(
    killing: ModuleType, manifest: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(killing.SETTINGS)
    run = tmp_path / "run"
    command = [sys.executable, "-c", FULL, "fit", str(manifest), "--run", str(run)]
    done = subprocess.run([*command, "--config", str(settings)], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "The checkpoint of step 6 could not be written. Make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert killing.newest(run) == 3
    assert not list(run.glob("*.part"))
