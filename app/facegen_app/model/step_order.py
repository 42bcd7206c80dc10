"""The seven steps of a case in order, what each is made from, and when one is stale.  No Qt.

The one rule for window and case file: a step that is done remembers what it rested on.  It is
stale as soon as that is something else now, or a step that it is made from is not done.  So a
change that is taken back makes nothing stale, and nobody has to remember to mark it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

MADE_FROM: dict[str, tuple[str, ...]] = {
    "scan": (),
    "skull": ("scan",),
    "landmarks": ("skull",),
    "profile": (),
    "face": ("landmarks", "profile"),
    "review": ("face",),
    "report": ("review",),
}
"""Step → the steps whose outcome it takes up; in the order in which a case is worked."""

STEPS = tuple(MADE_FROM)


class State(StrEnum):
    """How far a step is."""

    NOT_STARTED = "not started"
    DONE = "done"
    STALE = "stale"


def before(name: str) -> tuple[str, ...]:
    """Return every step that a step rests on, directly or not, in order."""
    wanted = set(MADE_FROM[name])
    for step in reversed(STEPS):
        if step in wanted:
            wanted |= set(MADE_FROM[step])
    return tuple(step for step in STEPS if step in wanted)


def dependants(name: str) -> tuple[str, ...]:
    """Return every step that rests on a step, directly or not, in order."""
    return tuple(step for step in STEPS if name in before(step))


def states_of(rested_on: Mapping[str, str], basis: Callable[[str], str]) -> dict[str, State]:
    """Return step → state, in the order of the steps.

    Parameters
    ----------
    rested_on
        Step → digest of what it rested on when it was done; steps that were never done lack.
    basis
        Gives the digest of what a step rests on now.
    """
    states: dict[str, State] = {}
    for name, made_from in MADE_FROM.items():
        if name not in rested_on:
            states[name] = State.NOT_STARTED
        elif rested_on[name] == basis(name) and all(
            states[earlier] is State.DONE for earlier in made_from
        ):
            states[name] = State.DONE
        else:
            states[name] = State.STALE
    return states
