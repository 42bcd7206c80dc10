from __future__ import annotations

import numpy as np
import pytest
from face_shapes import face, people

from facegen_inference.mesh import Mesh
from facegen_training.evaluation.face_alignment import (
    Target,
    _rotations,
    aligned_poses,
    moved,
)
from facegen_training.evaluation.face_map import (
    BANDS_MM,
    MapGrid,
    bands_of,
    low_passed,
    map_of,
    mean_known,
)

GRID = MapGrid()


def pose(turn_deg: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = _rotations(np.deg2rad([turn_deg]))[0]
    matrix[:3, 3] = shift
    return matrix


def test_map_holds_the_radius_of_a_cylinder_and_of_what_stands_out_to_the_left() -> None:
    mesh = face(0, detail_mm=0)
    flat = Mesh(mesh.vertices.copy(), mesh.triangles)
    from_axis = flat.vertices[:, :2] - [0, GRID.axis_y_mm]
    radius = np.where(flat.vertices[:, 0] > 10, 95.0, 80.0)
    flat.vertices[:, :2] = from_axis / np.linalg.norm(from_axis, axis=1)[:, None] * radius[
        :, None
    ] + [0, GRID.axis_y_mm]
    found = map_of(flat, GRID)
    middle_row = GRID.rows // 2
    left = found[middle_row, GRID.azimuth > 0.4]
    right = found[middle_row, GRID.azimuth < -0.4]
    assert np.nanmax(np.abs(left - 95)) < 0.1
    assert np.nanmax(np.abs(right - 80)) < 0.1
    assert np.isnan(found[0]).all(), "below the face nothing is known"


def test_outermost_surface_counts() -> None:
    near = face(0, detail_mm=0)
    far = face(0, detail_mm=0, size=1.1)
    both = Mesh(
        np.concatenate([near.vertices, far.vertices]),
        np.concatenate([near.triangles, far.triangles + len(near.vertices)]).astype(np.int32),
    )
    found, outer = map_of(both, GRID), map_of(far, GRID)
    known = np.isfinite(outer) & (outer > np.nan_to_num(map_of(near, GRID)))
    assert known.sum() > 2000
    np.testing.assert_allclose(found[known], outer[known], atol=1e-3)


def test_a_face_without_triangles_is_unknown_everywhere() -> None:
    empty = Mesh(np.empty((0, 3)), np.empty((0, 3), dtype=np.int32))
    assert np.isnan(map_of(empty, GRID)).all()


def test_moved_map_is_the_map_of_the_moved_mesh() -> None:
    motion = pose((4, -5, 3), (3, -4, 5))
    mesh = face(1, detail_mm=0)
    by_map = moved(map_of(mesh, GRID)[None], motion[None], GRID)[0]
    by_mesh = map_of(mesh.transformed(motion), GRID)
    known = np.isfinite(by_map) & np.isfinite(by_mesh)
    assert known.sum() > 0.9 * np.isfinite(by_mesh).sum()
    assert np.abs(by_map - by_mesh)[known].mean() < 0.25


def test_alignment_forgets_the_pose_a_face_came_in() -> None:
    mean = mean_known(np.stack([map_of(mesh, GRID) for mesh in people(8).values()]))
    target = Target(mean, GRID)
    mesh = face(20, detail_mm=0)
    motions = np.stack([np.eye(4), pose((6, -4, 5), (4, 5, -6)), pose((-5, 5, -6), (-5, 3, 4))])
    maps = np.stack([map_of(mesh.transformed(m), GRID) for m in motions])
    laid = moved(maps, aligned_poses(maps, target), GRID)
    apart = np.abs(maps[1:] - maps[0])[:, 5:-5, 10:-10]
    after = np.abs(laid[1:] - laid[0])[:, 5:-5, 10:-10]
    assert np.nanmean(apart) > 2.5
    assert np.nanmean(after) < 0.35 * np.nanmean(apart)
    assert np.isfinite(after).mean() > 0.7


def test_a_bump_hardly_moves_the_rest_of_the_face() -> None:
    smooth = map_of(face(3, detail_mm=0), GRID)
    target = Target(smooth, GRID)
    bump = smooth.copy()
    bump[20:30, 30:40] += 12
    (motion,) = aligned_poses(bump[None], target)
    assert np.abs(motion - np.eye(4))[:3].max() < 0.5


def test_bands_add_up_and_unknown_cells_stay_unknown() -> None:
    random = np.random.default_rng(0)
    maps = random.normal(size=(2, *GRID.shape)).astype(np.float32)
    maps[:, :, :10] = np.nan
    parts = bands_of(maps, GRID)
    assert len(parts) == len(BANDS_MM) + 1
    np.testing.assert_allclose(sum(parts), maps, atol=1e-4)
    assert np.isnan(low_passed(maps, GRID)[:, :, :10]).all()


@pytest.mark.parametrize("level", [2.0, -3.0])
def test_smoothing_keeps_a_level_up_to_the_edge(level: float) -> None:
    maps = np.full((1, *GRID.shape), level, dtype=np.float32)
    maps[:, 40:] = np.nan
    np.testing.assert_allclose(low_passed(maps, GRID)[0, :40], level, rtol=1e-4)
