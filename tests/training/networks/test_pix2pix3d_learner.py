from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.config import Config
from facegen_training.networks.learner import Learner
from facegen_training.networks.pix2pix3d_learner import VolumeGanLearner, build

Stepped = Callable[..., dict[str, list[float]]]
Check = Callable[[Learner, Dataset], None]


@pytest.fixture
def learner(people: Dataset, small: Config, tmp_path: Path) -> VolumeGanLearner:
    torch.manual_seed(0)
    return build(people, small, tmp_path)


def test_samples_are_drawn_alike_in_another_process(
    learner: VolumeGanLearner, people: Dataset
) -> None:
    row = people.rows("train")[1]
    here = learner.sample(row, np.random.default_rng(3))
    there = pickle.loads(pickle.dumps(learner.sample))(row, np.random.default_rng(3))
    assert here["bone"].shape == (1, 32, 26, 24)
    assert all(torch.equal(here[name], there[name]) for name in here)


def test_every_player_learns_by_its_own_cost(
    learner: VolumeGanLearner, people: Dataset, check_gradients: Check
) -> None:
    check_gradients(learner, people)


def test_fifty_steps_bring_the_face_nearer(
    learner: VolumeGanLearner, people: Dataset, stepped: Stepped
) -> None:
    stepped(learner, people, steps=50, rate=3e-3)
    found = learner.validate(learner.players["generator"])
    assert found["validation_linear_mm"] < found["validation_mean_face_mm"]
    assert found["validation_mm"] < 0.9 * found["validation_mean_face_mm"]


def test_only_people_it_has_not_seen_calibrate_it(
    learner: VolumeGanLearner, people: Dataset
) -> None:
    network = learner.network(learner.players["generator"])
    assert learner.unseen(people.rows("train")[0], network) is None
    row = people.rows("validation")[0]
    before = learner.unseen(row, network)
    network.offset_mm = 1.5
    after = learner.unseen(row, network)
    assert before is not None
    assert after is not None
    assert torch.allclose(after[0] - before[0], torch.full_like(after[0], 1.5), atol=1e-4)
    assert before[2].any()


def test_the_file_keeps_the_contract(
    learner: VolumeGanLearner, people: Dataset, stepped: Stepped, check_file: Check
) -> None:
    stepped(learner, people, steps=3, rate=2e-3)
    check_file(learner, people)
