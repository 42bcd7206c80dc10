from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from facegen_inference.errors import UserError
from facegen_training.augment import coarse_points
from facegen_training.checkpoint import load_linear, newest_checkpoint, save_checkpoint
from facegen_training.config import AugmentConfig, Config
from facegen_training.fit import build_network, fit, linear_copies, validate
from facegen_training.losses import face_weight
from facegen_training.prepare import Dataset


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(str(folder / "weights.safetensors"))


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
    ]
    assert sorted(p.name for p in last.iterdir()) == [
        "average.safetensors",
        "checkpoint.json",
        "optimizer.pt",
        "weights.safetensors",
    ]
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "error" in line] == [1, 2, 3, 4, 5, 6]


def test_a_resumed_run_gives_the_same_weights_bit_for_bit(
    people: Dataset, tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through = weights(fit(people, tmp_path / "through", tiny))

    def stop_after_saving(*args: object) -> Path:
        save_checkpoint(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("facegen_training.fit.save_checkpoint", stop_after_saving)
        with pytest.raises(KeyboardInterrupt):
            fit(people, tmp_path / "stopped", tiny)
    stopped = newest_checkpoint(tmp_path / "stopped")
    assert stopped is not None
    assert stopped.name == "checkpoint-0000003"
    assert any(not torch.equal(weights(stopped)[k], through[k]) for k in through)

    resumed = weights(fit(people, tmp_path / "stopped", tiny))
    assert all(torch.equal(resumed[key], through[key]) for key in through)


def test_a_run_is_not_continued_with_other_settings(
    people: Dataset, tiny: Config, run: Path
) -> None:
    fit(people, run, tiny)
    other = replace(tiny, fit=replace(tiny.fit, learning_rate=1e-4))
    with pytest.raises(UserError, match="other settings"):
        fit(people, run, other)


STILL = dict.fromkeys(
    ["mirror", "rotation_deg", "shift_mm", "scale", "bend_mm", "level_mm", "mandible", "teeth",
     "hole", "crop"], 0.0,
)  # fmt: skip


def test_training_goes_beyond_the_linear_start_which_goes_beyond_the_mean(
    people: Dataset, tiny: Config, run: Path
) -> None:
    still = replace(
        tiny,
        augment=AugmentConfig(**STILL),
        fit=replace(tiny.fit, steps=60, batch=1, learning_rate=5e-3),
    )
    fit(people, run, still)
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    watched = [line for line in lines if "validation_mm" in line][-1]
    assert watched["validation_linear_mm"] < 0.8 * watched["validation_mean_face_mm"]
    late = [line for line in lines if line.get("step", 0) > 40 and "miss_mm" in line]
    assert len(late) == 20
    assert sum(x["miss_mm"] for x in late) < 0.9 * sum(x["linear_miss_mm"] for x in late)


def test_the_network_begins_as_the_linear_prediction(
    people: Dataset, tiny: Config, run: Path
) -> None:
    fit(people, run, tiny)
    linear = load_linear(run / "linear.safetensors")
    network = build_network(people, linear, tiny)
    found = validate(people, network, linear, face_weight(coarse_points(people.spec)))
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
