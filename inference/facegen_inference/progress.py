"""How long work reports where it is, and how it is stopped."""

from collections.abc import Callable

Progress = Callable[[float, str], None]
"""``progress(fraction, step)``: fraction in 0..1, step a short text; may raise `Cancelled`."""


class Cancelled(Exception):
    """The user stopped the work.  Not an error; nothing is shown."""


def silent(fraction: float, step: str) -> None:
    """Report to nobody."""


def part(progress: Progress, start: float, stop: float) -> Progress:
    """Return a progress that maps 0..1 of a sub-task onto start..stop of the whole."""

    def report(fraction: float, step: str) -> None:
        progress(start + (stop - start) * min(max(fraction, 0.0), 1.0), step)

    return report
