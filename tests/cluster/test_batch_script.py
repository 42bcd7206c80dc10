from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facegen_inference.errors import UserError
from facegen_training.cluster.slurm import (
    Job,
    batch_script,
    outside_of_jobs,
    submit,
    time_limit,
)
from facegen_training.planning.machines import Machine, read_machine

FIT = ("facegen-train", "fit", "/data/it's/manifest.json", "--run", "runs/one")


def directives(script: str) -> dict[str, str]:
    lines = [line[8:] for line in script.splitlines() if line.startswith("#SBATCH ")]
    words = (shlex.split(line)[0].removeprefix("--") for line in lines)
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def test_marenostrum_gets_what_its_users_write_by_hand() -> None:
    there = replace(read_machine("mn5"), account="ehpc123")
    text = batch_script(Job("face", FIT, Path("runs/one"), 12 * 60, gpus=4), there)
    assert directives(text) == {
        "job-name": "face",
        "account": "ehpc123",
        "partition": "acc",
        "qos": "acc_ehpc",
        "nodes": "1",
        "ntasks-per-node": "4",
        "gres": "gpu:4",
        "cpus-per-task": "20",
        "time": "0-12:00:00",
        "signal": "B:USR1@120",
        "output": "runs/one/slurm-%j.out",
        "open-mode": "append",
        "requeue": "",
    }
    assert 'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"' in text
    assert "HF_HUB_OFFLINE=1" in text
    assert "HF_HUB_OFFLINE" not in batch_script(
        Job("face", FIT, Path(), 60), replace(there, internet=True)
    )


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (Job("a", FIT, Path("o"), 5), "facegen-train fit '/data/it'\"'\"'s/manifest.json'"),
        (Job("a", FIT, Path("o"), 5, stage=Path("/data/it's")), 'fit "$staged"/manifest.json'),
        (
            Job("a", FIT, Path("o"), 5, run=Path("it's")),
            """found=('it'"'"'s'/checkpoint-???????)""",
        ),
        (Job("a", FIT, Path("o"), 5, image=Path("f.sif")), "apptainer exec --nv f.sif facegen"),
        (
            Job("a", ("x", "runs/{task}/b c"), Path("o"), 5, array=(92, 8)),
            "x runs/\"${SLURM_ARRAY_TASK_ID}\"'/b c'",
        ),
    ],
)
def test_words_are_quoted_and_every_script_is_sound(
    machine: Machine, tmp_path: Path, job: Job, words: str
) -> None:
    text = batch_script(job, machine)
    assert words in text
    path = tmp_path / "job.sh"
    path.write_text(text)
    subprocess.run(["bash", "-n", str(path)], check=True)
    if shutil.which("shellcheck"):
        command = ["shellcheck", "--severity=warning", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_an_array_says_how_many_at_once(machine: Machine) -> None:
    job = Job("a", ("x", "{task}"), Path("o"), 5, array=(92, 8))
    found = directives(batch_script(job, machine))
    assert found["array"] == "0-91%8"
    assert found["output"] == "o/slurm-%A_%a.out"
    with pytest.raises(UserError, match="one for all tasks"):
        batch_script(replace(job, folder=Path("runs/{task}")), machine)


def test_tasks_of_an_array_share_nothing_that_is_theirs(machine: Machine) -> None:
    words = ("x", "p-{task}/m.json", "--run", "runs/{task}")
    job = Job("a", words, Path("runs"), 5, array=(3, 0), stage=Path("p-{task}"))
    text = batch_script(replace(job, run=Path("runs/{task}")), machine)
    task = '"${SLURM_ARRAY_TASK_ID}"'
    for line in (
        f"on_each_node copy p-{task} ",
        f"--record runs/staging/{task}\n",
        f"(runs/{task}/checkpoint-???????)",
        f'"$staged"/m.json --run runs/{task} &',
    ):
        assert line in text


def test_a_command_that_is_one_process_gets_the_whole_node() -> None:
    job = Job("p", ("facegen-train", "prepare"), Path("o"), 5, gpus=4, ranks=False)
    found = directives(batch_script(job, read_machine("mn5")))
    assert (found["ntasks-per-node"], found["cpus-per-task"], found["gres"]) == ("1", "80", "gpu:4")
    with pytest.raises(UserError, match="cannot use 2 nodes"):
        batch_script(replace(job, nodes=2), read_machine("mn5"))


def test_a_run_inside_the_staged_folder_would_be_lost_and_is_refused(machine: Machine) -> None:
    job = Job("p", FIT, Path("prepared/run"), 5, stage=Path("prepared"))
    with pytest.raises(UserError, match="lies inside"):
        batch_script(job, machine)


@pytest.mark.parametrize("change", [{"minutes": 0}, {"gpus": 0}, {"command": ("x", "{task}")}])
def test_what_cannot_be_a_job_is_refused(machine: Machine, change: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        batch_script(replace(Job("a", FIT, Path("o"), 5), **change), machine)


def test_time_limits_are_written_as_slurm_reads_them() -> None:
    assert time_limit(72 * 60 + 5) == "3-00:05:00"


def test_without_slurm_the_way_on_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no Slurm on this machine.*login node"):
        submit(tmp_path / "job.sh")


def test_a_new_job_inherits_nothing_of_the_one_it_is_submitted_from() -> None:
    inside = {"SLURM_CONF": "c", "SLURM_JOB_ID": "7", "SBATCH_QOS": "q", "PATH": "p"}
    assert outside_of_jobs(inside) == {"SLURM_CONF": "c", "PATH": "p"}


RANK = """
import json, os, pathlib, signal, sys, time
time.sleep(1)  # imports
told = []
signal.signal(signal.SIGUSR1, lambda *_: told.append(1))
out, start = pathlib.Path(sys.argv[2]), os.environ.get("SLURM_RESTART_COUNT", "0")
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
seen = {name: os.environ[name] for name in names} | {"text": open(sys.argv[1]).read()}
(out / f"rank-{seen['RANK']}-start-{start}.json").write_text(json.dumps(seen))
while start == "0":
    time.sleep(0.1)
    if told:
        sys.exit(75)
"""


@pytest.fixture
def waiting(tmp_path: Path) -> Job:
    """Two ranks that wait for the signal at their first start and end well at the second."""
    (tmp_path / "rank.py").write_text(RANK)
    people = tmp_path / "prepared"
    people.mkdir()
    (people / "manifest.json").write_text("people")
    out = tmp_path / "out"
    out.mkdir()
    command = ("python", str(tmp_path / "rank.py"), str(people / "manifest.json"), str(out))
    return Job("ranks", command, out, 5, gpus=2, stage=people)


def start(job: Job, machine: Machine) -> int:
    script = job.folder / "job.sh"
    script.write_text(batch_script(job, machine))
    return submit(script)


def test_the_time_limit_becomes_a_requeue_even_while_ranks_import(
    slurm: Any, machine: Machine, waiting: Job
) -> None:
    number = start(waiting, machine)
    slurm.until((waiting.folder / "staging").exists)
    slurm.signal(number, "--signal=USR1", "--batch")  # before any rank listens
    slurm.wait(number, "COMPLETED", seconds=60)
    for rank in ("0", "1"):
        for restart in (0, 1):
            path = waiting.folder / f"rank-{rank}-start-{restart}.json"
            seen = json.loads(path.read_text())
            assert seen["RANK"] == seen["LOCAL_RANK"] == rank
            assert seen["WORLD_SIZE"] == seen["LOCAL_WORLD_SIZE"] == "2"
            assert seen["text"] == "people"
    log = (waiting.folder / f"slurm-{number}.out").read_text()
    assert log.count("queued again") == 1
    assert log.count("Finished.") == 1


def test_what_does_not_listen_is_ended_and_queued_again(
    slurm: Any, machine: Machine, tmp_path: Path
) -> None:
    code = (
        "import os, pathlib, time; start = os.environ.get('SLURM_RESTART_COUNT', '0'); "
        f"pathlib.Path({str(tmp_path)!r}, 'start-' + start).touch(); "
        "time.sleep(0 if start == '1' else 100)"
    )
    number = start(Job("p", ("python", "-c", code), tmp_path, 5, gpus=2, ranks=False), machine)
    slurm.until((tmp_path / "start-0").exists)
    slurm.signal(number, "--signal=USR1", "--batch")
    slurm.wait(number, "COMPLETED", seconds=60)
    assert (tmp_path / "start-1").exists()


def test_a_cancelled_job_wipes_its_scratch_and_stays_cancelled(
    slurm: Any, machine: Machine, waiting: Job, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    number = start(waiting, replace(machine, scratch=str(scratch)))
    slurm.until((waiting.folder / "rank-0-start-0.json").exists)
    node = slurm.slurm.call("squeue", "-h", "-o", "%N", "-j", str(number)).strip()
    assert (scratch / f"facegen-{number}-{node}" / "manifest.json").exists()
    slurm.signal(number)
    slurm.wait(number, "CANCELLED", seconds=30)
    record = waiting.folder / "staging"
    lines = "".join(path.read_text() for path in record.glob("*.jsonl")).splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["copying", "copied", "wiped"]
    assert list(scratch.iterdir()) == []


def test_a_failure_is_not_queued_again(slurm: Any, machine: Machine, tmp_path: Path) -> None:
    job = Job("fails", ("python", "-c", "raise SystemExit(2)"), tmp_path, 5)
    number = start(job, machine)
    slurm.wait(number, "FAILED", seconds=30)
    assert "Failed with status 2." in (tmp_path / f"slurm-{number}.out").read_text()


def test_a_refusal_is_told_in_slurms_words(slurm: Any, machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Slurm refused the job: .*partition"):
        start(Job("a", ("true",), tmp_path, 5), replace(machine, partition="nowhere"))
