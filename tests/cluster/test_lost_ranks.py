"""Ranks that are killed and ranks that fail, on a real Slurm: which is queued again, how often."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facegen_training.cluster.slurm import Job, batch_script, submit
from facegen_training.planning.machines import Machine

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
steps = 40
batch = 1
checkpoint_every = 2
validate_every = 20
warmup_steps = 2
tensorboard = false
pictures = 0
rank_timeout_minutes = 1
"""


def start(job: Job, machine: Machine) -> int:
    job.folder.mkdir(exist_ok=True)
    script = job.folder / "job.sh"
    script.write_text(batch_script(job, machine))
    return submit(script)


def log_of(job: Job, number: int) -> str:
    return (job.folder / f"slurm-{number}.out").read_text()


def rank_of(number: int, rank: int) -> int:
    """Return the process of a rank of a job: the program, not the shell that started it."""
    wanted = {f"SLURM_JOB_ID={number}".encode(), f"RANK={rank}".encode()}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            told = set((folder / "environ").read_bytes().split(b"\0"))
        except OSError:  # ended meanwhile, or another user's
            continue
        if wanted <= told and words[1:2] and words[1].endswith(b"facegen-train"):
            found.append(int(folder.name))
    return min(found)


@pytest.mark.timeout(500)  # two cores share two fits of two ranks each
def test_a_killed_rank_is_queued_again_and_a_user_error_of_one_rank_is_not(
    slurm: Any, machine: Machine, manifest: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS)
    jobs = {}
    for name in ("killed", "wrong"):
        run = tmp_path / name
        run.mkdir()
        words = ("facegen-train", "fit", str(manifest), "--run", str(run), "--config")
        job = Job(name, (*words, str(settings)), run, 5, gpus=2, stage=manifest.parent, run=run)
        if name == "wrong":
            (run / "run.json").write_text("{")  # rank 0 looks first, rank 1 waits for it
        jobs[name] = (job, start(job, machine))

    job, number = jobs["killed"]
    slurm.until(  # older ones are removed: one that is looked for by name may come and go
        lambda: any(int(p.name[-7:]) >= 2 for p in job.folder.glob("checkpoint-???????")),
        seconds=180,
    )
    os.kill(rank_of(number, 1), signal.SIGKILL)
    for _, one in jobs.values():
        slurm.wait(one, "COMPLETED", "FAILED", seconds=240)

    log = log_of(job, number)
    assert slurm.state(number) == "COMPLETED", log
    assert log.count("Another rank of this run was lost.") == 1
    assert log.count("queued again") == 1
    assert log.count("Finished.") == 1
    assert (job.folder / "checkpoint-0000040").exists()
    lines = [json.loads(line) for line in (job.folder / "steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "error" in line] == list(range(1, 41))

    job, number = jobs["wrong"]
    log = log_of(job, number)
    assert slurm.state(number) == "FAILED", log
    assert "run.json of the run wrong is damaged." in log
    assert "Another rank of this run was lost." in log  # rank 1 would have it queued again
    assert "Rank 0 failed with status 2." in log
    assert "Failed with status 2." in log.splitlines()
    assert "queued again" not in log


# Both ranks note their start and wait for the other's note: else one might be gone too soon.
BOTH = "until [ $(($(cat start-? | wc -l) % 2)) -eq 0 ]; do sleep 0.1; done"
DIES = f'cd "$1" && date >>start-"$RANK" && {BOTH} && {{do}} && kill -9 $$'
ADDS = 'n=$(wc -l <start-"$RANK") && mkdir -p checkpoint-000000$n && [ "$n" -lt 3 ]'


@pytest.mark.parametrize(
    ("does", "starts", "state", "says"),
    [
        # A network that is broken for good: all ranks lose each other.
        ("exit 75", 2, "FAILED", "Two starts in a row added no newer checkpoint: giving up."),
        # A rank that needs too much memory.
        ("true", 2, "FAILED", "Two starts in a row added no newer checkpoint: giving up."),
        (f"{{ {ADDS} || exit 0; }}", 3, "COMPLETED", "Finished."),
    ],
    ids=["lost", "killed", "killed but gets on"],
)
def test_what_does_not_get_on_is_given_up(
    slurm: Any, machine: Machine, tmp_path: Path, does: str, starts: int, state: str, says: str
) -> None:
    words = ("bash", "-c", DIES.replace("{do}", does), "x", str(tmp_path))
    job = Job("dies", words, tmp_path, 5, gpus=2, run=tmp_path)
    number = start(job, machine)
    slurm.wait(number, "COMPLETED", "FAILED", seconds=60)
    log = log_of(job, number)
    assert slurm.state(number) == state, log
    assert log.splitlines()[-1] == says
    for rank in ("0", "1"):
        assert (tmp_path / f"start-{rank}").read_text().count("\n") == starts
    assert not list(tmp_path.glob("no-newer-checkpoint-*"))


def test_one_process_that_is_killed_untold_is_not_queued_again(
    slurm: Any, machine: Machine, tmp_path: Path
) -> None:
    job = Job("p", ("bash", "-c", "kill -9 $$"), tmp_path, 5, ranks=False)
    number = start(job, machine)
    slurm.wait(number, "FAILED", seconds=30)
    assert "Failed with status 137." in log_of(job, number)


def test_a_rank_told_to_end_may_still_write_its_checkpoint(
    slurm: Any, machine: Machine, tmp_path: Path
) -> None:
    code = (
        "import pathlib, signal, sys, time\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "def end(*_):\n    time.sleep(1); (here / 'written').touch(); sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, end)\n(here / 'listens').touch()\ntime.sleep(100)\n"
    )
    number = start(Job("t", ("python", "-c", code), tmp_path, 5), machine)
    slurm.until((tmp_path / "listens").exists)
    slurm.signal(number)
    slurm.wait(number, "CANCELLED", seconds=30)
    assert (tmp_path / "written").exists()


def test_a_cancelled_job_whose_ranks_end_at_once_stays_cancelled(
    slurm: Any, machine: Machine, tmp_path: Path
) -> None:
    code = f"touch {tmp_path}/runs; exec sleep 100"
    number = start(Job("c", ("bash", "-c", code), tmp_path, 5, gpus=2), machine)
    slurm.until((tmp_path / "runs").exists)
    slurm.signal(number)
    slurm.wait(number, "CANCELLED", seconds=30)


SLOW = """\
#!/usr/bin/env bash
case " $* " in *" wipe "*) [ -e {mark} ] || {{ touch {mark}; exec sleep 300; }} ;; esac
exec {python} "$@"
"""


def test_a_wipe_that_takes_too_long_does_not_cost_the_requeue(
    slurm: Any, machine: Machine, tmp_path: Path
) -> None:
    people, programs, out = (tmp_path / name for name in ("people", "bin", "out"))
    for folder in (people, programs):
        folder.mkdir()
    (people / "manifest.json").write_text("people")
    slow = programs / "python"
    slow.write_text(SLOW.format(mark=tmp_path / "slow", python=sys.executable))
    slow.chmod(0o755)
    setup = (f"export PATH={programs}:$PATH", "SLURM_JOB_END_TIME=$(date +%s)")  # it is near
    code = 'cat "$1"; [ "${SLURM_RESTART_COUNT:-0}" -eq 1 ] || exit 75'
    command = ("bash", "-c", code, "x", str(people / "manifest.json"))
    scratch = tmp_path / "scratch"
    there = replace(machine, setup=setup, scratch=str(scratch))
    job = Job("w", command, out, 5, stage=people)
    number = start(job, there)
    slurm.wait(number, "COMPLETED", seconds=60)
    assert (tmp_path / "slow").exists()
    assert list(scratch.iterdir()) == []
    record = "".join(path.read_text() for path in (out / "staging").glob("*.jsonl"))
    events = [json.loads(line)["event"] for line in record.splitlines()]
    assert events == ["copying", "copied", "wiped"] * 2
