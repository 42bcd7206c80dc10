"""Shapes: as smooth, as symmetric and as far apart as those of people."""

from __future__ import annotations

import numpy as np
import pytest

from facegen_inference.demo_head import load_head_model
from facegen_inference.registration import Template, refine, surface_points
from facegen_training.synthesis.head_shape import LATTICE_MM, draw_shape
from facegen_training.synthesis.person import distances_at, draw_person
from facegen_training.synthesis.random_fields import (
    Lattice,
    aligned_grid,
    grid_points,
    mostly_symmetric,
    stream,
    unit_field,
)

PINNED = -0.8250481740815421
REAL_PAIRS_MM = (1.6, 3.1)
"""Median distance of bone to bone after the best rigid fit, smallest and largest of 45 pairs of
real people (coarse public scans), measured as below."""


def test_a_field_has_unit_variance_and_the_covariance_it_claims() -> None:
    lattice = Lattice.over(load_head_model().grid, LATTICE_MM)
    length = 12.0
    fields = np.stack([unit_field(lattice, length, stream(0, n, "x")) for n in range(3)])
    assert fields.std() == pytest.approx(1.0, abs=0.04)
    for steps in (1, 3, 5):
        together = (fields[:, steps:] * fields[:, :-steps]).mean()
        wanted = np.exp(-((steps * LATTICE_MM) ** 2) / (2 * length**2))
        assert together == pytest.approx(wanted, abs=0.06)


def test_the_share_that_is_uneven_is_as_asked() -> None:
    lattice = Lattice.over(load_head_model().grid, LATTICE_MM)
    drawn = unit_field(lattice, 12.0, stream(0, 0, "x"))
    field = mostly_symmetric(drawn, lattice, 12.0, 0.1)
    odd = (field - field[:, :, ::-1]) / 2
    assert (odd**2).mean() / (field**2).mean() == pytest.approx(0.1, abs=0.03)
    assert np.std(field[:, :, field.shape[2] // 2]) == pytest.approx(1.0, abs=0.1)


def test_the_same_numbers_in_every_version() -> None:
    """A change here changes everybody: then MODEL_VERSION must be raised."""
    assert stream(1, 2, "shape").standard_normal() == pytest.approx(PINNED, abs=1e-12)
    other = {float(stream(*key).standard_normal()) for key in ((1, 3, "shape"), (1, 2, "noise"))}
    assert len({PINNED, *other}) == 3


def test_the_way_to_the_person_undoes_the_way_back() -> None:
    shape = draw_shape(load_head_model().grid, 5, 0)
    points = np.random.default_rng(0).uniform(-60, 60, (200, 3))
    there = shape.to_person(points)
    assert np.allclose(there + shape.at(there), points, atol=0.02)
    assert np.linalg.norm(there - points, axis=1).mean() > 1.0


def test_nothing_folds() -> None:
    """The map person → mean head keeps its orientation everywhere."""
    shape = draw_shape(load_head_model().grid, 5, 1)
    field, step = shape.field.astype(float), LATTICE_MM
    slopes = np.stack([np.stack(np.gradient(u, step)[::-1]) for u in field])
    jacobian = np.moveaxis(slopes, (0, 1), (-2, -1)) + np.eye(3)
    assert np.linalg.det(jacobian).min() > 0.3


def test_bones_lie_as_far_apart_as_those_of_people() -> None:
    low = load_head_model().grid.corners().min(axis=0)
    grid = aligned_grid(low, 2.5, (112, 112, 76))
    points = grid_points(grid)
    bones = []
    number = 0
    while len(bones) < 5:
        person = draw_person(1, number)
        number += 1
        if person.mandible:
            bones.append(distances_at(person, points)[1].reshape(grid.shape))
    apart = []
    for n, bone in enumerate(bones):
        template = Template.from_field(bone, grid)
        for other in bones[:n]:
            surface = surface_points(other, grid, 3000)
            fit = refine(surface, template, np.eye(4), (9, 6, 4))
            value, _ = template.sample(surface @ fit[:3, :3].T + fit[:3, 3])
            apart.append(float(np.median(np.abs(value[np.abs(value) < 12]))))
    assert REAL_PAIRS_MM[0] - 0.3 < min(apart), apart
    assert max(apart) < REAL_PAIRS_MM[1] + 0.3, apart
    assert 1.8 < np.mean(apart) < 2.6, apart
