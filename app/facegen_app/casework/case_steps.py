"""What of a case each of its seven steps rests on.

When a step is stale by that is said in one place, for the window too:
`facegen_app.model.step_order`.
"""

from __future__ import annotations

from dataclasses import dataclass

from facegen_app.casework.case_state import State, digest_of
from facegen_app.model import step_order


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes
    ----------
    title
        As shown.
    tables, settings
        Tables, and rows of the table ``settings``, that it rests on itself.
    """

    title: str
    tables: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


STEPS = {
    "scan": Step("Scan", settings=("source", "units")),
    "skull": Step("Skull", settings=("bone_level_hu", "crop", "pieces")),
    "landmarks": Step("Landmarks & frame", ("landmarks",), ("frame",)),
    "profile": Step("Profile", ("profile",)),
    "face": Step("Face", settings=("request",)),
    "review": Step("Review", ("runs", "meshes")),
    "report": Step("Report", ("pictures", "facts")),
}
SETTINGS = tuple(name for step in STEPS.values() for name in step.settings)
"""Every setting a case knows."""


def basis(state: State, name: str) -> str:
    """Return the digest of all that a step rests on now, hexadecimal SHA-256."""
    return _digest(state, (*step_order.before(name), name))


def basis_before(state: State, name: str) -> str:
    """Return the digest of what the steps before a step give it, without its own settings."""
    return _digest(state, step_order.before(name))


def step_states(state: State) -> dict[str, step_order.State]:
    """Return step → state, in the order of the steps."""
    rested_on = {name: str(row["basis"]) for name, row in state["steps"].items()}
    return step_order.states_of(rested_on, lambda name: basis(state, name))


def _digest(state: State, names: tuple[str, ...]) -> str:
    rests_on: dict[str, object] = {}
    for name in names:
        step = STEPS[name]
        rests_on.update({table: state[table] for table in step.tables})
        chosen = {key: state["settings"].get(key) for key in step.settings}
        rests_on.update({f"settings of {name}": chosen})
    return digest_of(rests_on)
