"""Steps whose gradient is not finite, in the loop itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from facegen_inference.errors import UserError
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.config import Config
from facegen_training.fitting.fit import fit
from facegen_training.fitting.stop import Stop
from facegen_training.fitting.training import Aids
from facegen_training.networks.sdf_learner import SdfLearner


def lines_of(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    return [line for line in lines if "rate" in line]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Make the cost of the given calls (counted from 0) not a number."""

    def spoiled(calls: set[int], value: float = float("nan")) -> list[int]:
        real, count = SdfLearner.cost, [0]

        def cost(self: SdfLearner, *given: Any) -> tuple[Tensor, dict[str, float]]:
            found, figures = real(self, *given)
            if count[0] in calls:
                found = found * value
            count[0] += 1
            return found, figures

        monkeypatch.setattr(SdfLearner, "cost", cost)
        return count

    return spoiled


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bad_step_is_left_out_and_counted(  # type: ignore[no-untyped-def]
    people: Dataset, tiny: Config, run: Path, spoil, value: float
) -> None:
    spoil({2}, value)
    folder = fit(people, run, tiny)
    lines = lines_of(run)
    assert [line["step"] for line in lines if "skipped" in line] == [3]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    weights = load_file(str(folder / "weights.safetensors"))
    assert all(torch.isfinite(values).all() for values in weights.values())


def test_after_several_the_run_goes_back_with_half_the_rate(  # type: ignore[no-untyped-def]
    people: Dataset, tiny: Config, run: Path, spoil
) -> None:
    config = replace(tiny, fit=replace(tiny.fit, bad_steps=2))
    spoil({3, 4})  # after the checkpoint of step 3
    folder = fit(people, run, config)
    lines = lines_of(run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert not any("skipped" in line for line in lines)
    plain = tmp_rates(config)
    assert [line["rate"] for line in lines[:3]] == pytest.approx(plain[:3])
    assert [line["rate"] for line in lines[3:]] == pytest.approx([r / 2 for r in plain[3:]])
    assert json.loads((folder / "checkpoint.json").read_text())["watch"] == {
        "bad": 0,
        "rollbacks": 1,
    }


def tmp_rates(config: Config) -> list[float]:
    from facegen_training.fitting.fit import schedule

    return [config.fit.learning_rate * schedule(config.fit, step) for step in range(6)]


def test_a_run_that_stays_bad_ends_with_a_sentence(  # type: ignore[no-untyped-def]
    people: Dataset, tiny: Config, run: Path, spoil
) -> None:
    config = replace(tiny, fit=replace(tiny.fit, bad_steps=2, rollbacks=2))
    count = spoil(set(range(2, 1000)))
    with pytest.raises(UserError, match="not finite 2 steps in a row, after going back 2 times"):
        fit(people, run, config)
    # Two good steps, two bad; then twice from step 0 two bad ones each.
    assert count[0] == 4 + 2 * 2


def test_bad_steps_in_a_row_are_counted_across_a_stop(  # type: ignore[no-untyped-def]
    people: Dataset, tiny: Config, tmp_path: Path, spoil
) -> None:
    config = replace(tiny, fit=replace(tiny.fit, bad_steps=3))
    stop = Stop()

    def ask(line: dict[str, Any]) -> None:
        stop.asked = line["step"] == 4

    spoil({4})
    folder = fit(people, tmp_path / "run", config, Aids(ask, stop))
    assert json.loads((folder / "checkpoint.json").read_text())["watch"]["bad"] == 1
