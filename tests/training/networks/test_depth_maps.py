from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.networks.baseline_config import MapGeometry
from facegen_training.networks.depth_maps import (
    DepthMap,
    DistanceField,
    Facing,
    grid_points,
    on_map,
    rays,
)

SPEC = PreprocessSpec()
GEOMETRY = MapGeometry()
CENTRE = torch.tensor([4.0, -25.0, -10.0])


def sphere(points: Tensor, radius: float, centre: Tensor = CENTRE) -> Tensor:
    """Return the exact signed distance to a sphere, (1, 1, Z, Y, X) mm."""
    return ((points - centre).norm(dim=-1) - radius)[None, None].float()


def along_rays(radius: float, centre: Tensor = CENTRE) -> Tensor:
    """Return where the map's rays leave a sphere that holds the whole axis, mm."""
    start, direction = rays(GEOMETRY)
    to_start = start - centre
    middle = (to_start * direction).sum(dim=-1)
    return -middle + (middle**2 - (to_start**2).sum(dim=-1) + radius**2).sqrt()


@pytest.fixture(scope="module")
def points() -> Tensor:
    return grid_points(SPEC)


@pytest.fixture(scope="module")
def depth_map() -> DepthMap:
    return DepthMap(GEOMETRY, SPEC)


def test_grid_points_are_those_of_the_spec(points: Tensor) -> None:
    some = np.array([[0, 0, 0], [127, 3, 95], [60, 103, 7]])
    assert np.allclose(points[tuple(some.T)].numpy(), SPEC.grid.patient_points(some))


def test_a_ray_lies_on_its_own_pixel() -> None:
    start, direction = rays(GEOMETRY)
    places, radius = on_map(start + 70 * direction, GEOMETRY)
    rows = torch.linspace(-1, 1, GEOMETRY.rows)
    columns = torch.linspace(-1, 1, GEOMETRY.columns)
    assert (places[..., 0] - columns).abs().max() < 1e-4
    assert (places[..., 1] - rows[:, None]).abs().max() < 1e-4
    assert (radius - 70).abs().max() < 1e-3


@pytest.mark.parametrize("level", [0.0, 1.5])
def test_a_sphere_has_the_radii_it_has(points: Tensor, depth_map: DepthMap, level: float) -> None:
    radius, found = depth_map(sphere(points, 70.0), level)
    assert found.all()
    assert (radius[0, 0] - along_rays(70.0 + level)).abs().max() < 0.1


def test_nothing_found_is_said(points: Tensor, depth_map: DepthMap) -> None:
    only_right = sphere(points, 10.0, torch.tensor([-50.0, -60.0, 0.0]))
    _, found = depth_map(only_right)
    seen = found[0, 0].nonzero()
    assert 20 < len(seen) < 400
    assert (seen[:, 1] < GEOMETRY.columns // 2).all(), "the right is on the left of the picture"
    assert not depth_map(torch.full_like(only_right, 30.0))[1].any()


def test_the_outermost_of_several_surfaces_is_taken(points: Tensor, depth_map: DepthMap) -> None:
    ball, shell = sphere(points, 40.0), (sphere(points, 74.0).abs() - 4.0)
    radius, _ = depth_map(torch.minimum(ball, shell))
    assert (radius[0, 0] - along_rays(78.0)).abs().max() < 0.1


def test_a_bump_on_the_left_stands_on_the_left_and_below(
    points: Tensor, depth_map: DepthMap
) -> None:
    spot = torch.tensor([48.0, -60.0, -62.0])  # left of, before and below the axis
    bump = sphere(points, 14.0, spot)
    plain, _ = depth_map(sphere(points, 62.0))
    bumped, _ = depth_map(torch.minimum(sphere(points, 62.0), bump))
    changed = (bumped - plain)[0, 0] > 1
    row, column = changed.nonzero().float().mean(dim=0)
    place = on_map(spot, GEOMETRY)[0]
    assert column > 0.6 * GEOMETRY.columns
    assert row > 0.5 * GEOMETRY.rows
    assert abs(float(2 * column / (GEOMETRY.columns - 1) - 1 - place[0])) < 0.1
    assert abs(float(2 * row / (GEOMETRY.rows - 1) - 1 - place[1])) < 0.1
    to_field = DistanceField(GEOMETRY, points)
    before, after = (to_field(radius, radius[:, :0])[0][0, 0] for radius in (plain, bumped))
    back = (after < 0) & (before > 1)
    assert (points[back] - spot).norm(dim=-1).mean() < 14
    assert (points[back][:, 0] > 0).all()


def test_other_fields_are_read_where_rays_end(points: Tensor, depth_map: DepthMap) -> None:
    coordinate = points.permute(3, 0, 1, 2)[None].float()
    start, direction = rays(GEOMETRY)
    radius = torch.full((1, 1, GEOMETRY.rows, GEOMETRY.columns), 55.0)
    read = depth_map.along(coordinate, radius)[0].permute(1, 2, 0)
    assert (read - (start + 55 * direction)).abs().max() < 0.01


@pytest.mark.parametrize("pool", [1, 2])
def test_field_to_map_to_field_is_the_same_near_the_surface(points: Tensor, pool: int) -> None:
    stretched = points.clone()
    stretched[..., 1] = (points[..., 1] - CENTRE[1]) * 0.8 + CENTRE[1]
    true = sphere(stretched, 66.0)  # first-order distance: divided by its slope below
    slope = torch.stack(torch.gradient(true[0, 0], spacing=2.0)).norm(dim=0)
    true = true / slope
    field = torch.nn.functional.avg_pool3d(true, pool)
    radius, _ = DepthMap(GEOMETRY, SPEC, pool)(field)
    back, companions = DistanceField(GEOMETRY, points)(radius, torch.ones_like(radius))
    places, _ = on_map(points, GEOMETRY)
    near = (true[0, 0].abs() < 4) & (places.abs() < 0.97).all(dim=-1)
    miss = (back - true)[0, 0][near].abs()
    assert miss.mean() < 0.1
    assert miss.quantile(0.95) < 0.3
    assert companions.min() > 0.5
    assert companions.max() <= 1


def test_the_cosine_is_one_where_rays_meet_the_surface_squarely() -> None:
    level = torch.full((1, 1, GEOMETRY.rows, GEOMETRY.columns), 70.0)
    assert (Facing(GEOMETRY)(level) == 1).all()
    # A wall before the face, x·sin + y·cos = 60 mm away: its cosine is that of the azimuth.
    turn = torch.linspace(-110, 110, GEOMETRY.columns).deg2rad()
    wall = (60 / turn.cos()).expand(1, 1, GEOMETRY.rows, GEOMETRY.columns)
    middle = slice(24, 88)
    off = Facing(GEOMETRY)(wall)[0, 0, 40, middle] - turn.cos()[middle]
    assert off.abs().max() < 0.01
