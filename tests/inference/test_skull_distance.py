"""The signed distance to bone: exact near the surface, right in sign, shape and units."""

from __future__ import annotations

import numpy as np
import pytest

from facegen_inference.bone_distance import CLIP_MM, head_grid, sample, signed_distance
from facegen_inference.volume import Grid


def shell(spacing: float, outer: float, inner: float) -> tuple[np.ndarray, np.ndarray]:
    """Return HU of a bone shell with partial volume, and its true signed distance, mm."""
    count = int(2 * (outer + 12) / spacing) + 1
    axis = (np.arange(count) - count / 2 + 0.37) * spacing
    k, j, i = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    radius = np.sqrt(k**2 + j**2 + i**2)
    true = np.maximum(radius - outer, inner - radius)
    hu = 40 + 860 * np.clip(0.5 - true / spacing, 0, 1)
    return hu.astype(np.float32), true


@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_distance_is_sub_voxel_near_the_surface(spacing: float) -> None:
    hu, true = shell(spacing, 36.0, 22.0)
    distance = signed_distance(hu, 470.0, spacing)
    error = distance - true
    near = np.abs(true) < 1.5 * spacing
    assert np.abs(error[near]).mean() < 0.06 * spacing
    assert abs(error[near].mean()) < 0.02 * spacing
    far = (true > 3 * spacing) & (true < CLIP_MM - 1)
    assert abs(error[far].mean()) < 0.1 * spacing
    assert np.abs(error[far]).max() < 1.0 * spacing
    assert np.array_equal(distance < 0, hu >= 470.0)


def test_distance_is_clipped() -> None:
    values = np.zeros((120, 8, 8), np.float32)
    values[2:6] = 900
    distance = signed_distance(values, 250.0, 1.0)
    assert distance.max() == CLIP_MM
    assert distance.dtype == np.float32


def test_grid_covers_the_box_with_its_margin_along_the_patient_axes() -> None:
    low, high = np.array([-70.2, -300.0, 12.0]), np.array([81.0, -99.5, 240.3])
    grid = head_grid(low, high, 1.5)
    corners = grid.corners()
    assert (corners.min(axis=0) <= low - CLIP_MM).all()
    assert (corners.max(axis=0) >= high + CLIP_MM).all()
    assert grid.spacing == pytest.approx([1.5] * 3)
    assert grid.patient_points(np.array([[1.0, 2.0, 3.0]]))[0] == pytest.approx(
        grid.patient_from_voxel[:3, 3] + [4.5, 3.0, 1.5]
    )


def test_sampling_reads_a_left_handed_oblique_source_where_it_is() -> None:
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn)) * -1
    matrix = np.eye(4)
    matrix[:3, :3] = turn * [2.0, 1.0, 1.5]
    matrix[:3, 3] = [5.0, -9.0, 3.0]
    index = np.stack(np.meshgrid(*[np.arange(20.0)] * 3, indexing="ij"), axis=-1)
    slope = np.array([1.0, -2.0, 3.0])
    source = Grid((20, 20, 20), matrix)
    values = (source.patient_points(index.reshape(-1, 3)) @ slope).reshape(20, 20, 20)
    middle = source.patient_points(np.full((1, 3), 9.5))[0]
    target = head_grid(middle + CLIP_MM - 3, middle - CLIP_MM + 3, 1.0)
    found = sample(values.astype(np.float32), matrix, target, 1e6)
    where = target.patient_points(np.argwhere(found < 1e5).astype(float))
    assert len(where) > 100
    assert found[found < 1e5] == pytest.approx(where @ slope, abs=0.05)
