"""The seven steps without a window: what a change makes stale, and what it does not."""

from __future__ import annotations

import pytest

from facegen_app.model.steps import RESTS_ON, STEPS, State, Steps

NOT, DONE, STALE = State.NOT_STARTED, State.DONE, State.STALE


@pytest.fixture
def worked() -> Steps:
    """A case worked from scan to report."""
    steps = Steps()
    for name in STEPS:
        steps.record(name, f"first {name}")
    return steps


def states(steps: Steps) -> dict[str, State]:
    return {name: steps.state(name) for name in STEPS}


def test_what_a_step_rests_on_comes_before_it() -> None:
    for number, name in enumerate(STEPS):
        assert set(RESTS_ON[name]) <= set(STEPS[:number])
    assert len(STEPS) == 7


def test_nothing_is_started_and_then_all_is_done(worked: Steps) -> None:
    assert set(states(Steps()).values()) == {NOT}
    assert set(states(worked).values()) == {DONE}
    worked.begin()
    assert set(states(worked).values()) == {NOT}


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("scan", {"skull", "landmarks", "face", "review", "report"}),
        ("skull", {"landmarks", "face", "review", "report"}),
        ("landmarks", {"face", "review", "report"}),
        ("profile", {"face", "review", "report"}),
        ("face", {"review", "report"}),
        ("review", set()),
        ("report", set()),
    ],
)
def test_a_change_makes_stale_what_rests_on_it_and_nothing_else(
    worked: Steps, changed: str, stale: set[str]
) -> None:
    before = states(worked)
    worked.record(changed, "another")
    assert {name for name, state in states(worked).items() if state is STALE} == stale
    assert worked.cause("report") == next((n for n in STEPS if n in stale and n != "review"), None)
    worked.record(changed, f"first {changed}")
    assert states(worked) == before  # taken back: nothing is stale


def test_the_steps_are_made_good_one_after_the_other(worked: Steps) -> None:
    worked.record("landmarks", "moved")
    worked.record("review", "looked at the old face")
    assert worked.state("review") is STALE  # looking does not make the face fresh
    worked.record("face", "second face")
    assert worked.state("face") is DONE
    assert worked.state("report") is STALE
    worked.record("report", "second report")
    assert worked.state("report") is DONE
    assert worked.cause("report") is None


def test_a_lost_frame_is_not_started_and_what_was_made_from_it_stale(worked: Steps) -> None:
    worked.drop("landmarks")
    assert worked.state("landmarks") is NOT
    assert worked.state("face") is STALE
    worked.drop("landmarks")


def test_what_has_to_come_first_is_named() -> None:
    steps = Steps()
    assert [steps.lacking(name) for name in STEPS] == [
        None, "scan", "scan", None, "scan", "scan", "scan",
    ]  # fmt: skip
    for name in ("scan", "skull", "landmarks"):
        steps.record(name, 1)
    assert steps.lacking("face") is None  # without a profile
    assert steps.lacking("report") == "face"
    steps.record("landmarks", 2)
    assert steps.lacking("face") is None


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
