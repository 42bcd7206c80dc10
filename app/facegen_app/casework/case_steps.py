"""The seven steps of a case and what each rests on.

A step that is done remembers a digest of what it rested on then.  It is stale as soon as that is
something else now, or a step before it is not done: nobody has to remember to mark it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from facegen_app.casework.case_state import State, digest_of

StepState = Literal["not started", "done", "stale"]


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes
    ----------
    name, title
        As stored, and as shown.
    after
        The steps whose outcome it takes up.
    tables, settings
        Tables, and rows of the table ``settings``, that it rests on itself.
    """

    name: str
    title: str
    after: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


STEPS = (
    Step("scan", "Scan", settings=("source", "units")),
    Step("skull", "Skull", ("scan",), settings=("bone_level_hu", "crop", "pieces")),
    Step("landmarks", "Landmarks & frame", ("skull",), ("landmarks",), ("frame",)),
    Step("profile", "Profile", tables=("profile",)),
    Step("face", "Face", ("landmarks", "profile"), settings=("request",)),
    Step("review", "Review", ("face",), ("runs", "meshes")),
    Step("report", "Report", ("review",), ("pictures", "facts")),
)
BY_NAME = {step.name: step for step in STEPS}
SETTINGS = tuple(name for step in STEPS for name in step.settings)
"""Every setting a case knows."""


def before(name: str) -> tuple[str, ...]:
    """Return every step that a step rests on, directly or not, in order."""
    wanted = set(BY_NAME[name].after)
    for step in reversed(STEPS):
        if step.name in wanted:
            wanted |= set(step.after)
    return tuple(step.name for step in STEPS if step.name in wanted)


def dependants(name: str) -> tuple[str, ...]:
    """Return every step that rests on a step, directly or not, in order."""
    return tuple(step.name for step in STEPS if name in before(step.name))


def basis(state: State, name: str) -> str:
    """Return the digest of all that a step rests on now, hexadecimal SHA-256."""
    return _digest(state, (*before(name), name))


def basis_before(state: State, name: str) -> str:
    """Return the digest of what the steps before a step give it, without its own settings."""
    return _digest(state, before(name))


def step_states(state: State) -> dict[str, StepState]:
    """Return step → state, in the order of the steps."""
    states: dict[str, StepState] = {}
    for step in STEPS:
        row = state["steps"].get(step.name)
        if row is None:
            states[step.name] = "not started"
        elif row["basis"] == basis(state, step.name) and all(
            states[earlier] == "done" for earlier in step.after
        ):
            states[step.name] = "done"
        else:
            states[step.name] = "stale"
    return states


def _digest(state: State, names: tuple[str, ...]) -> str:
    rests_on: dict[str, object] = {}
    for name in names:
        step = BY_NAME[name]
        rests_on.update({table: state[table] for table in step.tables})
        chosen = {key: state["settings"].get(key) for key in step.settings}
        rests_on.update({f"settings of {name}": chosen})
    return digest_of(rests_on)
