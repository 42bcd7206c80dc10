"""One worker of a sweep: takes trials from the study and runs ``facegen-train fit`` on each.

``python -m facegen_training.cluster.worker STUDY`` until nothing is left to do.  SIGUSR1 stops it:
the running fit writes its checkpoint, the trial stays unfinished for whoever comes next, and the
exit status is 75.  Under submitit the same is done by `Worker.checkpoint`.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import submitit
from optuna.trial import TrialState

from facegen_inference.errors import UserError
from facegen_training.cluster.search import write_settings
from facegen_training.cluster.slurm import GO_ON_LATER, outside_of_jobs
from facegen_training.cluster.study import STALE_SECONDS, Claimed, StudyFolder, worker_name
from facegen_training.cluster.study_page import metric_of, write_page

LOOK_EVERY_SECONDS = 1.0
CHECKPOINT_SECONDS = 100
"""A fit that has not written its checkpoint by then is left to its last one."""
# Linux ends the fit when its worker is killed: two must never write into one run.
_FIT = """import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
from facegen_training.cli import main
main()
"""
# Signals of the scheduler reach every process of a step; only this worker may tell fit to stop.
_SHIELD = 'trap "" USR1 USR2; exec "$@"'


class Worker(submitit.helpers.Checkpointable):
    """Works on a study until there is nothing left; may be stopped and started again.

    Parameters
    ----------
    folder
        Of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fit: subprocess.Popen[bytes] | None = None
        self._stop = False

    def __call__(self) -> int:
        """Run trials; return how many this worker finished."""
        study, me = StudyFolder(self.folder), worker_name()
        finished = 0
        waited_since: float | None = None
        while not self._stop:
            claimed = study.claim(me)
            if claimed is not None:
                waited_since = None
                finished += self._run(study, claimed, me)
                write_page(study)
                continue
            # A worker that was killed leaves a claim that becomes free only after a while.
            waited_since = waited_since or time.monotonic()
            if not study.others_running(me):
                break
            if time.monotonic() - waited_since > STALE_SECONDS + 10 * LOOK_EVERY_SECONDS:
                break
            time.sleep(LOOK_EVERY_SECONDS)
        write_page(study)
        return finished

    def checkpoint(self, *args: Any, **kwargs: Any) -> submitit.helpers.DelayedSubmission:
        """Stop the running fit with a checkpoint; submitit then queues this worker again."""
        deadline = time.monotonic() + CHECKPOINT_SECONDS
        self.stop()
        while self._fit is not None and self._fit.returncode is None:
            try:
                self._fit.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.stop()  # again: it may not have listened yet
                if time.monotonic() > deadline:
                    self._fit.kill()
        return submitit.helpers.DelayedSubmission(Worker(self.folder))

    def stop(self) -> None:
        """Ask the running fit for a checkpoint and take no other trial."""
        self._stop = True
        if self._fit is not None and self._fit.poll() is None:
            self._fit.send_signal(signal.SIGUSR1)

    def _run(self, study: StudyFolder, claimed: Claimed, me: str) -> bool:
        """Run one trial; return whether it ended."""
        settings = claimed.folder / "settings.toml"
        write_settings(settings, study.search.settings_of(claimed.trial.params))
        steps = claimed.folder / "run" / "steps.jsonl"
        command = [sys.executable, "-c", _FIT, "fit", study.search.study.manifest]
        command += ["--run", str(claimed.folder / "run"), "--config", str(settings)]
        pruned = False
        with (claimed.folder / "fit.log").open("ab") as log:
            self._fit = subprocess.Popen(
                ["bash", "-c", _SHIELD, "fit", *command],
                stdout=log,
                stderr=log,
                env=fit_environment(),
            )
            told = False
            while self._fit.poll() is None:
                time.sleep(LOOK_EVERY_SECONDS)
                if not study.still_mine(claimed, me):
                    self._fit.kill()
                    self._fit.wait()
                    return False
                pruned = pruned or _report(study, claimed, steps)
                if pruned or self._stop:
                    # Again and again: fit may not listen yet.
                    self._fit.send_signal(signal.SIGUSR1)
                    told = True
            status = self._fit.returncode
        if status == 0:
            return _finish(study, claimed, me, steps)
        if pruned:
            return study.finish(claimed, me, TrialState.PRUNED)
        # SIGTERM comes from the scheduler (cancelled, requeued), never from the settings.
        if told or self._stop or status in (GO_ON_LATER, -signal.SIGTERM):
            study.release(claimed, me)
            return False
        claimed.trial.set_user_attr("failed", _last_line(claimed.folder / "fit.log", status))
        return study.finish(claimed, me, TrialState.FAIL)


def fit_environment() -> dict[str, str]:
    """Return the environment of a trial's fit: one process on its own, though inside a job."""
    ranks = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK"}
    kept = outside_of_jobs(os.environ)
    return {name: value for name, value in kept.items() if name not in ranks}


def _report(study: StudyFolder, claimed: Claimed, steps: Path) -> bool:
    """Tell Optuna what is new in a trial's run; return whether to give the trial up."""
    if study.search.study.pruner == "none":
        return False
    known = study.trials()[claimed.number].intermediate_values
    for step, value in metric_of(steps, study.search.study.metric):
        if step not in known and math.isfinite(value):
            claimed.trial.report(value, step)
    return claimed.trial.should_prune()


def _finish(study: StudyFolder, claimed: Claimed, me: str, steps: Path) -> bool:
    options = study.search.study
    values = [v for _, v in metric_of(steps, options.metric) if math.isfinite(v)]
    if not values:
        claimed.trial.set_user_attr("failed", f"no {options.metric} in steps.jsonl")
        return study.finish(claimed, me, TrialState.FAIL)
    best = min if options.direction == "minimize" else max
    value = best(values) if options.take == "best" else values[-1]
    return study.finish(claimed, me, TrialState.COMPLETE, value)


def _last_line(log: Path, status: int) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"status {status}: {lines[-1] if lines else 'no message'}"


def main(words: Sequence[str]) -> int:
    """Work on the study whose folder is named; return the exit status."""
    worker = Worker(Path(words[0]))

    def on_signal(number: int, frame: FrameType | None) -> None:
        worker.stop()

    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        worker()
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201 - what the parent or the job's log shows
        return error.exit_status
    return GO_ON_LATER if worker._stop else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
