"""PCR and PLSR on numbers whose relation is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facegen_training.template.regression import (
    Choice,
    cross_validated,
    filled,
    regressed,
    scores,
)

Values = NDArray[np.float64]
POINTS = 30


def shapes(random: np.random.Generator, people: int) -> Values:
    """Return shapes of five components, the first the largest."""
    return random.normal(size=(people, 5)) * [9, 7, 5, 3, 2] @ random.normal(size=(5, 40))


def test_either_regression_of_full_rank_finds_an_exact_relation() -> None:
    random = np.random.default_rng(1)
    x = shapes(random, 60)
    depth = 3 + x @ random.normal(size=(40, POINTS))
    train = np.arange(60) < 40
    found = scores(x @ x.T, train, ~train)
    mean = depth[train].mean(axis=0)
    for kind in ("pcr", "plsr"):
        slopes = regressed(Choice(kind, 5), found, depth[train] - mean, np.ones(POINTS))
        assert np.allclose(mean + found.held @ slopes, depth[~train], atol=1e-6)


def test_plsr_of_rank_one_finds_what_a_small_component_tells_and_pcr_does_not() -> None:
    random = np.random.default_rng(2)
    place = random.normal(size=(80, 2)) * [5, 2]
    x = place @ random.normal(size=(2, 40))
    depth = place[:, 1:] * np.ones(POINTS)
    train = np.arange(80) < 50
    found = scores(x @ x.T, train, ~train)
    error = {}
    for kind in ("pcr", "plsr"):
        centred = depth[train] - depth[train].mean(axis=0)
        slopes = regressed(Choice(kind, 1), found, centred, np.ones(POINTS))
        held = depth[~train] - depth[train].mean(axis=0)
        error[kind] = np.abs(held - found.held @ slopes).mean()
    assert error["plsr"] < 0.7 * error["pcr"]


def test_cross_validation_takes_the_mean_where_nothing_can_be_told() -> None:
    random = np.random.default_rng(3)
    x = shapes(random, 60)
    person = np.repeat(np.arange(30), 2)
    told = x @ random.normal(size=(40, POINTS)) + random.normal(size=(60, POINTS))
    noise = random.normal(size=(30, POINTS)).repeat(2, axis=0)
    kernel = x @ x.T
    assert cross_validated(kernel, told, person, np.ones(POINTS)).choice.kind != "mean"
    assert cross_validated(kernel, noise, person, np.ones(POINTS)).choice == Choice("mean", 0)


def test_a_person_left_out_has_no_influence_on_what_is_said_of_them() -> None:
    random = np.random.default_rng(4)
    x = shapes(random, 30)
    depth = x @ random.normal(size=(40, POINTS)) + random.normal(size=(30, POINTS))
    person = np.repeat(np.arange(15), 2)
    first = cross_validated(x @ x.T, depth, person, np.ones(POINTS))
    changed = depth.copy()
    changed[6:8] += 2
    second = cross_validated(x @ x.T, changed, person, np.ones(POINTS))
    assert first.choice == second.choice
    assert first.choice.kind != "mean"
    assert np.allclose(second.missed[6:8] - first.missed[6:8], 2)
    others = person % 5 != 3 % 5  # who were not left out together with them
    assert np.abs(second.missed - first.missed)[others].max() > 0.01


def test_gaps_are_filled_by_what_goes_together() -> None:
    random = np.random.default_rng(5)
    whole = np.outer(random.normal(size=50), np.linspace(1, 2, POINTS)) * 4 + 7
    holed = whole.copy()
    gaps = random.random(whole.shape) < 0.2
    holed[gaps] = np.nan
    full, mean = filled(holed)
    error = np.abs(full + mean - whole)[gaps].mean()
    assert error < 0.35 * np.abs(whole.mean(axis=0) - whole)[gaps].mean()
