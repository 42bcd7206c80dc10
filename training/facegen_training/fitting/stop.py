"""Being asked to stop: a signal from the scheduler, or the end of the time a job was given.

Imports nothing slow, so that the handler stands before torch is read: a signal without a handler
kills the process.  Before that moment only the job script can hold it off (``trap '' USR1``).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 75
"""Exit status of a run that stopped early and goes on when started again (EX_TEMPFAIL)."""
_SIGNALS = ("SIGUSR1", "SIGTERM")


def _nothing() -> None:
    return None


class Stop:
    """Whether this process was asked to stop.

    Parameters
    ----------
    limit_seconds
        Time the run has from now on; None for no end.
    on_stop
        Called by rank 0 once the last checkpoint is written, e.g. to requeue the job.
    """

    def __init__(
        self, limit_seconds: float | None = None, on_stop: Callable[[], None] = _nothing
    ) -> None:
        self.on_stop = on_stop
        self.asked = False
        self.acted = False
        self._ends = None if limit_seconds is None else time.monotonic() + limit_seconds
        self._longest = {"step": 0.0, "checkpoint": 0.0}

    def listen(self) -> None:
        """Treat SIGUSR1 and SIGTERM as the wish to stop, from now on."""
        for name in _SIGNALS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._heard)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def took(self, what: str, seconds: float) -> None:
        """Remember how long a step or a checkpoint takes."""
        self._longest[what] = max(self._longest[what], seconds)

    @property
    def due(self) -> bool:
        """Whether to stop now: asked, or no time for another step and two checkpoints."""
        if self._ends is None:
            return self.asked
        needed = self._longest["step"] + 2 * self._longest["checkpoint"]
        return self.asked or time.monotonic() + needed > self._ends


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold SIGUSR1 off while processes are started: they inherit that, and are never killed by it.

    What arrives meanwhile reaches this process at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
