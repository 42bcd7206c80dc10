"""One piece of long work at a time: its progress, its end, its errors, and the cancel button."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from facegen_app.errors import trouble_of
from facegen_app.jobs import Handlers, Job, Jobs
from facegen_app.model.event import Event
from facegen_inference.progress import Progress

if TYPE_CHECKING:
    from facegen_app.views.main_window import MainWindow

Result = TypeVar("Result")


class Work:
    """Starts jobs for the other controllers.

    Starting another job cancels the one that runs; what the old one still delivers is dropped.

    Attributes
    ----------
    busy_changed
        Told whether something runs.
    """

    def __init__(self, jobs: Jobs, window: MainWindow) -> None:
        self.busy_changed: Event[bool] = Event()
        self._jobs = jobs
        self._window = window
        self._current: Job | None = None
        window.job_bar.cancel_wished.connect(self.cancel)
        window.commands["cancel"].triggered.connect(self.cancel)
        window.commands["cancel"].setEnabled(False)

    @property
    def busy(self) -> bool:
        """Whether something runs."""
        return self._current is not None

    def start(
        self,
        work: Callable[[Progress], Result],
        done: Callable[[Result], object],
        failed: Callable[[BaseException], object] | None = None,
    ) -> None:
        """Run ``work(progress)`` off the main thread, then ``done(result)`` on it.

        Parameters
        ----------
        work
            The work; may raise.
        done
            Takes its result; not called after a cancel.
        failed
            Called before an error is shown.
        """
        self.cancel()
        holder: list[Job] = []

        def is_current() -> bool:
            return bool(holder) and holder[0] is self._current

        def on_done(result: Result) -> None:
            if is_current():
                self._set_current(None)
                done(result)

        def on_failed(error: BaseException) -> None:
            if is_current():
                self._set_current(None)
                if failed is not None:
                    failed(error)
                self._window.show_trouble(trouble_of(error))

        def on_progress(fraction: float, step: str) -> None:
            if is_current():
                self._window.job_bar.show_progress(fraction, step)

        job = self._jobs.start(work, Handlers(on_done, on_failed, on_progress, lambda: None))
        holder.append(job)
        self._set_current(job)

    def cancel(self) -> None:
        """Stop what runs; nothing is changed and nothing is said."""
        if self._current is not None:
            self._current.cancel()
            self._set_current(None)

    def _set_current(self, job: Job | None) -> None:
        was_busy = self.busy
        self._current = job
        self._window.commands["cancel"].setEnabled(self.busy)
        if not self.busy:
            self._window.job_bar.show_idle()
        if was_busy != self.busy:
            self.busy_changed.emit(self.busy)
