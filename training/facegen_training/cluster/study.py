"""A study on a shared disk: Optuna's journal, and who works on which trial.

Any number of workers on any nodes may share it.  Every decision about who does what is taken
under one lock file (created exclusively, which GPFS, Lustre and NFS all honour), so that no trial
is lost or done twice:

- a new trial is drawn and claimed in one go, and only while fewer than wanted exist;
- a claim is a small file that its worker touches while it works;
- a running trial without a claim, or whose claim was not touched for `STALE_SECONDS`, or which
  is claimed by an earlier start of the same worker, is taken up again where its run stopped.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
from optuna.trial import TrialState

from facegen_inference.errors import UserError
from facegen_training.cluster.search import Range, Search, search_from_data, write_whole

SEARCH = "study.json"
STALE_SECONDS = 120.0
_OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def worker_name() -> str:
    """Return who this process is; a requeued Slurm job keeps its name."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID")
    if job:
        return f"slurm {job}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if os.environ.get("SLURM_JOB_ID"):
        return f"slurm {os.environ['SLURM_JOB_ID']}"
    return f"{socket.gethostname()} {os.getpid()}"


@dataclass(frozen=True)
class Claimed:
    """A trial that this worker may work on."""

    number: int
    trial: optuna.Trial
    folder: Path


def read_study(folder: Path) -> Search:
    """Return the search of a study's folder.

    Raises
    ------
    UserError
        When the folder holds no study.
    """
    try:
        data = json.loads((folder / SEARCH).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder.name} holds no study.", "Start one with facegen-train sweep.", reason=error
        ) from error
    return search_from_data(data, folder)


class StudyFolder:
    """A study's folder: its search, its journal, its trials' runs and their claims."""

    def __init__(self, folder: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder = folder
        self.search = read_study(folder)
        journal = str(folder / "journal.log")
        self._storage = JournalStorage(
            JournalFileBackend(journal, lock_obj=JournalFileOpenLock(journal))
        )
        self._lock = JournalFileOpenLock(str(folder / "claims"))
        self._study = optuna.create_study(
            storage=self._storage,
            study_name="sweep",
            direction=self.search.study.direction,
            load_if_exists=True,
            pruner=_pruner(self.search),
        )

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """Return every trial drawn so far, by number."""
        return self._study.get_trials(deepcopy=False)

    def trial_folder(self, number: int) -> Path:
        """Return where a trial's settings and run lie."""
        return self.folder / "trials" / f"{number:04d}"

    def claim(self, worker: str) -> Claimed | None:
        """Take up an abandoned trial, else draw a new one; None when there is nothing to do."""
        with self._locked():
            trials = self.trials()
            for frozen in trials:
                if frozen.state == TrialState.RUNNING and self._is_free(frozen.number, worker):
                    trial = optuna.Trial(self._study, frozen._trial_id)
                    return self._take(trial, worker)
            if len(trials) >= self.search.study.trials:
                return None
            self._study.sampler = _sampler(self.search, len(trials))
            distributions = {k: _distribution(r) for k, r in self.search.space.items()}
            return self._take(self._study.ask(distributions), worker)

    def still_mine(self, claimed: Claimed, worker: str) -> bool:
        """Touch a claim; False when another worker has taken the trial up."""
        path = self._claim_file(claimed.number)
        if self._owner(path) != worker:
            return False
        path.touch()
        return True

    def finish(
        self, claimed: Claimed, worker: str, state: TrialState, value: float | None = None
    ) -> bool:
        """Say how a trial ended; False (and nothing said) when it is no longer this worker's."""
        with self._locked():
            path = self._claim_file(claimed.number)
            if self._owner(path) != worker:
                return False
            self._study.tell(claimed.number, value, state=state)
            path.unlink()
            return True

    def release(self, claimed: Claimed, worker: str) -> None:
        """Leave a trial unfinished, for whoever comes next."""
        with self._locked():
            path = self._claim_file(claimed.number)
            if self._owner(path) == worker:
                path.unlink()

    def others_running(self, worker: str) -> bool:
        """Tell whether trials are left that other workers hold."""
        running = [t.number for t in self.trials() if t.state == TrialState.RUNNING]
        return any(self._owner(self._claim_file(n)) not in (None, worker) for n in running)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def _claim_file(self, number: int) -> Path:
        return self.folder / "claims" / f"{number:04d}.json"

    def _owner(self, path: Path) -> str | None:
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["worker"])
        except FileNotFoundError:
            return None

    def _is_free(self, number: int, worker: str) -> bool:
        path = self._claim_file(number)
        owner = self._owner(path)
        if owner is None or owner == worker or _dead_here(owner):
            return True
        # Ages are measured by the file server's clock: nodes' clocks may differ.
        probe = self.folder / "claims" / f".now-{socket.gethostname()}-{os.getpid()}"
        probe.touch()
        age = probe.stat().st_mtime - path.stat().st_mtime
        probe.unlink()
        return age > STALE_SECONDS

    def _take(self, trial: optuna.Trial, worker: str) -> Claimed:
        path = self._claim_file(trial.number)
        path.parent.mkdir(exist_ok=True)
        claim = {"worker": worker, "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        write_whole(path, json.dumps(claim))
        folder = self.trial_folder(trial.number)
        folder.mkdir(parents=True, exist_ok=True)
        return Claimed(trial.number, trial, folder)


def start_study(search: Search, folder: Path) -> StudyFolder:
    """Make a study's folder, or open one that was started with the same search.

    ``trials`` may be changed to go on longer; nothing else may.

    Raises
    ------
    UserError
        When the folder holds another study.
    """
    kept = folder / SEARCH
    data = search.as_data()
    if kept.exists():
        before = json.loads(kept.read_text(encoding="utf-8"))
        if {**before, "study": {**before["study"], "trials": search.study.trials}} != data:
            raise UserError(
                f"{folder.name} holds a study that was started with other settings.",
                "Give another folder; only the number of trials may change.",
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(kept, json.dumps(data, indent=1))
    return StudyFolder(folder)


def is_over(trial: optuna.trial.FrozenTrial) -> bool:
    """Tell whether a trial has ended, well or not."""
    return trial.state in _OVER


def _dead_here(owner: str) -> bool:
    """Tell whether a claim is held by a process of this machine that no longer runs."""
    host, _, pid = owner.rpartition(" ")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _sampler(search: Search, number: int) -> optuna.samplers.BaseSampler:
    """Return the sampler for one trial: its draw depends on the seed and the trial's number."""
    seed = search.study.seed * 1_000_003 + number
    if search.study.sampler == "random" or number < search.study.startup:
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, constant_liar=True)


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    if search.study.pruner == "none":
        return optuna.pruners.NopPruner()
    steps, trials = search.study.prune_after
    return optuna.pruners.MedianPruner(n_startup_trials=trials, n_warmup_steps=steps)


def _distribution(span: Range) -> BaseDistribution:
    if span.kind == "choice":
        return CategoricalDistribution(span.values)
    low, high = span.values
    assert not isinstance(low, str)
    assert not isinstance(high, str)
    if span.kind == "int":
        return IntDistribution(int(low), int(high))
    return FloatDistribution(float(low), float(high), log=span.kind == "log")
