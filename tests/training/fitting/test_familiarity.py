"""The skulls that go into a model file, fitted on made people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from egg_heads import synthesize
from scipy.ndimage import map_coordinates

from facegen_inference.demo_head import load_head_model
from facegen_inference.face import Profile
from facegen_inference.familiarity import UnfamiliarSkull, check_familiar
from facegen_inference.familiarity_file import Familiarity, read_familiarity
from facegen_inference.network import open_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import Dataset, Prepared, as_stored, read_dataset
from facegen_training.export import export_run
from facegen_training.fitting.config import Config
from facegen_training.fitting.familiarity import (
    FEWEST_PEOPLE,
    LEAST_SPREAD,
    Values,
    find_limits,
    fit_familiarity,
    youngest_of,
)
from facegen_training.fitting.fit import fit
from facegen_training.fitting.training import Aids

SPEC = PreprocessSpec(shape=(52, 42, 38), spacing_mm=5.0)
PEOPLE, VERTEX_Z = 22, 70.0


def made(number: int, scale: float = 1.0) -> np.ndarray:
    """Return the stored fields, (4, Z, Y, X), of the head that is no one's, stretched and bent."""
    points = SPEC.grid.patient_points(np.indices(SPEC.shape).reshape(3, -1).T.astype(np.float64))
    model = load_head_model()
    random = np.random.default_rng(number)
    points = points / scale / random.normal(1, 0.025, 3)
    for axis in range(3):
        length, phase = random.uniform(25, 60), random.uniform(0, 6)
        points[:, axis] += random.normal(0, 2) * np.sin(points[:, axis - 1] / length + phase)
    voxel = model.grid.voxel_points(points).T
    bone = scale * map_coordinates(model.bone, voxel, order=1, mode="nearest")
    bone = np.clip(bone.reshape(SPEC.shape), -SPEC.clip_mm, SPEC.clip_mm)
    seen = np.ones_like(bone)
    if number >= 2 and number < PEOPLE:  # most were not scanned to the vertex
        above = points[:, 2].reshape(SPEC.shape) > VERTEX_Z
        bone[above], seen[above] = SPEC.clip_mm, 0.0
    return as_stored(np.stack([bone, seen, bone, seen]))


@pytest.fixture(scope="module")
def data() -> Dataset:
    people = tuple(
        Prepared(f"made-{n}", "synthetic", "validation" if n < 3 else "train", "", "", "given", 0.0)
        for n in range(PEOPLE)
    )
    return Dataset(SPEC, people, tuple(made(n) for n in range(PEOPLE)), "0" * 64)


@pytest.fixture(scope="module")
def fitted(data: Dataset) -> Familiarity:
    found = fit_familiarity(data)
    assert found is not None
    return found


def test_the_people_themselves_are_familiar_when_left_out(fitted: Familiarity) -> None:
    counted = fitted.counted
    assert counted.people == counted.partial == fitted.people == PEOPLE
    assert counted.warned == 0  # 2 % of 22 are none
    assert counted.partial_warned <= 1
    assert counted.refused == counted.partial_refused == 0
    assert set(fitted.limits) == set(LEAST_SPREAD)
    assert fitted.youngest is None
    size = fitted.limits["size"]
    assert size.refuse_below is not None
    assert size.warn_below is not None
    assert 0.75 < size.refuse_below < size.warn_below < 0.97


def test_it_is_small_and_comes_back_as_it_was(fitted: Familiarity) -> None:
    text = fitted.to_json()
    assert len(text) < 1_000_000
    again = read_familiarity(text)
    assert again == fitted
    space = again.space()
    assert np.nanmax(np.abs(space.mean)) <= fitted.clip_mm
    assert np.abs(space.directions).max(axis=(1, 2, 3)).min() > 0.1


def test_other_people_are_familiar_and_a_child_of_the_same_shape_is_not(
    fitted: Familiarity,
) -> None:
    def fields(stored: np.ndarray) -> np.ndarray:
        return stored[:2].astype(np.float32) * np.array([0.01, 1], np.float32)[:, None, None, None]

    others = [  # scanned to the vertex, of which two people say nothing
        check_familiar(fields(made(n)), SPEC, fitted, Profile()) for n in (100, 101, 102)
    ]
    assert sum(found.warnings == () for found in others) >= 1  # and none is refused
    with pytest.raises(UnfamiliarSkull, match="child"):
        check_familiar(fields(made(100, 0.7)), SPEC, fitted, Profile())


def test_the_youngest_is_known_only_where_every_age_is(data: Dataset) -> None:
    aged = [replace(p, profile={"age": 30.0 + n}) for n, p in enumerate(data.people)]
    assert youngest_of(aged) == 30.0
    assert youngest_of([*aged, data.people[0]]) is None
    assert youngest_of([]) is None


def test_where_too_few_were_scanned_nothing_is_known(fitted: Familiarity) -> None:
    space = fitted.space()
    height = space.grid.patient_points(
        np.indices(space.grid.shape).reshape(3, -1).T.astype(np.float64)
    )[:, 2].reshape(space.grid.shape)
    assert np.isnan(space.mean[height > VERTEX_Z + 15]).all()
    assert np.isfinite(space.mean[height < VERTEX_Z - 15]).all()
    assert space.surface[:, 2].max() < VERTEX_Z + 15
    assert not space.directions[:, np.isnan(space.mean)].any()


def test_few_people_make_no_space(data: Dataset) -> None:
    few = FEWEST_PEOPLE - 1
    assert (
        fit_familiarity(replace(data, people=data.people[:few], stored=data.stored[:few])) is None
    )


def values(random: np.random.Generator, **given: float) -> Values:
    found: Values = {"size": float(random.normal(1, 0.03)), "misfit_mm": 0.8}
    return found | given  # type: ignore[return-value]  # numpy types | of masks as any


def test_limits_lie_outside_all_but_a_few_and_refusal_farther() -> None:
    random = np.random.default_rng(2)
    whole = [values(random) for _ in range(99)] + [values(random, size=1.3)]
    limits, counted = find_limits(whole, [values(random) for _ in range(100)])
    assert counted.warned + counted.refused <= 2
    assert counted.refused == 0  # the limits moved out until the odd one is only warned of
    size = limits["size"]
    assert size.refuse_above is not None
    assert size.refuse_above > 1.3
    assert limits["misfit_mm"].warn_below is None
    assert limits["misfit_mm"].refuse_below is None
    assert limits["far_percent"].warn_above is None  # nobody could be measured
    assert limits["turned_deg"].refuse_above is None


def test_many_strange_people_push_a_warning_outwards() -> None:
    random = np.random.default_rng(3)
    usual = [values(random) for _ in range(100)]
    odd = [values(random, size=1.13 + 0.001 * n) for n in range(4)]
    narrow, _ = find_limits(usual, usual)
    wide, counted = find_limits(usual[4:] + odd, usual)
    assert narrow["size"].warn_above is not None
    assert wide["size"].warn_above is not None
    assert narrow["size"].warn_above < 1.13 < wide["size"].warn_above
    assert counted.warned == 2


def test_a_model_file_holds_what_was_fitted(
    coarse_spec: PreprocessSpec, tiny: Config, run: Path, tmp_path: Path
) -> None:
    many = read_dataset(synthesize(tmp_path / "many", coarse_spec, people=27))
    one = replace(tiny, fit=replace(tiny.fit, steps=1, batch=1, tensorboard=False))
    fit(many, run, one, Aids())
    export_run(many, run, tmp_path / "many.onnx")
    held = open_model(tmp_path / "many.onnx").familiarity
    assert held is not None
    assert held == fit_familiarity(many)
    assert held.people == len(many.rows("train")) + len(many.rows("validation"))
