"""``facegen-train plan``, as a user types it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from facegen_inference.errors import UserError
from facegen_training.cli import app


def _plan(*words: str) -> Result:
    result = CliRunner().invoke(app, ["plan", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_deck_is_printed_beside_our_network() -> None:
    text = _plan("--preset", "deck").output
    for number in ("230,000,000", "2,500,000", "21,307,200,000", "4.33", "92.74 counted"):
        assert number in text
    assert "our network (sdf)" in text
    assert "Everything fits." in text
    assert "do not go together" in text


def test_data_say_the_same(tmp_path: Path) -> None:
    data = json.loads(_plan("--preset", "deck", "--machine", "a100", "--json").output)
    planned = data["ways"]["as planned"]
    assert (planned["passes"], planned["tflop"]) == (230_000_000, pytest.approx(21_307_200_000))
    assert data["ways"]["bf16, checkpointed"]["memory_bytes"]["live"] < 12 * 2**30
    assert any(line.startswith("Hours:") for line in data["does_not_fit"])


def test_the_job_script_is_shown_and_is_a_script(tmp_path: Path) -> None:
    settings = tmp_path / "mine.toml"
    settings.write_text("[fit]\nsteps = 100\n")
    words = (str(settings), "--jobs", "20", "--gpus", "2", "--dry-run")
    text = _plan(*words).output
    assert "#SBATCH --array=0-19" in text
    assert "#SBATCH --gres=gpu:2" in text
    assert "#SBATCH --time=0-12:00:00" in text
    assert "20 jobs × 3 checkpoints" in text
    script = json.loads(_plan(*words, "--json").output)["script"]
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here to check the script with")
    subprocess.run([bash, "-n"], input=script, text=True, check=True)


def test_a_plan_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="Give either"):
        _plan()
    with pytest.raises(UserError, match="gpu or node"):
        _plan("--preset", "deck", "--budget-unit", "core")
