"""What counts as bone: levels adapt to the scan; contrast, cradle and streaks are left out."""

from __future__ import annotations

import numpy as np
import pytest

from facegen_inference.bone import (
    LEVEL_HU,
    BoneLevels,
    bone_levels,
    bone_voxels,
    metal_slices,
    opened,
)

ONE = np.array([1.0, 1.0, 1.0])


def block(seed: int = 0, **materials: tuple[float, float, int]) -> np.ndarray:
    """Return voxels of materials: name=(mean HU, SD, count), in air, (k, j, i) int16."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(mean, sd, count) for mean, sd, count in materials.values()]
    values = np.concatenate(parts)
    air = np.full(64**3 - len(values), -1000.0)
    return np.concatenate([values, air]).reshape(64, 64, 64).astype(np.int16)


HEAD = {"tissue": (45, 30, 90_000), "bone": (900, 250, 20_000)}


def test_a_clinical_scan_gets_the_usual_level() -> None:
    assert bone_levels(block(**HEAD), ONE).level == LEVEL_HU


def test_coarse_voxels_get_a_lower_level() -> None:
    coarse = bone_levels(block(**HEAD), np.array([3.0, 4.6, 4.6])).level
    middle = bone_levels(block(**HEAD), np.array([3.5, 3.5, 3.5])).level
    assert 150 <= coarse < middle < LEVEL_HU


def test_a_cone_beam_scan_with_shifted_tissue_gets_a_shifted_level() -> None:
    shifted = {"tissue": (-255, 60, 90_000), "bone": (600, 250, 20_000)}
    assert bone_levels(block(**shifted), ONE).level == pytest.approx(LEVEL_HU - 300, abs=40)


def test_the_cradle_of_a_dry_skull_lies_below_the_sure_level() -> None:
    dry = {"plastic": (720, 30, 20_000), "cradle": (310, 30, 8_000)}
    levels = bone_levels(block(**dry), ONE)
    assert 400 < levels.sure < 660


def test_a_dry_skull_alone_has_no_cradle_level() -> None:
    levels = bone_levels(block(bone=(900, 350, 30_000)), ONE)
    assert levels.level == LEVEL_HU
    assert levels.sure == LEVEL_HU + 150


def test_contrast_is_left_out_and_thin_bone_is_not() -> None:
    array = np.full((40, 40, 40), 40, np.int16)
    array[5:35, 5:8, 5:35] = 1000
    array[5:35, 8:10, 5:35] = 300  # partial volume on the bone
    array[5:35, 25:31, 10:16] = 330  # a vessel full of contrast
    found = bone_voxels(array, ONE, BoneLevels(250, 400, 4.0))
    assert found[20, 5:10, 20].all()
    assert not found[:, 25:31].any()


def test_metal_marks_its_slices_also_when_the_scale_ends_early() -> None:
    array = np.full((30, 50, 50), 40, np.int16)
    array[10:13, 20:30, 20:32] = 3000
    assert np.flatnonzero(metal_slices(array, ONE)).tolist() == list(range(8, 15))
    array[array == 3000] = 2000
    assert not metal_slices(np.full((30, 50, 50), 40, np.int16), ONE).any()
    assert np.flatnonzero(metal_slices(array, ONE)).tolist() == list(range(8, 15))


def test_opening_takes_rays_and_leaves_hollow_bone() -> None:
    bone = np.zeros((3, 60, 60), bool)
    bone[1, 10:40, 10:26] = True
    bone[1, 12:38, 12:24] = False  # a hollow jaw with walls of 2 mm
    bone[1, 50, 5:55] = True  # a ray
    bone[2, 50, 5:55] = True  # the same in a slice without metal
    slices = np.array([False, True, False])
    clean = opened(bone, ONE, slices, 1.2, hollow=True)
    assert clean[1, 20, 10:12].all()
    assert not clean[1, 50].any()
    assert clean[2, 50, 5:55].all()
    assert not opened(bone, ONE, slices, 3.0, hollow=False)[1, 20, 10:12].any()
