"""From a job and a machine to the batch script that Slurm runs.

The script starts one process for each GPU with torchrun's variables set, copies the prepared
people to the node's own disk first and wipes them at the end, and turns the time limit into
"write a checkpoint, queue again, go on": two minutes before the limit Slurm sends SIGUSR1, the
script passes it to the ranks, ``facegen-train fit`` finishes its step, writes a checkpoint and
ends with status 75, and the script puts the job back into the queue.  So it does when a rank was
killed; but not when a rank failed, nor when two starts in a row added no newer checkpoint.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from facegen_inference.errors import UserError
from facegen_training.cluster.script_parts import BEGIN, BIND, PROGRESS, RUN, STAGE
from facegen_training.planning.machines import Machine

GO_ON_LATER = 75
"""Exit status of a fit that wrote a checkpoint and wants to be started again (EX_TEMPFAIL)."""
TASK = "{task}"
"""Stands in a job's words for the number of the array's task."""
_SUBMITTED = re.compile(r"^(\d+)")


@dataclass(frozen=True)
class Job:
    """One submission: a command on some GPUs, or an array of such commands.

    Attributes
    ----------
    name
        Shown by squeue.
    command
        Words of the command each rank runs.  In an array, ``{task}`` in a word stands for the
        task's number.
    folder
        Where Slurm's output and the record of staging go; on the shared disk, one for all tasks.
    minutes
        Time limit of one start.
    nodes, gpus
        Nodes, and GPUs on each.
    ranks
        Whether each GPU gets a process of its own that answers SIGUSR1 with a checkpoint, as
        ``fit`` does; else one process has all the GPUs and processors, and is ended by SIGTERM.
    array
        Number of tasks, 0 for no array, and how many run at once (0: as Slurm likes).
    stage
        Folder to copy to the node's own disk, or None.  In the command's words its path is
        replaced by the copy's.
    run
        Folder whose ``checkpoint-*`` show that the job gets on, or None: then nobody looks.
    image
        Apptainer image in which everything runs, or None.
    programs
        Folder of the programs to run (an environment's ``bin``), put first in PATH, or None.
    restarts
        How often a start may end unfinished before the job gives up.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    minutes: int
    nodes: int = 1
    gpus: int = 1
    ranks: bool = True
    array: tuple[int, int] = (0, 0)
    stage: Path | None = None
    run: Path | None = None
    image: Path | None = None
    programs: Path | None = None
    restarts: int = 200


def batch_script(job: Job, machine: Machine) -> str:
    """Return the text of the batch script.

    Parameters
    ----------
    job
        What to run.
    machine
        Where; its preset names account, queue, GPUs, scratch and environment.

    Raises
    ------
    UserError
        When the job's numbers cannot be a job.
    """
    _check(job)
    # What is no fit does not listen to SIGUSR1, but may be ended at any time and then goes on.
    begin = BEGIN.replace("@signal@", "USR1" if job.ranks else "TERM")
    parts = ["#!/usr/bin/env bash", *_directives(job, machine), "", begin]
    parts += offline(machine)
    if machine.setup:
        parts += ["", "# What this machine asks for.", *machine.setup]
    if job.programs is not None:
        parts.append(f'export PATH={shlex.quote(str(job.programs))}:"$PATH"')
    command = " ".join(_word(word, job) for word in job.command)
    runner = ""
    if job.image is not None:
        parts.append(BIND.replace("@scratch@", machine.scratch))
        runner = f"apptainer exec --nv {shlex.quote(str(job.image))} "
    if job.stage is not None:
        parts += ["", _stage(job, job.stage, machine, runner)]
    if job.run is not None:
        words = {"folder": shlex.quote(str(job.folder)), "run": _quoted(str(job.run))}
        parts += ["", _filled(PROGRESS, words)]
    words = {
        "command": runner + command,
        "restarts": str(job.restarts),
        # What is no fit may have been killed for what would only kill it again.
        "killed": "yes" if job.ranks else "",
    }
    return "\n".join([*parts, "", _filled(RUN, words)])


def submit(script: Path) -> int:
    """Hand a batch script to Slurm; return the job's number.

    Raises
    ------
    UserError
        When there is no Slurm here, or it refuses the script, with its own words.
    """
    try:
        done = subprocess.run(
            ["sbatch", "--parsable", str(script)],
            capture_output=True,
            text=True,
            env=outside_of_jobs(os.environ),
            check=False,
        )
    except FileNotFoundError as error:
        raise UserError(
            "There is no Slurm on this machine (sbatch was not found).",
            "Run this on the cluster's login node, or use --dry-run to see the script.",
        ) from error
    found = _SUBMITTED.match(done.stdout)
    if done.returncode or found is None:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(
            f"Slurm refused the job: {words[-1] if words else 'no reason given'}",
            f"Look at {script.name}, and at account, queue and time limit.",
        )
    return int(found.group(1))


def outside_of_jobs(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the traces of a job, so that a new one does not inherit them.

    Variables that say which cluster (``SLURM_CONF``) stay.
    """
    traces = ("SLURM_", "SBATCH_", "SRUN_")
    return {
        name: value
        for name, value in environment.items()
        if name == "SLURM_CONF" or not name.startswith(traces)
    }


def time_limit(minutes: int) -> str:
    """Return minutes as Slurm writes them: ``days-hours:minutes:00``."""
    days, rest = divmod(minutes, 24 * 60)
    hours, left = divmod(rest, 60)
    return f"{days}-{hours:02d}:{left:02d}:00"


def _check(job: Job) -> None:
    count, at_once = job.array
    if min(job.minutes, job.nodes, job.gpus) < 1 or min(count, at_once, job.restarts) < 0:
        raise UserError(
            "A job needs at least one minute, one node and one GPU.",
            "Check time limit, nodes, GPUs and array.",
        )
    if not job.ranks and job.nodes > 1:
        raise UserError(
            f"{' '.join(job.command[:2])} is one process and cannot use {job.nodes} nodes.",
            "Give one node; only fit spreads over several.",
        )
    if job.stage is not None and job.folder.absolute().is_relative_to(job.stage.absolute()):
        raise UserError(
            "The folder of the run lies inside the prepared people's, which is copied to the node.",
            "Give the run a folder elsewhere.",
        )
    if any(TASK in word for word in job.command) and not count:
        raise UserError(f"{TASK} has a meaning in arrays only.", "Give the number of tasks.")
    if TASK in str(job.folder):
        raise UserError(
            f"The folder of Slurm's output is one for all tasks, without {TASK}.",
            "Give another with --logs.",
        )


def _directives(job: Job, machine: Machine) -> list[str]:
    count, at_once = job.array
    number = "%A_%a" if count else "%j"
    gres = f"{machine.gres}:{job.gpus}"
    options = {
        "job-name": job.name,
        "account": machine.account,
        "partition": machine.partition,
        "qos": machine.qos,
        "array": f"0-{count - 1}" + (f"%{at_once}" if at_once else "") if count else "",
        "nodes": job.nodes,
        "ntasks-per-node": job.gpus if job.ranks else 1,
        "gres": gres,
        "cpus-per-task": machine.cpus_per_gpu * (1 if job.ranks else job.gpus),
        "time": time_limit(job.minutes),
        "signal": f"B:USR1@{machine.signal_seconds}",
        "output": job.folder / f"slurm-{number}.out",
        "open-mode": "append",
    }
    given = {name: str(value) for name, value in options.items() if value}
    lines = [f"#SBATCH --{name}={shlex.quote(value)}" for name, value in given.items()]
    return [*lines, "#SBATCH --requeue"]


def offline(machine: Machine) -> list[str]:
    """Return the lines that tell programs where they run: the internet, the machine's settings."""
    lines = []
    if not machine.internet:
        lines += [
            "# The compute nodes have no internet: whoever tries it fails at once.",
            "export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 WANDB_MODE=offline PIP_NO_INDEX=1",
        ]
    lines += [f"export {name}={shlex.quote(v)}" for name, v in machine.environment.items()]
    return lines


def _word(word: str, job: Job) -> str:
    """Quote one word of the command; the staged folder and ``{task}`` become variables."""
    if job.stage is not None:
        source = PurePosixPath(job.stage)
        path = PurePosixPath(word)
        if path == source or source in path.parents:
            rest = path.relative_to(source)
            return '"$staged"' + ("" if rest == PurePosixPath(".") else _quoted(f"/{rest}"))
    return _quoted(word)


def _quoted(word: str) -> str:
    """Quote a word for the shell; ``{task}`` becomes a variable."""
    quoted = [shlex.quote(piece) if piece else "" for piece in word.split(TASK)]
    return '"${SLURM_ARRAY_TASK_ID}"'.join(quoted) or "''"


def _stage(job: Job, source: Path, machine: Machine, runner: str) -> str:
    # Tasks of an array run side by side: each has a record of its own.
    record = job.folder / "staging" / (TASK if job.array[0] else "")
    words = {
        "scratch": machine.scratch,
        "runner": runner,
        "source": _quoted(str(source)),
        "record": _quoted(str(record)),
    }
    return _filled(STAGE, words)


def _filled(text: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(f"@{name}@", value)
    return text
