"""Surfaces: in the right place, facing outward, whatever the grid's handedness."""

from __future__ import annotations

import numpy as np
import pytest

from facegen_inference import surface
from facegen_inference.bone_distance import head_grid
from facegen_inference.mesh import Mesh

CENTRE = np.array([52.3, -20.9, 31.4])
RADIUS = 15.0


def enclosed_mm3(mesh: Mesh) -> float:
    """Return the signed volume: positive when triangles face outward."""
    a, b, c = (mesh.vertices[mesh.triangles[:, n]] for n in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def ball(matrix: np.ndarray, centre: np.ndarray = CENTRE, radius: float = RADIUS) -> np.ndarray:
    """Return a ball's signed distance on a grid that covers it, (k, j, i) float32."""
    index = np.stack(np.meshgrid(*[np.arange(48.0)] * 3, indexing="ij"), axis=-1)
    points = index @ matrix[:3, :3].T + matrix[:3, 3]
    return (np.linalg.norm(points - centre, axis=-1) - radius).astype(np.float32)


def grid_matrix(axes: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return a matrix with the given (x, y, z) columns for k, j, i, centred on the ball."""
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing
    matrix[:3, 3] = CENTRE - matrix[:3, :3] @ np.full(3, 23.5)
    return matrix


AXES = {
    "axial": np.eye(3)[:, ::-1],
    "right-handed": np.eye(3),
    "mirrored": np.diag([1.0, 1.0, -1.0]),
    "oblique": np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0],
}


@pytest.mark.parametrize("name", AXES)
def test_surface_is_in_place_and_faces_outward(name: str) -> None:
    matrix = grid_matrix(AXES[name], (1.0, 0.8, 0.9))
    mesh = surface.isosurface(ball(matrix), matrix, 0.0)
    gap = np.linalg.norm(mesh.vertices - CENTRE, axis=1) - RADIUS
    assert np.abs(gap).max() < 0.05
    assert enclosed_mm3(mesh) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)
    outward = np.einsum("ij,ij->i", mesh.normals(), mesh.vertices - CENTRE)
    assert outward.min() > 0


def test_level_moves_the_surface() -> None:
    matrix = grid_matrix(AXES["axial"], (1.0, 1.0, 1.0))
    mesh = surface.isosurface(ball(matrix), matrix, 2.5)
    assert np.linalg.norm(mesh.vertices - CENTRE, axis=1).mean() == pytest.approx(17.5, abs=0.05)


def test_no_crossing_gives_an_empty_mesh_that_every_step_takes() -> None:
    mesh = surface.isosurface(np.ones((5, 5, 5), np.float32), np.eye(4), 0.0)
    assert len(mesh.triangles) == 0
    assert len(surface.smooth(mesh, 5).triangles) == 0
    assert len(surface.largest_piece(mesh).triangles) == 0
    assert len(surface.reduce(mesh, 10).triangles) == 0


def test_smoothing_takes_noise_away_and_not_size() -> None:
    matrix = grid_matrix(AXES["axial"], (1.0, 1.0, 1.0))
    mesh = surface.isosurface(ball(matrix), matrix, 0.0)
    noise = np.random.default_rng(0).normal(scale=0.3, size=mesh.vertices.shape)
    smooth = surface.smooth(Mesh(mesh.vertices + noise, mesh.triangles), 20)
    radius = np.linalg.norm(smooth.vertices - CENTRE, axis=1)
    assert radius.std() < 0.15
    assert radius.mean() == pytest.approx(RADIUS, abs=0.1)


def test_reducing_keeps_shape_and_side() -> None:
    matrix = grid_matrix(AXES["mirrored"], (1.0, 1.0, 1.0))
    full = surface.isosurface(ball(matrix), matrix, 0.0)
    light = surface.reduce(full, 800)
    assert 700 < len(light.triangles) <= 810
    assert enclosed_mm3(light) == pytest.approx(enclosed_mm3(full), rel=0.03)


def test_largest_piece_leaves_the_small_one() -> None:
    matrix = grid_matrix(AXES["axial"], (1.0, 1.0, 1.0))
    small = ball(matrix, CENTRE + np.array([0.0, 0.0, 20.0]), 3.0)
    both = surface.isosurface(np.minimum(ball(matrix, radius=12.0), small), matrix, 0.0)
    one = surface.largest_piece(both)
    assert len(one.triangles) < len(both.triangles)
    assert np.linalg.norm(one.vertices - CENTRE, axis=1).max() < 12.1


@pytest.mark.parametrize("inside_out", [False, True])
def test_filling_a_surface_gives_back_its_volume(inside_out: bool) -> None:
    matrix = grid_matrix(AXES["axial"], (1.0, 1.0, 1.0))
    mesh = surface.isosurface(ball(matrix), matrix, 0.0)
    if inside_out:
        mesh = Mesh(mesh.vertices, np.ascontiguousarray(mesh.triangles[:, ::-1]))
    grid = head_grid(mesh.vertices.min(axis=0), mesh.vertices.max(axis=0), 1.0)
    share = surface.filled(mesh, grid)
    assert share.shape == grid.shape
    assert share.sum() == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)
    middle = grid.patient_points(np.argwhere(share > 0.5).astype(float)).mean(axis=0)
    assert middle == pytest.approx(CENTRE, abs=0.1)
