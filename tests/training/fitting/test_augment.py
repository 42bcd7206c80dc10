from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import coarse_points, plain_sample, random_sample
from facegen_training.fitting.config import AugmentConfig

STILL = AugmentConfig(
    mirror=0,
    rotation_deg=0,
    shift_mm=0,
    scale=0,
    bend_mm=0,
    level_mm=0,
    mandible=0,
    teeth=0,
    hole=0,
    crop=0,
)


def test_a_plain_sample_is_the_mean_of_blocks_as_the_network_pools(people: Dataset) -> None:
    fields = people.fields(0)
    pooled = torch.nn.functional.avg_pool3d(fields[:1][None], 2)
    assert torch.allclose(plain_sample(fields, people.spec).bone, pooled, atol=1e-3)


def test_nothing_random_leaves_the_sample_as_it_is(people: Dataset) -> None:
    fields = people.fields(0)
    still = random_sample(fields, people.spec, STILL, np.random.default_rng(0))
    assert torch.allclose(still.skin, plain_sample(fields, people.spec).skin, atol=1e-3)


def test_a_mirrored_copy_has_left_and_right_exchanged(people: Dataset) -> None:
    fields = people.fields(0).clone()
    points = people.spec.grid.patient_points(
        np.indices(people.spec.shape).reshape(3, -1).T.astype(float)
    )
    left = torch.tensor(points[:, 0] > 20).reshape(people.spec.shape)
    fields[2][left] = -7.0
    mirrored = random_sample(
        fields, people.spec, replace(STILL, mirror=1.0), np.random.default_rng(0)
    )
    x = coarse_points(people.spec)[..., 0]
    assert ((mirrored.skin[0, 0][x < -36] + 7).abs() < 1e-3).all()
    assert not ((mirrored.skin[0, 0][x > 36] + 7).abs() < 1e-3).any()


def test_skull_and_skin_move_together(people: Dataset) -> None:
    fields = people.fields(0)
    moved = random_sample(
        fields, people.spec, replace(STILL, rotation_deg=10, shift_mm=9), np.random.default_rng(3)
    )
    plain = plain_sample(fields, people.spec)
    assert (moved.skin - plain.skin).abs().max() > 3
    front = moved.valid * (moved.skin.abs() < 15)
    gap = ((moved.bone - moved.skin) * front).sum() / front.sum()
    same = plain.valid * (plain.skin.abs() < 15)
    assert abs(float(gap - ((plain.bone - plain.skin) * same).sum() / same.sum())) < 0.6


def test_damage_takes_bone_away_and_never_adds_any(people: Dataset) -> None:
    harmed = AugmentConfig(**{**vars(STILL), "mandible": 1.0, "teeth": 1.0, "hole": 1.0})
    plain = plain_sample(people.fields(0), people.spec)
    for seed in range(8):
        sample = random_sample(people.fields(0), people.spec, harmed, np.random.default_rng(seed))
        assert (sample.bone >= plain.bone - 1e-3).all()
        assert ((plain.bone < 0) & (sample.bone > 4)).any()
        assert torch.equal(sample.skin, plain.skin)


def test_a_cropped_scan_says_where_it_did_not_look(people: Dataset) -> None:
    spec: PreprocessSpec = people.spec
    for seed in range(8):
        sample = random_sample(
            people.fields(0), spec, replace(STILL, crop=1.0), np.random.default_rng(seed)
        )
        unseen = sample.observed == 0
        assert unseen.any()
        assert (sample.bone[unseen] == spec.clip_mm).all()


def test_the_same_seed_gives_the_same_sample(people: Dataset) -> None:
    first, second = (
        random_sample(people.fields(0), people.spec, AugmentConfig(), np.random.default_rng(5))
        for _ in range(2)
    )
    assert torch.equal(first.bone, second.bone)
    assert torch.equal(first.skin, second.skin)
