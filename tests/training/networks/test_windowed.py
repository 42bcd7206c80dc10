from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import plain_sample
from facegen_training.fitting.config import WindowedConfig, config_from_data
from facegen_training.networks.learner import Learner
from facegen_training.networks.registry import build_learner
from facegen_training.networks.sdf_learner import SdfLearner, coarse_grid, mirrored
from facegen_training.networks.windowed import (
    _solved,
    blocks_of,
    fit_windowed,
    voxels_of,
    window_matrix,
)
from facegen_training.networks.windowed_part import WINDOWED, load_windowed

SETTINGS = WindowedConfig(share=0.5, windows_mm=(16.0, 40.0), rank=20, ridges=(0.01, 1000.0))


@pytest.fixture(scope="module")
def learner(people: Dataset, tmp_path_factory: pytest.TempPathFactory) -> SdfLearner:
    config = config_from_data(
        {
            "linear": {"copies": 2, "rank": 6, "folds": 3, "latents": 2, "feature_band_mm": 16.0},
            "net": {"width": 8, "levels": 2},
        }
    )
    made = build_learner(people, replace(config, windowed=SETTINGS), tmp_path_factory.mktemp("run"))
    assert isinstance(made, SdfLearner)
    return made


def test_blocks_and_back_are_the_same() -> None:
    fields = np.arange(2 * 4 * 6 * 8, dtype=np.float32).reshape(2, -1)
    blocks = blocks_of(fields, (4, 6, 8), 2)
    assert blocks.shape == (2, 2, 2, 4, 8)
    assert np.allclose(blocks[0, 0, 0, 0], fields[0].reshape(4, 6, 8)[:2, :2, :2].ravel())
    changed = voxels_of(blocks + 1000, fields, (4, 6, 8)).reshape(2, 4, 6, 8)
    assert (changed[:, :, :4] == fields.reshape(2, 4, 6, 8)[:, :, :4] + 1000).all()
    assert (changed[:, :, 4:] == fields.reshape(2, 4, 6, 8)[:, :, 4:]).all()


def test_a_window_keeps_a_level_and_hears_nothing_beyond_its_end() -> None:
    blur = window_matrix(40, 2.0)
    assert np.allclose(blur[10:30].sum(axis=1), 1, atol=1e-6)
    assert blur[20, 25] > 0
    assert blur[20, 26] == 0


def test_leaving_a_person_out_is_what_fitting_without_them_gives() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(12, 5)).astype(np.float32)
    kernels = np.eye(5, dtype=np.float32)[None] / 5
    target = random.normal(size=(12, 1, 8)).astype(np.float32)
    known = np.ones(target.shape, dtype=bool)
    groups = [np.array([n, n + 1]) for n in range(0, 12, 2)]
    _, missed = _solved(kernels, scores, (target, known), groups, 0.3)
    others = np.arange(12) >= 2
    write, _ = _solved(
        kernels, scores[others], (target[others], known[others]), [np.arange(10)], 0.3
    )
    predicted = scores[:2] @ kernels[0] @ write[0]
    assert np.allclose(missed[:2, 0], target[:2, 0] - predicted, atol=1e-4)


def test_people_left_out_are_predicted_better_than_by_the_mean(
    learner: SdfLearner, people: Dataset
) -> None:
    fit = load_windowed(learner.sample.linear_path.with_name(WINDOWED))
    assert set(fit.unseen) == set(people.rows("train"))
    assert fit.error_mm[0.01] < 0.8 * fit.error_mm[1000.0], "at 1000 hardly more than the mean"
    assert fit.ridge == 0.01


def test_the_graph_predicts_what_the_fit_does(learner: SdfLearner, people: Dataset) -> None:
    part = learner.fixed.windowed
    assert part is not None
    copies = mirrored(people)
    grid = coarse_grid(people)
    weak = fit_windowed(copies, grid, replace(SETTINGS, ridges=(1e-4,), rank=30))
    row = people.rows("train")[0]
    sample = plain_sample(people.fields(row), people.spec)
    part = type(part)(weak, grid.shape, tuple(w / (2 * grid.spacing_mm) for w in (16, 40)), 0.5)
    with torch.no_grad():
        fitted = part(sample.bone, sample.observed)
        both = part(sample.bone.repeat(2, 1, 1, 1, 1), sample.observed.repeat(2, 1, 1, 1, 1))
    near = (sample.skin.abs() < 4) & (sample.valid > 0)
    near[:, :, :, grid.front :] = False
    assert (fitted - sample.skin)[near].abs().mean() < 0.2, "hardly any ridge: it knows them all"
    assert torch.allclose(both[1], fitted[0], atol=1e-4)


def test_the_share_is_mixed_in(learner: SdfLearner, people: Dataset) -> None:
    network = learner.network(learner.players[learner.face])
    sample = plain_sample(people.fields(0), people.spec)
    assert network.windowed is not None
    with torch.no_grad():
        mixed, _ = network.blended(sample.bone, sample.observed)
        alone = network.windowed(sample.bone, sample.observed)
        start = network.linear(sample.bone, sample.observed)  # an untrained correction is none
    assert not network.symmetric, "this grid's middle is not the head's"
    assert torch.allclose(mixed, (alone + start) / 2, atol=1e-4)
    assert (alone - start).abs().max() > 0.1


def test_the_file_is_the_network(
    learner: SdfLearner, people: Dataset, check_file: Callable[[Learner, Dataset], None]
) -> None:
    check_file(learner, people)
