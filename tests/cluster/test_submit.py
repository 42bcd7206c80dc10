"""``facegen-train submit``: what it makes of the words after ``--``."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from facegen_inference.errors import UserError
from facegen_training.cli import app


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder it is typed in, with two cohorts and what must never be taken for one."""
    for name in ("prepared", "people-0", "people-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
    (tmp_path / "face.toml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def script(*words: str, before: tuple[str, ...] = ()) -> str:
    """Return the batch script of ``submit BEFORE -- WORDS``."""
    line = ["submit", "--machine", "generic", "--dry-run", *before, "--", *words]
    done = CliRunner().invoke(app, line)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("fit --run R prepared/manifest.json", 'fit --run R "$staged"/manifest.json'),
        ("fit --run=R prepared/manifest.json", 'fit --run=R "$staged"/manifest.json'),
        (
            "fit --config face.toml --run R --time-limit 5 prepared/manifest.json",
            'fit --config face.toml --run R --time-limit 5 "$staged"/manifest.json',
        ),
        ("fit --run R -- prepared/manifest.json", 'fit --run R -- "$staged"/manifest.json'),
    ],
)
def test_the_manifest_is_found_wherever_it_stands(here: Path, words: str, left: str) -> None:
    text = script(*words.split())
    assert f"facegen-train {left} &" in text
    assert f'on_each_node copy {here}/prepared "$staged"' in text
    assert "found=(R/checkpoint-???????)" in text
    assert "--output=R/slurm-%j.out" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("fit --run R", "no manifest"),
        ("fit --run R --config", "no manifest"),
        ("fit --run R --", "no manifest"),
        ("fit", "no manifest"),
        ("fit prepared/manifest.json", "no folder for its run"),
        ("fit --run R nowhere.json", "There is no manifest .*nowhere"),
        ("fit --run R prepared", "There is no manifest .*prepared"),
        ("prepare cohort.csv", "no folder for Slurm's output"),
    ],
)
def test_a_fit_without_a_manifest_is_refused(here: Path, words: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        script(*words.split())
    with pytest.raises(UserError, match=r"people-2/manifest\.json"):
        script("fit", "people-{task}/manifest.json", "--run", "R-{task}", before=("--array", "3"))


def test_runs_of_an_array_have_one_folder_for_slurms_output(here: Path) -> None:
    words = ["fit", "people-{task}/manifest.json", "--run", "runs/{task}"]
    text = script(*words, before=("--array", "2"))
    assert "--output=runs/slurm-%A_%a.out" in text
    text = script(*words[:2], "--run", "{task}", before=("--array", "2"))
    assert "--output=slurm-%A_%a.out" in text


def test_an_array_of_fits_runs(slurm: Any, machine_file: Path, program: Any, here: Path) -> None:
    words = ["fit", "people-{task}/manifest.json", "--run", "runs/{task}"]
    said = program("facegen-train", "submit", "--machine", machine_file, "--array", 2, "--hours",
                   0.1, "--", *words)  # fmt: skip
    number = int(said.split()[1])
    slurm.wait(number, "FAILED", seconds=150)  # with its own words: these are no cohorts
    assert sorted(path.name for path in here.glob("runs/*.out")) == [
        f"slurm-{number}_{task}.out" for task in (0, 1)
    ]
    assert not (here / "runs" / "{task}").exists()
    for task in (0, 1):
        log = (here / "runs" / f"slurm-{number}_{task}.out").read_text()
        assert "Rank 0 failed with status 2." in log
        (record,) = (here / "runs" / "staging" / str(task)).iterdir()
        assert f"-{record.stem.partition('.')[0]}" in record.read_text()
        assert "wiped" in record.read_text()
    subprocess.run(["bash", "-n", "runs/job.sh"], check=True)
