from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from face_shapes import face, nearer_the_mean, people

from facegen_inference.mesh import Mesh
from facegen_training.evaluation.memory import (
    ALIGNED,
    FRAME,
    PLANTED,
    UNSEEN,
    nearness,
    remember,
)
from facegen_training.evaluation.memory_report import (
    RESULT,
    chance,
    conclusion,
    section,
    verdict,
)

FOLDS = {f"person_{n:02d}": n % 2 for n in range(18)}


@pytest.fixture(scope="module")
def true() -> dict[str, Mesh]:
    return people(22)


@pytest.fixture(scope="module")
def mean(true: dict[str, Mesh]) -> Mesh:
    return Mesh(np.mean([m.vertices for m in true.values()], axis=0), face(0).triangles)


@pytest.fixture(scope="module")
def honest(true: dict[str, Mesh], mean: Mesh) -> dict[str, object]:
    predicted = {"neural": {p: nearer_the_mean(true[p], mean, 0.6) for p in FOLDS}}
    own = {p: nearer_the_mean(mesh, mean, 0.6) for p, mesh in true.items()}
    draws = {f"{p}#{n}": face(100 + 7 * n, stretch=2) for n in range(2) for p in list(true)[:4]}
    return remember(predicted, true, FOLDS, {"training people": own, "draws": draws})


def test_nearness_leaves_the_persons_own_face_out() -> None:
    distances = np.array([[0.1, 2.0, 4.0, 4.0], [3.0, 1.0, 2.0, 4.0]])
    found = nearness(distances, np.array([0, -1]))
    np.testing.assert_allclose(found.nearest_mm, [2.0, 1.0])
    np.testing.assert_allclose(found.ratio, [0.5, 1 / 3], rtol=1e-6)
    assert found.own_mm[0] == pytest.approx(0.1)
    assert np.isnan(found.own_mm[1])
    given = nearness(distances, np.array([0, -1]), np.array([9.0, 2.5]))
    np.testing.assert_allclose(given.own_mm, [0.1, 2.5])


def test_a_model_that_does_not_remember_passes_and_half_a_copy_is_seen(
    honest: dict[str, object],
) -> None:
    figures = verdict(honest, ALIGNED)
    assert figures["neural"]["nearer"] <= 2, "of so few people one or two may be by chance"
    assert figures["neural"]["faces"] == len(FOLDS)
    planted = figures[f"neural, {PLANTED}"]
    assert planted["nearer"] > 0.5 * len(FOLDS)
    assert planted["median"] < figures[UNSEEN]["median"]


def test_a_model_that_gives_training_faces_back_fails(true: dict[str, Mesh]) -> None:
    names = list(true)
    others = {
        p: next(true[q] for q in names[n + 1 :] + names if FOLDS.get(q) != FOLDS[p])
        for n, p in enumerate(FOLDS)
    }
    result = remember({"copier": others}, true, FOLDS)
    assert verdict(result, ALIGNED)["copier"]["nearer"] == len(FOLDS)
    assert verdict(result, FRAME)["copier"]["nearest_mm"] < 0.01
    assert verdict(result, ALIGNED)["copier"]["chance"] < 0.01
    assert conclusion(result).startswith("**Generated faces lie nearer")


def test_own_faces_and_draws_of_the_shipped_model_are_measured(honest: dict[str, object]) -> None:
    figures = verdict(honest, FRAME)
    assert figures["training people"]["faces"] == 22
    assert figures["training people"]["own_mm"] < 3
    assert figures["neural"]["own_ratio"] < 1
    assert figures["draws"]["faces"] == 8
    assert "own_mm" in figures["draws"], "a draw belongs to the person before the #"


def test_section_says_what_was_found(honest: dict[str, object], tmp_path: Path) -> None:
    assert section(tmp_path) == []
    (tmp_path / RESULT).write_text(json.dumps(honest), encoding="utf-8")
    text = "\n\n".join(section(tmp_path))
    assert "## Memory" in text
    assert f"| {UNSEEN} | 18 |" in text
    assert conclusion(honest) in text


def test_chance_is_that_of_the_lowest_all_being_generated() -> None:
    unseen = np.array([0.5, 0.6, 0.7])
    assert chance(np.array([0.6, 0.8]), unseen) == 1.0
    assert chance(np.array([0.4, 0.8]), unseen) == pytest.approx(2 / 5)
    assert chance(np.array([0.4, 0.3]), unseen) == pytest.approx(2 / 5 * 1 / 4)
