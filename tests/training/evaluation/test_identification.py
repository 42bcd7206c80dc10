from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from face_shapes import face, nearer_the_mean, people

from facegen_inference.errors import UserError
from facegen_inference.mesh import Mesh
from facegen_training.evaluation import decoys
from facegen_training.evaluation.decoy_check import Lot, balanced_accuracy, lot, told_apart
from facegen_training.evaluation.decoys import decoy_maker, detail_energy
from facegen_training.evaluation.face_space import FaceSpace, fit_space, projected
from facegen_training.evaluation.identification import (
    OTHER,
    OWN,
    SIZE,
    SIZES,
    apart,
    gallery,
    identify,
    placed_at,
    trained_on,
)
from facegen_training.evaluation.identification_report import (
    PICTURE,
    RESULT,
    cmc_plot,
    section,
    summary,
)

PEOPLE = 24
FOLDS = {f"person_{n:02d}": n % 2 for n in range(20)}
"""The last four are trained on in every fold."""


@pytest.fixture(scope="module", autouse=True)
def _few_pilots() -> Iterator[None]:
    """Tune on few decoys: seconds instead of minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoys, "PILOTS", 80)
        patch.setattr(decoys, "TURNS", 3)
        yield


@pytest.fixture(scope="module")
def true() -> dict[str, Mesh]:
    return people(PEOPLE)


@pytest.fixture(scope="module")
def space(true: dict[str, Mesh]) -> FaceSpace:
    return fit_space(trained_on(true, FOLDS, 0), FOLDS)


@pytest.fixture(scope="module")
def found(true: dict[str, Mesh]) -> dict[str, object]:
    mean = Mesh(np.mean([m.vertices for m in true.values()], axis=0), face(0).triangles)
    predicted = {
        "good": {p: nearer_the_mean(true[p], mean, 0.7) for p in FOLDS},
        "mean-face": dict.fromkeys(FOLDS, mean),
        "size alone": {p: nearer_the_mean(mean, mean, 1) for p in FOLDS},
    }
    return identify(predicted, true, FOLDS, decoys=300, seed=0)


def test_a_fold_does_not_train_on_its_own_people(true: dict[str, Mesh]) -> None:
    known = trained_on(true, FOLDS, 1)
    assert "person_01" not in known
    assert {"person_00", "person_23"} <= known.keys()


def test_too_few_people_are_refused(true: dict[str, Mesh]) -> None:
    with pytest.raises(UserError, match="too few"):
        fit_space(dict(list(true.items())[:5]), FOLDS)


def test_scores_are_found_again_with_a_third_of_the_cells_unknown() -> None:
    random = np.random.default_rng(0)
    components = np.linalg.qr(random.normal(size=(300, 4)))[0].T.astype(np.float32)
    scores = random.normal(0, 10, (5, 4)).astype(np.float32)
    centred = scores @ components
    centred[:, :100] = np.nan
    variance = np.full(4, 100, dtype=np.float32)
    np.testing.assert_allclose(projected(centred, components, variance, 1e-3), scores, atol=0.01)


def test_decoys_vary_as_people_do_and_are_the_same_again(space: FaceSpace) -> None:
    maker = decoy_maker(space)
    made = maker.make(200, 5)
    np.testing.assert_array_equal(made[:50], maker.make(200, 5)[:50])
    assert not np.allclose(made[0], maker.make(1, 6)[0], equal_nan=True)
    use = space.compared
    theirs, ours = space.unseen.laid[:, use], made[:, use]
    assert np.nanstd(ours) / np.nanstd(theirs) == pytest.approx(1, abs=0.25)
    difference = detail_energy(space, made) - detail_energy(space, space.unseen.laid)
    assert np.abs(difference[:-1]).max() < 0.35
    nearest = [np.nanmean(np.abs(space.unseen.laid - one), axis=1).min() for one in made[:50]]
    assert min(nearest) > 0.3, "a decoy is nobody"


def test_classifiers_see_a_planted_difference_and_none_where_there_is_none(
    space: FaceSpace,
) -> None:
    made = decoy_maker(space).make(240, 1)
    alike = [lot(space, made[n : n + 20], made[n + 20 : n + 80]) for n in (0, 80, 160)]
    same = told_apart(alike)
    assert max(same.values()) < 0.7
    rough = made.copy()
    rough += np.random.default_rng(0).normal(0, 0.5, made.shape).astype(np.float32)
    told = told_apart([lot(space, made[n : n + 20], rough[n : n + 60]) for n in (0, 80, 160)])
    assert told["logistic on detail"] > 0.9


def test_balanced_accuracy_weighs_both_kinds_alike() -> None:
    truth = np.array([True] + [False] * 9)
    assert balanced_accuracy(truth, np.zeros(10, dtype=bool)) == 0.5
    assert balanced_accuracy(truth, truth) == 1.0


def test_a_lot_shows_no_cell_that_is_not_compared(space: FaceSpace) -> None:
    one: Lot = lot(space, space.unseen.laid[:3], space.unseen.laid[3:6])
    outside = np.ones(space.cells.size, dtype=bool)
    outside[np.flatnonzero(space.cells)[space.compared]] = False
    assert not one.shape[:, outside].any()
    assert one.true.tolist() == [True] * 3 + [False] * 3


def test_ranks_share_the_middle_where_scores_are_equal() -> None:
    scores = np.array([[0.9, 0.5, 0.5, 0.1], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(placed_at(scores, np.array([1, 3])), [2.5, 2.5])
    np.testing.assert_array_equal(placed_at(scores, np.array([0, 0])), [1.0, 2.5])


def test_gallery_holds_everybody_and_the_decoys(true: dict[str, Mesh]) -> None:
    there = gallery(true, FOLDS, 0, decoys=40, seed=3)
    assert there.names == tuple(true)
    assert len(there.laid) == PEOPLE + 40
    assert np.isfinite(there.laid[:, there.space.compared]).mean() > 0.9
    away = apart(there.space, there.space.mean[None], there.sizes)[0]
    assert SIZES[away.argmin()] == pytest.approx(1, abs=0.01)
    assert min(away[0], away[-1]) > 1


def test_good_predictions_are_met_early_and_controls_by_chance(found: dict[str, object]) -> None:
    figures = summary(found)
    assert set(figures) == {"good", "mean-face", "size alone"}
    assert figures["good"]["people"] == len(FOLDS)
    assert figures["good"]["median_percentile"][0] < 2
    assert 25 < figures["good"]["other_median_percentile"][0] < 75
    assert figures["good"]["gain"][0] > 30
    assert figures["mean-face"]["top_1_percent"][0] < 25
    assert figures["mean-face"]["median_percentile"][0] > 15


def test_result_is_json_with_a_rank_for_each_person(found: dict[str, object]) -> None:
    data = json.loads(json.dumps(found))
    assert data["decoys"] == 300
    for kind in (OWN, SIZE, OTHER):
        rows = data["methods"]["good"][kind]
        assert rows.keys() == FOLDS.keys()
        assert all(1 <= row["rank"] <= row["of"] == 300 + PEOPLE for row in rows.values())
    assert set(data["told_apart"]) >= {"logistic", "nearest neighbours"}


def test_section_and_picture_are_made_from_the_file(
    found: dict[str, object], tmp_path: Path
) -> None:
    assert section(tmp_path) == []
    (tmp_path / RESULT).write_text(json.dumps(found), encoding="utf-8")
    cmc_plot(found, tmp_path / PICTURE)
    text = "\n\n".join(section(tmp_path))
    assert "324 faces" in text
    assert "| good | 20 |" in text
    assert "balanced accuracy" in text
    assert PICTURE in text
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")
