"""Both baselines through the one training loop: stopped, resumed, exported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from facegen_training.cohort.dataset import Dataset
from facegen_training.export import trained_of_run
from facegen_training.fitting.calibrate import calibrate
from facegen_training.fitting.config import Config
from facegen_training.fitting.fit import fit


@pytest.mark.parametrize("network", ["depthmap-cgan", "pix2pix3d"])
def test_a_run_goes_on_and_gives_a_network(
    people: Dataset, small: Config, run: Path, network: str
) -> None:
    few = replace(small.fit, steps=2, checkpoint_every=1, validate_every=2, pictures=0, devices=1)
    config = replace(small, network=network, fit=replace(few, tensorboard=False))
    last = fit(people, run, config)
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert any("validation_mm" in line for line in lines)
    assert any(line.get("step") == 2 for line in lines)
    trained = trained_of_run(people, last)
    average = load_file(str(last / "average.safetensors"))
    assert any(key.endswith("mean_skin") for key in average), "the means travel with the weights"
    found = calibrate(people, trained.learner, trained.network)
    assert found.people >= len(people.rows("validation"))
    assert 0 < found.factor50 < 10
    assert 0 < found.factor90 < 10
