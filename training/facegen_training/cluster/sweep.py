"""Start the workers of a sweep: an array on Slurm by submitit, or processes on this machine."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import submitit

from facegen_inference.errors import UserError
from facegen_inference.progress import Progress, silent
from facegen_training.cluster.slurm import GO_ON_LATER, offline, outside_of_jobs
from facegen_training.cluster.study import StudyFolder, is_over
from facegen_training.cluster.study_page import write_page
from facegen_training.cluster.worker import Worker
from facegen_training.planning.machines import Machine

MANY_RESTARTS = 1000
LOOK_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Array:
    """How the workers run on Slurm.

    Attributes
    ----------
    workers
        Tasks of the array; each works on one trial at a time, on one GPU.
    minutes
        Time limit of one start; a worker that reaches it is queued again and goes on.
    image
        Apptainer image in which they run, or None.
    """

    workers: int
    minutes: int
    image: Path | None = None


def run_here(study: StudyFolder, workers: int, progress: Progress = silent) -> int:
    """Run workers as processes of this machine until the study is done.

    On Ctrl-C each running trial writes a checkpoint; the same command then goes on from there.

    Returns
    -------
    Trials that did not end: 0 when all is done.

    Raises
    ------
    UserError
        When a worker could not start.
    """
    command = [sys.executable, "-m", "facegen_training.cluster.worker", str(study.folder)]
    # In sessions of their own: Ctrl-C reaches us, and we ask them to stop.
    processes = [subprocess.Popen(command, start_new_session=True) for _ in range(workers)]
    try:
        while any(process.poll() is None for process in processes):
            time.sleep(LOOK_EVERY_SECONDS)
            _tell(study, progress)
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGUSR1)
        for process in processes:
            process.wait()
        write_page(study)
    statuses = {process.returncode for process in processes} - {0, GO_ON_LATER}
    if statuses:
        raise UserError(
            f"A worker ended with status {max(statuses, key=abs)}.",
            f"Its message stands above; the trials' own are in {study.folder.name}/trials.",
        )
    return unfinished(study)


def run_on_slurm(study: StudyFolder, machine: Machine, array: Array) -> list[str]:
    """Submit the workers as one array; return the tasks' job numbers.

    Workers are queued again when their time is over or a node is lost, and go on.

    Raises
    ------
    UserError
        When there is no Slurm here, or it refuses the array, with its own words.
    """
    python = shlex.quote(sys.executable)
    if array.image is not None:
        python = f"apptainer exec --nv {shlex.quote(str(array.image))} python"
    try:
        executor = submitit.SlurmExecutor(
            study.folder / "slurm", max_num_timeout=MANY_RESTARTS, python=python
        )
    except RuntimeError as error:
        raise UserError(
            "There is no Slurm on this machine (srun was not found).",
            "Run this on the cluster's login node, or use --local to run here.",
        ) from error
    limits = {"account": machine.account, "partition": machine.partition, "qos": machine.qos}
    executor.update_parameters(
        job_name=f"sweep-{study.folder.name}",
        time=array.minutes,
        nodes=1,
        ntasks_per_node=1,
        gres=f"{machine.gres}:1",
        cpus_per_task=machine.cpus_per_gpu,
        array_parallelism=array.workers,
        signal_delay_s=machine.signal_seconds,
        setup=[*offline(machine), *machine.setup, "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"],
        additional_parameters={
            "requeue": True,
            **{name: value for name, value in limits.items() if value},
        },
    )
    worker = Worker(study.folder.absolute())
    try:
        with _plain_environment():
            jobs = executor.submit_array([worker] * array.workers)
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        lines = [line for line in str(error).splitlines() if "error" in line.lower()]
        raise UserError(
            f"Slurm refused the array: {lines[-1].strip() if lines else error}",
            "Look at account, queue and time limit.",
        ) from error
    return [job.job_id for job in jobs]


def wait_for(study: StudyFolder, progress: Progress = silent) -> None:
    """Wait until every trial wanted has ended."""
    while unfinished(study):
        _tell(study, progress)
        time.sleep(10 * LOOK_EVERY_SECONDS)
    _tell(study, progress)


def unfinished(study: StudyFolder) -> int:
    """Return how many of the trials wanted have not ended."""
    return study.search.study.trials - sum(is_over(trial) for trial in study.trials())


def _tell(study: StudyFolder, progress: Progress) -> None:
    trials = study.search.study.trials
    done = trials - unfinished(study)
    progress(done / trials, f"{done} of {trials} trials")


@contextmanager
def _plain_environment() -> Iterator[None]:
    """Submit as if from outside of any job; sbatch takes over what it finds."""
    before = dict(os.environ)
    kept = outside_of_jobs(before)
    for name in set(before) - set(kept):
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)
