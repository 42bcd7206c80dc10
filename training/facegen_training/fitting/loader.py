"""Random samples for the loop, the same whatever number of processes makes them.

A sample depends on the seed, the step and its place in the step's batch over all ranks, and on
nothing that came before: to resume is to begin at another step.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from facegen_inference.errors import UserError
from facegen_training.fitting.config import FitConfig
from facegen_training.fitting.stop import signals_held
from facegen_training.networks.learner import Batch

Sample = Callable[[int, np.random.Generator], dict[str, Tensor]]
Key = tuple[int, int, int]
"""Step, place among all samples of the step, row of the person."""
MOST_WORKERS = 8


@dataclass(frozen=True)
class Share:
    """Which samples of each step are this rank's.

    Attributes
    ----------
    config
        ``batch``, ``accumulate``, ``steps`` and ``seed``.
    rank, world
        This one, of how many.
    rows
        People to learn from.
    """

    config: FitConfig
    rank: int
    world: int
    rows: list[int]

    def keys(self, step: int) -> Iterator[list[Key]]:
        """Yield the keys of each of this rank's batches in a step.

        Over all ranks and batches a step takes each person once at most, while there are enough.
        """
        size = self.config.batch
        count = size * self.config.accumulate * self.world
        random = np.random.default_rng([self.config.seed, 2, step])
        rows = random.choice(self.rows, count, replace=len(self.rows) < count)
        for micro in range(self.config.accumulate):
            first = (micro * self.world + self.rank) * size
            yield [(step, place, int(rows[place])) for place in range(first, first + size)]


class _Samples(TorchDataset[dict[str, Tensor]]):
    """Key → sample; sent to the loader's processes."""

    def __init__(self, sample: Sample, seed: int) -> None:
        self.sample = sample
        self.seed = seed

    def __getitem__(self, key: Key) -> dict[str, Tensor]:
        step, place, row = key
        return self.sample(row, np.random.default_rng([self.seed, 3, step, place]))


class _Order:
    """Batches of keys from a step on; `begin` may be changed between two passes."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.begin = 0

    def __iter__(self) -> Iterator[list[Key]]:
        for step in range(self.begin, self.share.config.steps):
            yield from self.share.keys(step)


class Loader:
    """Batches of one rank, step by step.

    Parameters
    ----------
    sample
        `Learner.sample`.
    share
        What is this rank's.
    pin
        Whether to keep batches where a GPU can fetch them.

    Raises
    ------
    UserError
        When there is no one to learn from.
    """

    def __init__(self, sample: Sample, share: Share, pin: bool = False) -> None:
        if not share.rows:
            raise UserError(
                "There is no one to learn from: the part train is empty.",
                "Check the split and what prepare rejected.",
            )
        self.config = share.config
        self.waited = 0.0
        self._order = _Order(share)
        workers = worker_count(self.config)
        several: dict[str, Any] = {}
        if workers:
            several = {
                "multiprocessing_context": _context(),
                "persistent_workers": True,
                "worker_init_fn": _ignore_sigterm,
            }
        self._loader = DataLoader(
            _Samples(sample, self.config.seed),
            batch_sampler=self._order,
            num_workers=workers,
            pin_memory=pin,
            **several,
        )
        self._batches: Iterator[Batch] = iter(())

    def begin_at(self, step: int) -> None:
        """Let the next batches be those of a step; starts the processes if there are any."""
        self._order.begin = step
        with signals_held():
            self._batches = iter(self._loader)

    def step(self) -> list[Batch]:
        """Return this rank's batches of the next step; `waited` is how long it took, seconds."""
        started = time.perf_counter()
        batches = [next(self._batches) for _ in range(self.config.accumulate)]
        self.waited = time.perf_counter() - started
        return batches

    def close(self) -> None:
        """End the processes."""
        self._batches = iter(())
        self._loader._iterator = None


def worker_count(config: FitConfig) -> int:
    """Return how many processes make samples: as set, or none on a CPU and up to 8 for a GPU."""
    if config.workers >= 0:
        return config.workers
    gpus = torch.cuda.device_count()
    if gpus == 0:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(MOST_WORKERS, (cores or 1) // gpus - 1))


def _context() -> Any:
    """Return how processes are made: without a copy of this one, which holds threads and GPUs."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _ignore_sigterm(_: int) -> None:
    """Let a worker go on when the scheduler signals every process: its rank ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
