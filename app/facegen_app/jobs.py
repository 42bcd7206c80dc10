"""Long work off the main thread, with progress and cancel.

A job calls a plain function with a `Progress`; whatever the function reports, returns or raises
arrives on the main thread.  A job that was cancelled, or whose result comes late, says nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QObject, QRunnable, Qt, QThreadPool, Signal, Slot

from facegen_inference.progress import Cancelled, Progress

Result = TypeVar("Result")

_REPORT_SECONDS = 0.04
"""The main thread is told of progress no more often than this."""


@dataclass(frozen=True)
class Handlers(Generic[Result]):
    """What a controller does with what a job says; all are called on the main thread.

    Attributes
    ----------
    done
        Takes the result.
    failed
        Takes the exception, a `UserError` or a bug.
    progressed
        Takes fraction 0..1 and step.
    ended
        Called last, however the job went, a cancelled job included.
    """

    done: Callable[[Result], object]
    failed: Callable[[BaseException], object]
    progressed: Callable[[float, str], object]
    ended: Callable[[], object]


class Job(QObject):
    """One piece of work; made by `Jobs.start`."""

    _progressed = Signal(float, str)
    _finished = Signal(object, object)
    over = Signal(object)

    def __init__(self, work: Callable[[Progress], Any], handlers: Handlers[Any]) -> None:
        super().__init__()
        self._work = work
        self._handlers = handlers
        self._cancelled = threading.Event()
        self._told = (0.0, "")
        self._progressed.connect(self._on_progress, Qt.ConnectionType.QueuedConnection)
        self._finished.connect(self._on_finished, Qt.ConnectionType.QueuedConnection)

    def cancel(self) -> None:
        """Stop the work at its next report; from now on the job stays silent."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def run(self) -> None:
        """Do the work; called on a worker thread."""
        try:
            self._report(0.0, "")
            self._finished.emit(self._work(self._report), None)
        except Cancelled:
            self._finished.emit(None, Cancelled())
        except Exception as error:  # noqa: BLE001  (the one place where every error is caught)
            self._finished.emit(None, error)

    def _report(self, fraction: float, step: str) -> None:
        """Tell the main thread; raises `Cancelled` once the user asked for it."""
        if self._cancelled.is_set():
            raise Cancelled
        now = time.monotonic()
        if step != self._told[1] or now - self._told[0] > _REPORT_SECONDS:
            self._told = (now, step)
            self._progressed.emit(fraction, step)

    @Slot(float, str)
    def _on_progress(self, fraction: float, step: str) -> None:
        if not self._cancelled.is_set():
            self._handlers.progressed(fraction, step)

    @Slot(object, object)
    def _on_finished(self, result: object, error: BaseException | None) -> None:
        try:
            if not self._cancelled.is_set() and not isinstance(error, Cancelled):
                if error is None:
                    self._handlers.done(result)
                else:
                    self._handlers.failed(error)
        finally:
            self.over.emit(self)
            self._handlers.ended()


class _Runnable(QRunnable):
    """Carries a job onto a thread of the pool."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def run(self) -> None:
        """Do the work of the job."""
        self._job.run()


class Jobs(QObject):
    """Starts jobs and keeps each until it has finished."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(2)
        self._running: dict[Job, _Runnable] = {}

    @property
    def running(self) -> int:
        """Number of jobs whose end has not been delivered."""
        return len(self._running)

    def start(self, work: Callable[[Progress], Result], handlers: Handlers[Result]) -> Job:
        """Run ``work(progress)`` on another thread."""
        job = Job(work, handlers)
        runnable = _Runnable(job)
        runnable.setAutoDelete(False)
        self._running[job] = runnable
        job.over.connect(self._forget)
        self._pool.start(runnable)
        return job

    def stop(self, milliseconds: int = 10_000) -> bool:
        """Cancel everything and wait; returns whether all threads have ended."""
        for job in list(self._running):
            job.cancel()
        return self._pool.waitForDone(milliseconds)

    @Slot(object)
    def _forget(self, job: Job) -> None:
        self._running.pop(job, None)
