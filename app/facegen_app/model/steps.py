"""The seven steps of a case: what each rests on, and which are done, stale or not started.  No Qt.

A step is stale when what it rests on is no longer what it was made from.  So a change that is
taken back makes nothing stale.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum

from facegen_app.model.event import Event

RESTS_ON: dict[str, tuple[str, ...]] = {
    "scan": (),
    "skull": ("scan",),
    "landmarks": ("skull",),
    "profile": (),
    "face": ("landmarks", "profile"),
    "review": ("face",),
    "report": ("face",),
}
"""Step → the steps whose results it is made from; in the order in which a case is worked."""

STEPS = tuple(RESTS_ON)


class State(StrEnum):
    """How far a step is."""

    NOT_STARTED = "not started"
    DONE = "done"
    STALE = "stale"


class Steps:
    """The states of the steps, and the one that is worked on.

    Attributes
    ----------
    changed
        Told after a state may have changed.
    chosen
        Told the name of the step that was left and of the one that is worked on now.
    """

    def __init__(self) -> None:
        self.changed: Event[()] = Event()
        self.chosen: Event[str, str] = Event()
        self._current = STEPS[0]
        self._results: dict[str, Hashable] = {}
        self._made_from: dict[str, tuple[Hashable, ...]] = {}

    @property
    def current(self) -> str:
        """The step that is worked on."""
        return self._current

    @property
    def following(self) -> str | None:
        """The step after the current one; None after the last."""
        number = STEPS.index(self._current) + 1
        return STEPS[number] if number < len(STEPS) else None

    def state(self, name: str) -> State:
        """Return how far a step is."""
        if name not in self._results:
            return State.NOT_STARTED
        fresh = self._made_from[name] == self._inputs(name) and not any(
            self.state(one) is State.STALE for one in RESTS_ON[name]
        )
        return State.DONE if fresh else State.STALE

    def cause(self, name: str) -> str | None:
        """Return the first step, this one or one it rests on, that is stale; None without one."""
        for one in RESTS_ON[name]:
            found = self.cause(one)
            if found is not None:
                return found
        return name if self.state(name) is State.STALE else None

    def lacking(self, name: str) -> str | None:
        """Return the first step without which this one cannot be worked; None where all is there.

        The profile never lacks: nothing known of the person is an answer too.
        """
        for one in RESTS_ON[name]:
            found = self.lacking(one)
            if found is None and one != "profile" and self.state(one) is State.NOT_STARTED:
                found = one
            if found is not None:
                return found
        return None

    def record(self, name: str, result: Hashable) -> None:
        """Say that a step came to a result, from what the steps before it hold now.

        Parameters
        ----------
        name
            One of `STEPS`.
        result
            Anything that is equal exactly when the result is the same.
        """
        self._results[name] = result
        self._made_from[name] = self._inputs(name)
        self.changed.emit()

    def drop(self, name: str) -> None:
        """Say that a step has no result any more; what was made from it is stale."""
        if self._results.pop(name, None) is not None:
            self.changed.emit()

    def begin(self) -> None:
        """Begin a new case: nothing is started."""
        self._results.clear()
        self._made_from.clear()
        self.changed.emit()

    def choose(self, name: str) -> None:
        """Work on a step; any step, at any time."""
        if name not in RESTS_ON:
            raise ValueError(name)
        if name != self._current:
            left, self._current = self._current, name
            self.chosen.emit(left, name)

    def _inputs(self, name: str) -> tuple[Hashable, ...]:
        return tuple(self._results.get(one) for one in RESTS_ON[name])
