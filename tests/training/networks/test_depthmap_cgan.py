from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import coarse_points, plain_sample
from facegen_training.fitting.config import Config
from facegen_training.fitting.losses import face_weight, surface_miss
from facegen_training.networks.depth_maps import DistanceField
from facegen_training.networks.depthmap_cgan import MapGenerator
from facegen_training.networks.depthmap_learner import DepthmapLearner, build
from facegen_training.networks.depthmap_samples import MAPS, MapMaker
from facegen_training.networks.learner import Learner

Stepped = Callable[..., dict[str, list[float]]]
Check = Callable[[Learner, Dataset], None]


@pytest.fixture
def learner(people: Dataset, small: Config, tmp_path: Path) -> DepthmapLearner:
    torch.manual_seed(0)
    return build(people, small, tmp_path)


def test_a_person_goes_through_maps_and_comes_back(people: Dataset, small: Config) -> None:
    """The skin's own map, made a field again, lies where the skin is."""
    maker = MapMaker(people.spec, small.depthmap, torch.zeros(1))
    points = coarse_points(people.spec)
    to_field, face = DistanceField(small.depthmap.geometry, points), face_weight(points)
    for row in people.rows("validation"):
        sample = plain_sample(people.fields(row), people.spec)
        skin, valid = maker.skin(sample)
        assert valid.mean() > 0.9
        back, _ = to_field(skin, skin[:, :0])
        assert surface_miss(back, sample, face) < 0.5


def test_a_sample_is_what_was_drawn_and_light_to_send(
    learner: DepthmapLearner, people: Dataset
) -> None:
    row = people.rows("train")[1]
    first, second = (learner.sample(row, np.random.default_rng(3)) for _ in range(2))
    assert set(first) == set(MAPS)
    assert all(torch.equal(first[name], second[name]) for name in MAPS)
    assert first["bone"].shape == (1, 48, 56)
    sent = pickle.dumps(learner.sample)
    assert len(sent) < 1_000_000 + sum(array.nbytes for array in map(people.array, range(15)))
    there = pickle.loads(sent)(row, np.random.default_rng(3))
    assert all(torch.equal(first[name], there[name]) for name in MAPS)


def test_bone_lies_under_the_skin(learner: DepthmapLearner, people: Dataset) -> None:
    sample = learner.sample(people.rows("train")[0], np.random.default_rng(0))
    both = (sample["hit"] * sample["valid"]) > 0
    depth = (sample["skin"] - sample["bone"])[both]
    assert both.float().mean() > 0.3
    assert depth.min() > 0
    assert 4 < depth.mean() < 25


def test_every_player_learns_by_its_own_cost(
    learner: DepthmapLearner, people: Dataset, check_gradients: Check
) -> None:
    check_gradients(learner, people)


def test_the_network_begins_as_the_mean_face(learner: DepthmapLearner) -> None:
    found = learner.validate(learner.players["generator"])
    assert found["validation_mm"] == pytest.approx(found["validation_mean_face_mm"], abs=1e-4)
    assert found["validation_linear_mm"] < found["validation_mean_face_mm"]


def test_thirty_steps_bring_the_face_nearer(
    learner: DepthmapLearner, people: Dataset, stepped: Stepped
) -> None:
    lines = stepped(learner, people, steps=30, rate=3e-3)
    found = learner.validate(learner.players["generator"].eval())
    assert found["validation_mm"] < 0.85 * found["validation_mean_face_mm"]
    assert np.mean(lines["condition"][-5:]) < 0.9 * np.mean(lines["condition"][:5])


def test_the_discriminator_learns_to_tell_real_faces_from_mean_ones(
    learner: DepthmapLearner, people: Dataset, stepped: Stepped
) -> None:
    lines = stepped(learner, people, steps=40, rate=3e-3, players=["discriminator"])
    real, made = (np.mean(lines[name][-5:]) for name in ("real", "made"))
    assert real > made + 0.1


def test_what_training_knows_of_misses_is_of_people_left_out(
    learner: DepthmapLearner, people: Dataset
) -> None:
    network = learner.network(learner.players["generator"])
    shape = tuple(n // 2 for n in people.spec.shape)
    for row in (*people.rows("train")[:2], *people.rows("validation")[:1]):
        seen = learner.unseen(row, network)
        assert seen is not None
        miss, spread, near = seen
        assert miss.shape == spread.shape == near.shape == shape
        assert near.any()
        assert (spread >= 0.3)[near].all()
    row = people.rows("validation")[0]
    before = learner.unseen(row, network)
    network.offset_mm = 1.5
    after = learner.unseen(row, network)
    assert before is not None
    assert after is not None
    assert torch.allclose(after[0] - before[0], torch.full(shape, 1.5), atol=1e-4)
    assert learner.unseen(people.rows("test")[0], network) is None


def test_the_file_keeps_the_contract(
    learner: DepthmapLearner, people: Dataset, stepped: Stepped, check_file: Check
) -> None:
    stepped(learner, people, steps=3, rate=2e-3)
    check_file(learner, people)


def test_missing_bone_is_told_by_the_mask_alone(learner: DepthmapLearner) -> None:
    generator = learner.players["generator"].eval()
    assert isinstance(generator, MapGenerator)
    torch.nn.init.normal_(generator.last.weight)
    hit = torch.ones_like(generator.mean_bone)
    hit[..., :20] = 0
    bone = generator.mean_bone + 3
    hidden = bone - 40 * (1 - hit)
    with torch.no_grad():
        made = [generator(b, hit, torch.ones_like(hit)) for b in (bone, hidden)]
        other = generator(bone, torch.ones_like(hit), torch.ones_like(hit))
    assert torch.equal(made[0][0], made[1][0])
    assert not torch.equal(made[0][0], other[0])
