"""A made person: what was drawn for them, and their skin, bone and teeth as signed distances."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from facegen_inference.atlas import load_atlas
from facegen_inference.demo_head import HeadModel, load_head_model
from facegen_inference.demo_teeth import teeth_distance
from facegen_inference.volume import Grid
from facegen_training.synthesis.depth_model import (
    FURTHEST_MM,
    LEAST_COVER_MM,
    STEP_MM,
    last_crossing,
    load_tissue_model,
)
from facegen_training.synthesis.head_shape import Displacement, draw_shape
from facegen_training.synthesis.random_fields import aligned_grid, grid_points, stream
from facegen_training.synthesis.tissue_variation import Tissue, draw_tissue

Array = NDArray[np.float32]
Floats = NDArray[np.float64]

NO_MANDIBLE, NO_UPPER_TEETH, NO_LOWER_TEETH, SOME_TEETH_LOST = 0.1, 0.1, 0.1, 0.5
"""Shares of people without them: our choice, so that a network meets each often."""
MOST_TEETH_LOST = 8
METAL, MOST_METAL = 0.4, 5
"""Share of people with metal crowns, and how many at most: our choice."""
FIRST_PREMOLAR = 3
"""Crowns from the midline back before metal occurs."""
ROW = 14
CROWN_STEP_MM = 1.0
RAMUS = (28.0, -9.0, -52.0, -9.0)
"""Ramus of the mean head: beyond this |x|, below this z, between these y, frame mm; read off its
sections, where the condyle has grown together with the skull base."""
_SLAB = 16


@dataclass(frozen=True)
class Person:
    """What was drawn for one person; the same for every scan of them.

    Attributes
    ----------
    seed, number
        Of the cohort, of the person.
    shape, tissue
        Displacement from the mean head, and soft tissue.
    mandible
        Whether they have one.
    lost, metal
        Positions in `HeadModel.teeth` of crowns that are missing or of metal.
    landmarks
        Code → (x, y, z) on their bone, frame mm.
    """

    seed: int
    number: int
    shape: Displacement
    tissue: Tissue
    mandible: bool
    lost: tuple[int, ...]
    metal: tuple[int, ...]
    landmarks: dict[str, tuple[float, float, float]]


@dataclass(frozen=True)
class PersonFields:
    """A person's signed distances in the frame of the mean head, mm, negative inside.

    Attributes
    ----------
    skin, bone
        (k, j, i) float32 on `grid`; distances up to the few percent by which shape stretches.
    grid
        Axis-aligned.
    crowns, metal
        (k, j, i) float32 on `crown_grid`: all teeth that are there, those of metal; None if none.
    crown_grid
        Finer and round the teeth only.
    """

    skin: Array
    bone: Array
    grid: Grid
    crowns: Array | None
    metal: Array | None
    crown_grid: Grid


def draw_person(seed: int, number: int) -> Person:
    """Draw a person: seed and number say all, whatever scan is then made of them."""
    model = load_head_model()
    shape = draw_shape(model.grid, seed, number)
    tissue = draw_tissue(load_tissue_model(), seed, number)
    random = stream(seed, number, "teeth")
    mandible = bool(random.uniform() >= NO_MANDIBLE)
    lost = _lost_teeth(random, mandible)
    metal = _metal_teeth(random, lost)
    places = load_atlas().landmarks
    moved = shape.to_person(np.array(list(places.values())))
    landmarks = {}
    for code, (x, y, z) in zip(places, moved, strict=True):
        landmarks[code] = (float(x), float(y), float(z))
    return Person(seed, number, shape, tissue, mandible, lost, metal, landmarks)


def _lost_teeth(random: np.random.RandomState, mandible: bool) -> tuple[int, ...]:
    """Return which crowns are missing; none are left where the jaw is missing."""
    count = len(load_head_model().teeth)
    rows = random.uniform(size=2) < (NO_UPPER_TEETH, NO_LOWER_TEETH)
    some = random.randint(1, MOST_TEETH_LOST + 1) if random.uniform() < SOME_TEETH_LOST else 0
    lost = set(random.permutation(count)[:some].tolist())
    if rows[0]:
        lost |= set(range(ROW))
    if rows[1] or not mandible:
        lost |= set(range(ROW, count))
    return tuple(sorted(lost))


def _metal_teeth(random: np.random.RandomState, lost: tuple[int, ...]) -> tuple[int, ...]:
    """Return which crowns are of metal: premolars and molars that are there."""
    chosen = random.permutation(len(load_head_model().teeth))
    count = random.randint(1, MOST_METAL + 1) if random.uniform() < METAL else 0
    able = [int(n) for n in chosen if n % ROW // 2 >= FIRST_PREMOLAR and n not in lost]
    return tuple(sorted(able[:count]))


def person_fields(person: Person, step_mm: float) -> PersonFields:
    """Return a person's signed distances on a grid with points `step_mm` apart."""
    model = load_head_model()
    low, high = (f(model.grid.corners(), axis=0) for f in (np.min, np.max))
    count = np.floor((high - low) / step_mm).astype(int) + 1
    grid = aligned_grid(low, step_mm, (int(count[2]), int(count[1]), int(count[0])))
    skin, bone = (np.empty(grid.shape, dtype=np.float32) for _ in range(2))
    for start in range(0, grid.shape[0], _SLAB):  # a slab at a time keeps memory small
        slab = slice(start, min(start + _SLAB, grid.shape[0]))
        index = np.indices((slab.stop - start, *grid.shape[1:])).reshape(3, -1).T.astype(np.float64)
        index[:, 0] += start
        outer, inner = distances_at(person, grid.patient_points(index))
        skin[slab], bone[slab] = (a.reshape(skin[slab].shape) for a in (outer, inner))
    crowns, metal, crown_grid = _crowns(person, model)
    return PersonFields(skin, bone, grid, crowns, metal, crown_grid)


def distances_at(person: Person, points: Floats) -> tuple[Array, Array]:
    """Return a person's signed distances to skin and to bone at (N, 3) frame points, (N,) mm."""
    model, tissue = load_head_model(), load_tissue_model().lattice.grid
    points = points + person.shape.at(points)
    at = model.grid.voxel_points(points).T
    bare, whole = _splines()
    covered = _read(whole, at, 3)
    there = covered if person.mandible else _read(bare, at, 3)
    push_at = tissue.voxel_points(points).T
    points -= np.stack([_read(a, push_at, 1) for a in person.tissue.push], axis=1)
    outer = _read(model.skin, model.grid.voxel_points(points).T, 1)
    return np.minimum(outer, covered - np.float32(LEAST_COVER_MM)), there


def tissue_depths(person: Person) -> dict[str, float]:
    """Return the soft-tissue depth at each landmark of the table, mm, measured as the table is.

    NaN where the way outward does not leave the skin within 60 mm.
    """
    along = np.arange(0.0, FURTHEST_MM, STEP_MM)
    points = load_tissue_model().points
    base = np.array([person.landmarks[p.code] for p in points])
    rays = base[:, None] + along[:, None] * np.array([p.direction for p in points])[:, None]
    skin = distances_at(person, rays.reshape(-1, 3))[0].reshape(len(points), -1)
    return {p.code: last_crossing(values) for p, values in zip(points, skin, strict=True)}


def _read(values: NDArray[np.floating], at: Floats, order: int) -> Array:
    return np.asarray(
        map_coordinates(values, at, order=order, mode="nearest", prefilter=False, output=np.float32)
    )


@cache
def _splines() -> tuple[Array, Array]:
    """Return cubic spline coefficients of the mean bone without and with its mandible."""
    model = load_head_model()
    bare, whole = (
        np.asarray(spline_filter(bone, 3, output=np.float32, mode="nearest"))
        for bone in (without_mandible(model), model.bone)
    )
    return bare, whole


def without_mandible(model: HeadModel) -> Array:
    """Return the mean bone's signed distance without its lower jaw, (k, j, i), mm.

    The jaw is what lies below the bite or in the box of the ramus; above the cut in the joint, a
    stump of the condyle stays.
    """
    places = load_atlas().landmarks
    bite = (places["pr"][2] + places["id"][2]) / 2
    side, top, front, back = RAMUS
    points = grid_points(model.grid)
    x, y, z = points.T
    body = np.maximum(z - bite, y - front / 2)
    ramus = np.maximum.reduce([side - np.abs(x), z - top, front - y, y - back])
    jaw = np.minimum(body, ramus).reshape(model.grid.shape)
    return np.asarray(np.maximum(model.bone, -jaw), dtype=np.float32)


def _crowns(person: Person, model: HeadModel) -> tuple[Array | None, Array | None, Grid]:
    """Return the distance to the crowns that are there and to those of metal, and their grid."""
    centres = np.array([(*t.centre, (t.bite + t.neck) / 2) for t in model.teeth])
    moved = person.shape.to_person(centres)
    low, high = moved.min(axis=0) - 14, moved.max(axis=0) + 14
    count = np.ceil((high - low) / CROWN_STEP_MM).astype(int) + 1
    grid = aligned_grid(low, CROWN_STEP_MM, (int(count[2]), int(count[1]), int(count[0])))
    points = grid_points(grid)
    points += person.shape.at(points)

    def distance(chosen: list[int]) -> Array | None:
        if not chosen:
            return None
        found = teeth_distance(tuple(model.teeth[n] for n in chosen), points)
        return np.asarray(found.reshape(grid.shape), dtype=np.float32)

    there = [n for n in range(len(model.teeth)) if n not in person.lost]
    return distance(there), distance(list(person.metal)), grid
