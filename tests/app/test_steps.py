"""The seven steps without a window: when one is stale, what it says, and where one can go."""

from __future__ import annotations

import pytest

from facegen_app.model.step_order import MADE_FROM, STEPS, State, before, dependants, states_of
from facegen_app.model.steps import Steps

NOT, DONE, STALE = State.NOT_STARTED, State.DONE, State.STALE


def test_what_a_step_is_made_from_comes_before_it() -> None:
    for number, (name, earlier) in enumerate(MADE_FROM.items()):
        assert set(earlier) <= set(before(name)) <= set(STEPS[:number])
    assert len(STEPS) == 7


@pytest.mark.parametrize("changed", STEPS)
def test_a_change_makes_stale_what_rests_on_it_and_nothing_else(changed: str) -> None:
    rested_on = {name: f"first {name}" for name in STEPS}
    now = {**rested_on, changed: "another"}
    states = states_of(rested_on, now.__getitem__)
    stale = {name for name, state in states.items() if state is STALE}
    assert stale == {changed, *dependants(changed)}
    assert set(states_of(rested_on, rested_on.__getitem__).values()) == {DONE}


def test_a_step_never_done_is_not_started_and_what_rests_on_it_stale() -> None:
    rested_on = {name: name for name in STEPS if name != "landmarks"}
    states = states_of(rested_on, str)
    assert states["landmarks"] is NOT
    assert states["face"] is STALE
    assert states["skull"] is DONE


def test_the_first_stale_step_is_the_cause() -> None:
    steps, told = Steps(), []
    steps.changed.connect(lambda: told.append(1))
    states = {**dict.fromkeys(STEPS, DONE), "face": STALE, "review": STALE, "report": STALE}
    steps.set_states(states)
    steps.set_states(dict(states))
    assert len(told) == 1
    assert steps.cause("report") == "face"
    assert steps.cause("landmarks") is None
    steps.set_states({**states, "profile": STALE})
    assert steps.cause("report") == "profile"


def test_what_has_to_come_first_is_named() -> None:
    steps = Steps()
    assert [steps.lacking(name) for name in STEPS] == [
        None, "scan", "scan", None, "scan", "scan", "scan",
    ]  # fmt: skip
    found = {**dict.fromkeys(STEPS, NOT), "scan": DONE, "skull": DONE, "landmarks": STALE}
    steps.set_states(found)
    assert steps.lacking("face") is None  # without a profile
    assert steps.lacking("report") == "face"


def test_any_step_can_be_gone_to_and_each_move_is_told_once() -> None:
    steps, told = Steps(), []
    steps.chosen.connect(lambda left, name: told.append((left, name)))
    steps.choose("report")
    steps.choose("report")
    assert steps.following is None
    steps.choose("scan")
    assert steps.following == "skull"
    assert told == [("scan", "report"), ("report", "scan")]
    with pytest.raises(ValueError, match="lunch"):
        steps.choose("lunch")
