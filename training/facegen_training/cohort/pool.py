"""Work for all cores: one process and one numeric thread each, none left behind when killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

from facegen_inference.errors import UserError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "BLOSC_NTHREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)

Task = TypeVar("Task")
Result = TypeVar("Result")


def cores() -> int:
    """Return how many processors this process may use (a batch system may grant few)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of fresh processes; on an error what has not begun is dropped.

    Fresh, not forked: a fork of a process with threads may hang.
    """
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_start, initargs=(os.getpid(),)
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def each(
    pool: ProcessPoolExecutor, function: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[tuple[Task, Result | BaseException]]:
    """Yield each task with its result, or with what it raised, as they are done.

    Raises
    ------
    UserError
        When the system ended a worker.
    """
    jobs: dict[Future[Result], Task] = {pool.submit(function, task): task for task in tasks}
    for job in as_completed(jobs):
        error = job.exception()
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "The system ended a worker, most often because memory ran out.",
                "Run the same command again with fewer --workers; what is done is kept.",
            ) from None
        yield jobs.pop(job), job.result() if error is None else error


def _start(parent: int) -> None:
    """Prepare a worker: quiet, one thread, and gone when its parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What readers written in other languages print may quote names of files and people.
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(quiet, stream.fileno())
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    """End this process when its parent was killed."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
