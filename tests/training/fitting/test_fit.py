from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from facegen_inference.errors import UserError
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import coarse_points, plain_sample
from facegen_training.fitting.config import Config
from facegen_training.fitting.fit import fit
from facegen_training.fitting.losses import distance_error, face_weight, near_skin, surface_miss
from facegen_training.fitting.run_folder import only_one
from facegen_training.fitting.stop import Stop
from facegen_training.fitting.training import Aids
from facegen_training.networks.linear_file import load_linear
from facegen_training.networks.sdf_learner import SdfLearner, build_network, linear_copies


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(str(folder / "weights.safetensors"))


def logged(run: Path, key: str, beside: str = "step") -> list[float]:
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    return [line[key] for line in lines if key in line and beside in line]


def test_a_short_run_leaves_exactly_its_files(people: Dataset, tiny: Config, run: Path) -> None:
    last = fit(people, run, tiny)
    assert last == run / "checkpoint-0000006"
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoint-0000003",
        "checkpoint-0000006",
        "linear.json",
        "linear.safetensors",
        "run.json",
        "steps.jsonl",
        "tensorboard",
    ]
    assert sorted(p.name for p in last.iterdir()) == [
        "average.safetensors",
        "checkpoint.json",
        "optimizer.safetensors",
        "weights.safetensors",
    ]
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "error" in line] == [1, 2, 3, 4, 5, 6]
    first = lines[0]
    assert first["rate"] == pytest.approx(tiny.fit.learning_rate / 2)
    assert 0 <= first["waiting"] <= 1
    assert first["memory_mib"] > 100
    assert first["gradient_correction"] > 0


def test_a_resumed_run_gives_the_same_weights_bit_for_bit(
    people: Dataset, tiny: Config, tmp_path: Path
) -> None:
    through = weights(fit(people, tmp_path / "through", tiny))

    stop = Stop()

    def ask(line: dict[str, Any]) -> None:
        stop.asked = line["step"] == 4

    told: list[str] = []
    stop.on_stop = lambda: told.append("stopped")
    stopped = fit(people, tmp_path / "stopped", tiny, Aids(say=ask, stop=stop))
    assert stopped.name == "checkpoint-0000005"  # asked during 4, so 5 is the last
    assert stop.acted
    assert told == ["stopped"]
    assert any(not torch.equal(weights(stopped)[k], through[k]) for k in through)

    resumed = weights(fit(people, tmp_path / "stopped", tiny))
    assert all(torch.equal(resumed[key], through[key]) for key in through)
    assert logged(tmp_path / "stopped", "step", "error") == [1, 2, 3, 4, 5, 6]
    for name in ("average", "optimizer"):
        ends = [tmp_path / r / "checkpoint-0000006" for r in ("through", "stopped")]
        one, other = (load_file(str(end / f"{name}.safetensors")) for end in ends)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_run_is_not_continued_with_other_settings(
    people: Dataset, tiny: Config, run: Path
) -> None:
    fit(people, run, tiny)
    other = replace(tiny, fit=replace(tiny.fit, learning_rate=1e-4))
    with pytest.raises(UserError, match="other settings"):
        fit(people, run, other)


def test_the_linear_start_beats_the_mean_face(people: Dataset, tiny: Config, run: Path) -> None:
    fit(people, run, tiny)
    linear, mean = (logged(run, f"validation_{name}_mm")[-1] for name in ("linear", "mean_face"))
    assert linear < 0.8 * mean


def test_the_network_learns_what_its_start_misses(people: Dataset, tiny: Config, run: Path) -> None:
    fit(people, run, tiny)
    linear = load_linear(run / "linear.safetensors")
    network = build_network(people, linear, tiny)
    sample = plain_sample(people.fields(1), people.spec)
    start = torch.from_numpy(linear.whole.mean_skin).reshape(sample.skin.shape)
    face = face_weight(coarse_points(people.spec))
    weight = near_skin(sample, face, 8.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    misses = []
    for _ in range(25):
        optimizer.zero_grad()
        distance, _ = network.coarse(sample.bone, sample.observed, start)
        distance_error(distance, sample, weight).backward()
        optimizer.step()
        misses.append(float(surface_miss(distance.detach(), sample, face)))
    assert misses[-1] < 0.6 * misses[0]


def test_the_network_begins_as_the_linear_prediction(
    people: Dataset, tiny: Config, run: Path
) -> None:
    fit(people, run, tiny)
    learner = SdfLearner(people, tiny, run / "linear.safetensors")
    found = learner.validate(learner.players[learner.face])
    assert found["validation_mm"] == pytest.approx(found["validation_linear_mm"], abs=1e-6)


def test_linear_prediction_of_unseen_people_never_used_them(
    people: Dataset, tiny: Config, run: Path
) -> None:
    fit(people, run, tiny)
    linear = load_linear(run / "linear.safetensors")
    copies = linear_copies(people, tiny)
    for person in np.unique(copies.person):
        rows = copies.person == person
        face = copies.valid[rows] * (np.abs(copies.skin[rows]) < 8)

        def miss(part, rows=rows, face=face):  # type: ignore[no-untyped-def]
            predicted = part.predict(copies.bone[rows], copies.observed[rows])
            return float((np.abs(predicted - copies.skin[rows]) * face).sum() / face.sum())

        own_fold_left_out = miss(linear.folds[linear.fold_of[int(person)]])
        assert own_fold_left_out != pytest.approx(miss(linear.whole), rel=1e-6)


def test_two_processes_never_train_one_run(
    people: Dataset, tiny: Config, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegen_training.fitting.run_folder.PATIENCE_S", 0.5)
    with only_one(run), pytest.raises(UserError, match="Another process is training this run"):
        fit(people, run, tiny)
    fit(people, run, tiny)
