"""Soft tissue: published means and standard deviations at the landmarks, never bare bone."""

from __future__ import annotations

import numpy as np
import pytest

from facegen_inference.demo_head import load_head_model
from facegen_training.synthesis.depth_model import (
    LEAST_COVER_MM,
    last_crossing,
    load_tissue_model,
)
from facegen_training.synthesis.person import (
    Person,
    distances_at,
    draw_person,
    person_fields,
    tissue_depths,
)
from facegen_training.synthesis.tissue_variation import draw_tissue

PEOPLE = 30


@pytest.fixture(scope="module")
def people() -> list[Person]:
    return [draw_person(1, number) for number in range(PEOPLE)]


def test_depths_vary_as_published(people: list[Person]) -> None:
    """Thirty heads know an SD to 13 %, and share the error of thirty build factors."""
    points = load_tissue_model().points
    assert len(points) >= 30
    depths = np.array([[tissue_depths(p)[q.code] for q in points] for p in people])
    assert np.isfinite(depths).all()
    sd = np.array([q.sd_mm for q in points])
    mean = np.array([q.mean_mm for q in points])
    ratio = depths.std(axis=0, ddof=1) / sd
    assert 0.8 < np.median(ratio) < 1.2, ratio
    assert (np.abs(ratio - 1) < 0.2).mean() > 0.6, ratio
    assert ratio.min() > 0.55
    assert ratio.max() < 1.5
    off = (depths.mean(axis=0) - mean) / (sd / np.sqrt(PEOPLE))
    assert np.abs(np.median(off)) < 2.0
    assert (np.abs(off) < 3.5).all()


def test_depths_follow_the_build(people: list[Person]) -> None:
    depths = np.array([list(tissue_depths(p).values()) for p in people])
    build = [p.tissue.build for p in people]
    related = [np.corrcoef(build, column)[0, 1] for column in depths.T]
    assert 0.5 < np.median(related) < 0.9


def test_skin_is_never_inside_bone(people: list[Person]) -> None:
    for person in people[:3]:
        fields = person_fields(person, 3.0)
        solid = fields.bone < 0
        assert solid.sum() > 10_000
        assert fields.skin[solid].max() <= -LEAST_COVER_MM
        assert (fields.skin < 0).sum() > 2 * solid.sum()


def test_the_same_person_again_and_another() -> None:
    model = load_tissue_model()
    first, again, other = (draw_tissue(model, *key) for key in ((3, 4), (3, 4), (3, 5)))
    assert np.array_equal(first.push, again.push)
    assert first.build == again.build != other.build


def test_no_skin_within_reach_is_said() -> None:
    assert np.isnan(last_crossing(np.full(10, -1.0)))
    assert np.isnan(last_crossing(np.full(10, 1.0)))
    assert last_crossing(np.array([-1.0, 1.0, -1.0, -0.5, 0.5])) == pytest.approx(0.25 * 3.5)


def test_a_missing_jaw_leaves_the_face_and_the_skull() -> None:
    number = next(n for n in range(40) if not draw_person(3, n).mandible)
    person = draw_person(3, number)
    assert set(range(14, 28)) <= set(person.lost)
    marks = person.landmarks
    below = np.array([marks["pg"], marks["go-L"], marks["go-R"], marks["id"]]) * [1, 0.97, 0.97]
    above = np.array([marks["zy-L"], marks["g"], marks["ss"], marks["po-R"]])
    assert (distances_at(person, below)[1] > 3).all()
    assert (np.abs(distances_at(person, above)[1]) < 1.5).all()
    assert (distances_at(person, below)[0] < 0).all()
    assert load_head_model().teeth
