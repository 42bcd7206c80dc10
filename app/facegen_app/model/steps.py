"""The seven steps of the case in the window: how far each is, and which is worked on.  No Qt."""

from __future__ import annotations

from collections.abc import Mapping

from facegen_app.model.event import Event
from facegen_app.model.step_order import MADE_FROM, STEPS, State


class Steps:
    """The states of the steps as the case has them, and the one that is worked on.

    Attributes
    ----------
    changed
        Told after a state changed.
    chosen
        Told the name of the step that was left and of the one that is worked on now.
    """

    def __init__(self) -> None:
        self.changed: Event[()] = Event()
        self.chosen: Event[str, str] = Event()
        self._current = STEPS[0]
        self._states = dict.fromkeys(STEPS, State.NOT_STARTED)

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
        return self._states[name]

    def cause(self, name: str) -> str | None:
        """Return the first step, this one or one it rests on, that is stale; None without one."""
        for one in MADE_FROM[name]:
            found = self.cause(one)
            if found is not None:
                return found
        return name if self.state(name) is State.STALE else None

    def lacking(self, name: str) -> str | None:
        """Return the first step without which this one cannot be worked; None where all is there.

        The profile never lacks: nothing known of the person is an answer too.
        """
        for one in MADE_FROM[name]:
            found = self.lacking(one)
            if found is None and one != "profile" and self.state(one) is State.NOT_STARTED:
                found = one
            if found is not None:
                return found
        return None

    def set_states(self, states: Mapping[str, State]) -> None:
        """Take over how far each step is, as the case file says."""
        if states != self._states:
            self._states = dict(states)
            self.changed.emit()

    def choose(self, name: str) -> None:
        """Work on a step; any step, at any time."""
        if name not in MADE_FROM:
            raise ValueError(name)
        if name != self._current:
            left, self._current = self._current, name
            self.chosen.emit(left, name)
