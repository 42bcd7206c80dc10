"""Bands that hold what they promise: by person, by region, along normals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from egg_heads import head
from torch import Tensor

from facegen_inference.atlas import load_atlas
from facegen_inference.bands import FACTOR50, FACTOR90, Bands
from facegen_inference.card import Calibration
from facegen_inference.compare import compare
from facegen_inference.errors import UserError
from facegen_inference.face_region import REGION_NAMES, predicted_region
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmark
from facegen_inference.missing_bone import missing_bone
from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import Dataset, Prepared
from facegen_training.fitting.augment import coarse_points
from facegen_training.fitting.calibrate import (
    builds_of,
    calibrate,
    factors_of,
    pooled_quantile,
    unseen_fields,
)
from facegen_training.fitting.spread_map import coarse_grid, correct_spread, spread_ratio
from facegen_training.fitting.true_samples import (
    PersonFields,
    TrueSamples,
    skin_of,
    true_samples,
)

SPEC = PreprocessSpec(shape=(64, 52, 48), spacing_mm=4.0)
UPRIGHT = Frame(np.eye(4), "given", 0.0, 1.0)
PEOPLE = 24
BUILD_MM, LOCAL_MM, SPREAD_MM, AXIS_MM = 1.5, 1.5, 0.7, 1.2
NOSE = REGION_NAMES.index("nose")


def people(count: int, part: str, seed: int) -> Dataset:
    random = np.random.default_rng(seed)
    listed = tuple(
        Prepared(f"egg_{seed}_{n}", "synthetic", part, "0", "0", "given", 0.0) for n in range(count)
    )
    return Dataset(SPEC, listed, tuple(head(SPEC, random) for _ in listed), "0" * 64)


@dataclass
class Noisy:
    """Learner and network in one: the truth, moved by a build and by a smooth field, flatter.

    The spread it gives is too small, and in the middle of the face it misses twice as far.
    """

    data: Dataset
    blind: bool = False
    spec: PreprocessSpec = SPEC
    offset_mm: float = 0.0
    latent_size: int = 1

    def unseen(self, row: int, network: object) -> tuple[Tensor, Tensor, Tensor] | None:
        if self.blind:
            return None
        random = np.random.default_rng([11, row, len(self.data.people)])
        skin = self.data.fields(row)[2]
        coarse = torch.from_numpy(random.normal(size=(1, 1, 8, 7, 6)) * LOCAL_MM).float()
        local = torch.nn.functional.interpolate(coarse, SPEC.shape, mode="trilinear")[0, 0]
        x = SPEC.grid.patient_points(np.indices(SPEC.shape).reshape(3, -1).T.astype(float))[:, 0]
        middle = torch.from_numpy(1 + (np.abs(x) < 20).reshape(SPEC.shape)).float()
        moved = 0.7 * (skin + BUILD_MM * random.normal() + middle * local)
        return moved - skin, torch.full_like(skin, SPREAD_MM), skin.abs() < 3

    def __call__(self, skull: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        distance = skull[:, :1] - 12 - AXIS_MM * latent[0, 0]
        return 0.7 * distance, torch.full_like(distance, SPREAD_MM)


@pytest.fixture(scope="module")
def found() -> Calibration:
    known = people(PEOPLE, "validation", 1)
    learner = Noisy(known)
    # A double for learner and network.
    return calibrate(known, learner, learner)  # type: ignore[arg-type]


def coverage(data: Dataset, learner: Noisy, compared: list[Bands]) -> np.ndarray:
    """Return (bands, 4): mean over people of the shares within both bands, face and nose."""
    shares = []
    for row in range(len(data.people)):
        # A double for learner and network.
        fields = unseen_fields(data, learner, learner, row)  # type: ignore[arg-type]
        assert fields is not None
        samples = fields.samples()
        assert samples is not None
        lacking = missing_bone(data.fields(row)[0].numpy(), SPEC.grid)
        nose = samples.code == NOSE
        of_person = []
        for bands in compared:
            width = replace(bands, missing=lacking).at(samples.spread, samples.met)
            inside = [np.abs(samples.along) <= width[f"band{p}_mm"] for p in (50, 90)]
            of_person.append([*(i.mean() for i in inside), *(i[nose].mean() for i in inside)])
        shares.append(of_person)
    return np.asarray(np.mean(shares, axis=0))


def test_bands_hold_what_they_promise_on_other_people_by_region(found: Calibration) -> None:
    assert found.people == PEOPLE
    own = {one.name: one.factor90 for one in found.regions}
    assert own["nose"] > 1.15 * own["cheeks"], "it misses farther in the middle"
    others = people(16, "test", 2)
    calibrated, plain = coverage(others, Noisy(others), [Bands.of(found), Bands()])
    assert calibrated == pytest.approx([0.5, 0.9, 0.5, 0.9], abs=0.09)
    assert (plain < calibrated - 0.05).all(), "uncalibrated they promise too much"
    assert (plain[2:] < calibrated[2:] - 0.15).all(), "most of all on the nose"


def test_builds_are_quantiles_of_the_people_over_what_the_axis_does(found: Calibration) -> None:
    expected = 1.2816 * np.hypot(BUILD_MM, 0.5) / AXIS_MM
    assert found.heavy_sd == pytest.approx(expected, rel=0.45)
    assert found.thin_sd == pytest.approx(-expected, rel=0.45)
    assert builds_of([-2.0] * 6 + [0.0] * 8 + [3.0] * 6, 2.0) == (-1.0, 1.5)
    assert builds_of([1.0, -1.0], 2.0) == (-1.2816, 1.2816), "two people say nothing"
    assert builds_of([1.0] * 20, 0.0) == (-1.2816, 1.2816), "an axis that does nothing"


def test_no_one_unseen_is_said() -> None:
    known = people(2, "train", 1)
    blind = Noisy(known, blind=True)
    with pytest.raises(UserError, match="seen everyone"):
        calibrate(known, blind, blind)  # type: ignore[arg-type]  # a double for learner and network


def test_a_pooled_quantile_covers_new_people_and_people_weigh_the_same() -> None:
    random = np.random.default_rng(0)

    def person() -> np.ndarray:
        scale = np.exp(0.4 * random.normal())
        return np.abs(scale * random.normal(size=random.integers(20, 200)))

    for level in (0.5, 0.9):
        shares = []
        for _ in range(150):
            limit = pooled_quantile([person() for _ in range(30)], level)
            shares.append((person() <= limit).mean())
        assert level - 0.02 < np.mean(shares) < level + 0.05
    big, small = np.full(10_000, 1.0), np.full(10, 3.0)
    assert pooled_quantile([big, small, small], 0.5) == 3.0
    few = [np.linspace(0, 1, 1001)]
    assert pooled_quantile(few, 0.9) == pytest.approx(0.95, abs=0.01), "cut midway to all"


def test_factors_below_one_are_given_where_the_spread_was_too_large() -> None:
    random = np.random.default_rng(3)
    needed = [0.5 * np.abs(random.normal(size=(1, 400))) / [[FACTOR50], [FACTOR90]]] * 60
    half, most = factors_of(needed)
    assert half == pytest.approx(0.5, rel=0.1)
    assert most == pytest.approx(0.5, rel=0.1)


def test_the_measure_is_that_of_compare() -> None:
    atlas = load_atlas()
    true = skin_of(atlas.skin, atlas.grid)
    moved = (atlas.skin - 0.4 * atlas.skin_sd + 1.0).astype(np.float32)
    face = skin_of(moved, atlas.grid)
    face = face.kept(predicted_region(face.vertices, atlas.landmarks))
    spread = (1.0 + 0.02 * np.abs(face.vertices[:, 0])).astype(np.float32)
    face.vertex_data.update(Bands().at(spread, face.vertices, atlas.landmarks))
    points = {code: Landmark(code, xyz) for code, xyz in atlas.landmarks.items()}
    wanted = compare(face, true, UPRIGHT, points)
    found = true_samples(face, true, atlas.landmarks)
    assert found.along.mean() == pytest.approx(wanted.along_normals.signed_mean, abs=0.02)
    assert np.abs(found.along).mean() == pytest.approx(wanted.along_normals.mean, abs=0.02)
    for percent, width in (("50", FACTOR50), ("90", FACTOR90)):
        inside = 100 * (np.abs(found.along) <= width * found.spread).mean()
        assert inside == pytest.approx(wanted.band_coverage[percent], abs=1.0)
        nose = found.code == NOSE
        there = 100 * (np.abs(found.along) <= width * found.spread)[nose].mean()
        assert there == pytest.approx(wanted.region_coverage["nose"][percent], abs=3.0)


def test_a_field_flatter_than_a_distance_is_measured_along_normals() -> None:
    skin = people(1, "train", 4).fields(0)[2].numpy()
    valid = np.ones(SPEC.shape, np.float32)
    flat = (0.6 * (skin - 3.0)).astype(np.float32)
    found = PersonFields(flat, valid, skin, valid, SPEC.grid).samples()
    assert found is not None
    assert np.median(found.along) == pytest.approx(3.0, abs=0.2)
    unknown = PersonFields(flat, valid, skin, 0 * valid, SPEC.grid)
    assert unknown.samples() is None, "what is not known is not measured"


def test_blocks_are_brought_to_the_input_grid() -> None:
    data = people(1, "validation", 5)

    class Blocks(Noisy):
        def unseen(self, row: int, network: object) -> tuple[Tensor, Tensor, Tensor]:
            miss = torch.full([n // 2 for n in SPEC.shape], 1.0)
            return miss, miss, miss > 0

    blocks = Blocks(data)
    # A double for learner and network.
    fields = unseen_fields(data, blocks, blocks, 0)  # type: ignore[arg-type]
    assert fields is not None
    assert fields.distance.shape == SPEC.shape
    near = np.abs(fields.skin) < 6
    assert np.median((fields.distance - fields.skin)[near]) == pytest.approx(1.0, abs=0.15)


def test_the_spread_is_raised_where_people_miss_farther() -> None:
    grid = coarse_grid(SPEC.grid)
    assert grid.shape == tuple(n // 2 for n in SPEC.shape)
    assert grid.patient_points(np.zeros((1, 3)))[0] == pytest.approx(
        coarse_points(SPEC)[0, 0, 0].numpy()
    )
    random = np.random.default_rng(0)
    missed = []
    for _ in range(30):
        met = random.uniform([0, -110, -80], [60, -70, 60], (4000, 3))
        sd = np.where(met[:, 0] < 20, 4.0, 1.0)
        along = (sd * random.normal(size=4000)).astype(np.float32)
        missed.append(TrueSamples(along, np.full(4000, 2, np.float32), np.ones(4000, int), met))
    ratio = spread_ratio(missed, grid)

    def at(*place: float) -> float:
        return float(ratio[tuple(np.round(grid.voxel_points(np.array([place]))[0]).astype(int))])

    assert [at(0, -90, 0), at(-4, -90, 0)] == pytest.approx([2.0, 2.0], rel=0.1)
    assert at(50, -90, 0) == pytest.approx(0.5, rel=0.1)
    assert at(-50, -90, 0) == pytest.approx(0.5, rel=0.1), "mirrored too"
    assert (spread_ratio([], grid) == 1).all()


def test_a_networks_spread_field_is_corrected_in_place() -> None:
    data = people(5, "validation", 6)
    learner = Noisy(data)
    # A double for learner and network.
    correct_spread(data, learner, learner)  # type: ignore[arg-type]
    assert not hasattr(learner, "spread_field"), "a network without such a field is left alone"
    field = torch.full([int(np.prod(SPEC.shape)) // 8], 2.0, dtype=torch.float16)
    learner.spread_field = field  # type: ignore[attr-defined]  # a double for learner and network
    # A double for learner and network.
    correct_spread(data, learner, learner)  # type: ignore[arg-type]
    # A double for learner and network.
    found = [unseen_fields(data, learner, learner, row) for row in range(5)]  # type: ignore[arg-type]
    missed = [samples for one in found if one is not None and (samples := one.samples())]
    assert len(missed) == 5
    ratio = spread_ratio(missed, coarse_grid(SPEC.grid))
    assert ratio.max() > 1.5
    assert field.numpy().reshape(ratio.shape) == pytest.approx(2 * ratio, rel=2e-3)
