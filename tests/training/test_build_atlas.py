"""Averages of warped copies of the shipped mean head, on a coarse grid."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from facegen_inference.atlas import load_atlas
from facegen_inference.deformation import LEVELS_MM
from facegen_inference.demo_head import load_head_model
from facegen_inference.errors import UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.surface import isosurface
from facegen_inference.volume import Grid, resample
from facegen_training.atlas.build_atlas import (
    build_atlas,
    finished,
    landmarks_on,
    write_arrays,
)
from facegen_training.atlas.mark_again import mark_again
from facegen_training.atlas.mean_head import HeadFields, group_mean, inverse, person, pulled_back
from facegen_training.cohort.dataset import Dataset, Prepared, as_stored

SPEC = PreprocessSpec(
    shape=(71, 71, 48), spacing_mm=4.0, origin_mm=(-94.0, -159.0, -151.0), clip_mm=40.0
)
TOP_MM = 100.0
"""The copies are scanned up to here."""
COPIES = 4
WAVES = PreprocessSpec(shape=(36, 36, 24), spacing_mm=8.0, origin_mm=(-92.0, -157.0, -149.0)).grid

Array = NDArray[np.float32]


def _height() -> Array:
    z = SPEC.origin_mm[2] + SPEC.spacing_mm * np.arange(SPEC.shape[0], dtype=np.float32)
    return np.broadcast_to(z[:, None, None], SPEC.shape)


def _waves(random: np.random.Generator) -> Array:
    """Return a smooth displacement, (k, j, i, 3) mm, of 4 mm on average along each axis."""
    noise = [gaussian_filter(random.standard_normal(WAVES.shape), 4.5) for _ in range(3)]
    return np.stack([4 * n / np.abs(n).mean() for n in noise], axis=-1).astype(np.float32)


@pytest.fixture(scope="module")
def truth() -> HeadFields:
    head = load_head_model()
    fields = (head.bone, head.skin)
    bone, skin = (resample(a, head.grid.patient_from_voxel, SPEC.grid, 30.0) for a in fields)
    return HeadFields(bone, skin, np.ones(SPEC.shape, dtype=np.float32))


@pytest.fixture(scope="module")
def copies(truth: HeadFields) -> Dataset:
    """Pairs warped this way and the opposite way, so that the truth is in their middle."""
    random = np.random.default_rng(7)
    people, stored = [], []
    seen = (_height() <= TOP_MM).astype(np.float32)
    for number in range(COPIES // 2):
        waves = _waves(random)
        for name, warp in (("there", waves), ("back", -waves)):
            bone, skin = pulled_back([truth.bone, truth.skin], warp, WAVES, SPEC.grid)
            bone = np.where(seen > 0, np.clip(bone, -40, 40), 40)
            fields = np.stack([bone, seen, np.clip(skin, -40, 40), seen]).astype(np.float32)
            stored.append(as_stored(fields))
            people.append(Prepared(f"{name}_{number}", "synthetic", "train", "", "", "given", 0.0))
    return Dataset(SPEC, tuple(people), tuple(stored), "")


@pytest.fixture(scope="module")
def mean(copies: Dataset) -> HeadFields:
    return group_mean(copies, list(range(COPIES)), LEVELS_MM[:1])


def _off(bone: Array, truth: HeadFields) -> float:
    """Return how far a bone's surface lies from the true one below the cut, mm."""
    near = (np.abs(truth.bone) < 3) & (_height() < TOP_MM - 10) & (_height() > -110)
    return float(np.abs(np.clip(bone, -8, 8) - np.clip(truth.bone, -8, 8))[near].mean())


def test_the_mean_lies_nearer_to_the_middle_than_any_copy(
    truth: HeadFields, copies: Dataset, mean: HeadFields
) -> None:
    single = [_off(person(copies, row).bone, truth) for row in range(COPIES)]
    assert _off(mean.bone, truth) < 0.6 * min(single)


def test_the_mean_is_symmetric(mean: HeadFields) -> None:
    for values in (mean.bone, mean.skin, mean.people):
        np.testing.assert_array_equal(values, values[:, :, ::-1])


def test_an_inverse_displacement_leads_back(truth: HeadFields) -> None:
    waves = _waves(np.random.default_rng(3))
    there = pulled_back([truth.bone], waves, WAVES, SPEC.grid)
    (back,) = pulled_back(there, inverse(waves, WAVES), WAVES, SPEC.grid)
    assert _off(back, truth) < 0.5 * _off(there[0], truth)


def test_left_stays_left(truth: HeadFields) -> None:
    shift = np.zeros((*SPEC.shape, 3), dtype=np.float32)
    shift[..., 0] = 8.0  # template p lies at p + 8 mm to the left
    (moved,) = pulled_back([truth.bone], shift, SPEC.grid, SPEC.grid)
    np.testing.assert_allclose(moved[:, :, :-2], truth.bone[:, :, 2:], atol=1e-4)


def test_the_vault_is_closed_and_landmarks_lie_on_bone(
    truth: HeadFields, copies: Dataset, mean: HeadFields
) -> None:
    open_top = isosurface(mean.skin, SPEC.grid.patient_from_voxel, 0.0)
    atlas, demo = finished(copies, list(range(COPIES)), mean)
    shape = demo["bone"].shape
    grid = Grid((shape[0], shape[1], shape[2]), demo["frame_from_voxel"])
    for values, true in ((demo["skin"], truth.skin), (demo["bone"], truth.bone)):
        surface = isosurface(values.astype(np.float32), grid.patient_from_voxel, 0.0)
        assert _rim(surface.triangles, surface.vertices) == 0
        vertex = isosurface(true, SPEC.grid.patient_from_voxel, 0.0).vertices[:, 2].max()
        assert abs(surface.vertices[:, 2].max() - vertex) < 6
    assert _rim(open_top.triangles, open_top.vertices) > 0
    above = np.flatnonzero((_height()[:, 0, 0] > TOP_MM) & (_height()[:, 0, 0] < 110))
    column = demo["bone"][above[0] :, 41, 24].astype(np.float32)
    assert np.sum(np.diff(np.sign(column)) != 0) == 2, "one plate of bone over the braincase"

    spots = atlas["landmark_positions"]
    values = map_coordinates(
        atlas["bone"].astype(np.float32), grid.voxel_points(spots).T, order=1
    )  # fmt: skip
    assert np.abs(values).max() < 0.6 * SPEC.spacing_mm
    shipped = load_atlas().landmarks
    away = [np.linalg.norm(p - shipped[str(c)]) for c, p in zip(
        atlas["landmark_codes"], spots, strict=True)]  # fmt: skip
    assert set(shipped) == {str(c) for c in atlas["landmark_codes"]}
    assert np.median(away) < 5


def _rim(triangles: NDArray[np.int32], vertices: NDArray[np.float64]) -> int:
    """Return the number of open edges above the forehead."""
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    )
    unique, times = np.unique(edges, axis=0, return_counts=True)
    return int((vertices[unique[times == 1], 2] > 40).all(axis=1).sum())


def test_landmarks_of_the_shipped_skull_are_found_again() -> None:
    atlas = load_atlas()
    found = landmarks_on(atlas.bone, atlas.grid)
    away = {c: float(np.linalg.norm(found[c] - p)) for c, p in atlas.landmarks.items()}
    assert found.keys() == atlas.landmarks.keys()
    assert max(away.values()) < 0.01, away
    spots = atlas.grid.voxel_points(np.array(list(found.values()))).T
    assert np.abs(map_coordinates(atlas.bone, spots, order=1)).max() < 1.2
    for code in found:
        if code.endswith("-L"):
            assert found[code][0] > 0
            np.testing.assert_array_equal(found[code] * [-1, 1, 1], found[code[:-1] + "R"])


def test_marking_again_changes_landmarks_only(tmp_path: Path) -> None:
    source = files("facegen_resources") / "atlas.npz"
    with as_file(source) as path, np.load(path) as data:
        shipped = {name: data[name] for name in data.files}
    moved = shipped["landmark_positions"] + 5.0
    copy = write_arrays(tmp_path / "atlas.npz", {**shipped, "landmark_positions": moved})
    distances = mark_again(copy)
    assert min(distances.values()) > 3
    with np.load(copy) as data:
        assert set(data.files) == set(shipped)
        for name, values in shipped.items():
            assert data[name].dtype == values.dtype
            np.testing.assert_array_equal(data[name], values)


def test_few_people_are_not_averaged(copies: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="4 people are too few"):
        build_atlas(copies, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_grid_that_ends_inside_the_head_is_refused(people: Dataset, tmp_path: Path) -> None:
    many = Dataset(people.spec, people.people * 5, people.stored * 5, "")
    with pytest.raises(UserError, match="ends inside the head"):
        build_atlas(many, tmp_path / "out")
