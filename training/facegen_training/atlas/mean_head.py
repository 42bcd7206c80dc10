"""The shape in the middle of a group: registered group-wise, mirrored, averaged, un-shifted.

Averaging distances of people who are only laid on each other blurs thin bone away.  So every
person is first deformed onto a common template; what then is averaged is sharp, and the mean of
the deformations carries it from the template's shape to the group's (Guimond, Meunier & Thirion
2000).  The template of the first round is one person, of the next the last round's average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from facegen_inference.deformation import LEVELS_MM, carried, deform
from facegen_inference.progress import Progress, part, silent
from facegen_inference.volume import Grid
from facegen_training.cohort.dataset import Dataset

Array = NDArray[np.float32]
Levels = tuple[tuple[float, int, float, float], ...]

ROUNDS = 2
LEAST_SHARE = 0.15
"""Share of the people who must have been scanned at a voxel for an average there."""
BONE_RANGE_MM = (-10.0, 18.0)
"""Distances to bone are clipped to this before averaging: far ones say nothing about shape."""
NEAR_MM = 8.0
_INVERSE_STEPS = 8


@dataclass(frozen=True)
class HeadFields:
    """Averages of a group, or the fields of one person, on a grid in the frame.

    Attributes
    ----------
    bone, skin
        (k, j, i) float32 signed distance, mm, negative inside.
    people
        (k, j, i) float32, how many people were scanned there; 0 or 1 for one person.
    """

    bone: Array
    skin: Array
    people: Array

    def mirrored(self) -> HeadFields:
        """Return the fields with left and right exchanged."""
        return HeadFields(*(a[:, :, ::-1] for a in (self.bone, self.skin, self.people)))


def person(data: Dataset, row: int) -> HeadFields:
    """Return a prepared person's fields."""
    bone, observed, skin, known = data.fields(row).numpy()
    return HeadFields(bone, skin, ((observed > 0.5) & (known > 0.5)).astype(np.float32))


def pulled_back(values: list[Array], field: Array, field_grid: Grid, grid: Grid) -> list[Array]:
    """Return fields of a subject as seen from the template: the values at p + u(p).

    Parameters
    ----------
    values
        (k, j, i) float32 each, on `grid`; the nearest value stands for what lies outside.
    field, field_grid
        Displacement u as `facegen_inference.deformation.deform` returns it, (x, y, z) mm.
    grid
        Where the results are wanted, too.
    """
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    there = grid.voxel_points(carried(grid.patient_points(index), field, field_grid)).T
    return [
        map_coordinates(a, there, order=1, mode="nearest").reshape(grid.shape).astype(np.float32)
        for a in values
    ]


def inverse(field: Array, grid: Grid) -> Array:
    """Return v with v(q) = −u(q + v(q)): the displacement that undoes `field`, on its own grid.

    Fixed-point iteration (Chen et al. 2008); converges where u changes by less than it moves.
    """
    back = -field
    for _ in range(_INVERSE_STEPS):
        parts = [field[..., axis] for axis in range(3)]
        back = -np.stack(pulled_back(parts, back, grid, grid), axis=-1)
    return back


def nearest_known(values: Array, known: NDArray[np.bool_]) -> Array:
    """Return symmetric values with each unknown one replaced by that of the nearest known voxel."""
    if known.all() or not known.any():
        return values
    index = distance_transform_edt(~known, return_distances=False, return_indices=True)
    found = np.asarray(values[tuple(index)])
    half = found.shape[2] // 2  # of equally near voxels, both sides must take the same
    found[:, :, -half:] = found[:, :, :half][:, :, ::-1]
    return found


def group_mean(
    data: Dataset,
    rows: list[int],
    levels: Levels = LEVELS_MM,
    progress: Progress = silent,
) -> HeadFields:
    """Return the mean shape of prepared people, exactly symmetric.

    Parameters
    ----------
    data
        Prepared people on a grid symmetric about x = 0.
    rows
        Who of them.
    levels
        Of `facegen_inference.deformation.deform`.
    progress
        Told after each person.

    Returns
    -------
    Fields whose `people` counts who was scanned where.  Where fewer than `LEAST_SHARE` of them
    were, `skin` repeats the nearest better known value and `bone` the first template.
    """
    template = first_template(data, rows, levels)
    least = LEAST_SHARE * len(rows)
    mean = None
    for number in range(ROUNDS):
        told = part(progress, number / ROUNDS, (number + 1) / ROUNDS)
        mean = _round(data, rows, template, levels, told)
        template = np.where(mean.people >= least, mean.bone, template)
    assert mean is not None
    skin = nearest_known(mean.skin, mean.people >= least)
    return HeadFields(template, skin, mean.people)


def rigid_mean(data: Dataset, rows: list[int]) -> tuple[HeadFields, Array]:
    """Return the average of people and their mirror images where they lie, without deforming.

    Returns
    -------
    The averages (0 where nobody was scanned), and the skin's standard deviation between people,
    (k, j, i) float32 mm.
    """
    bone, skin, square, count = (np.zeros(data.spec.shape) for _ in range(4))
    for row in rows:
        one = person(data, row)
        for side in (one, one.mirrored()):
            count += side.people
            bone += side.people * side.bone
            skin += side.people * side.skin
            square += side.people * side.skin**2
    n = np.maximum(count, 1)
    spread = np.sqrt(np.maximum(square / n - (skin / n) ** 2, 0))
    means = [a.astype(np.float32) for a in (bone / n, skin / n, count / 2)]
    return HeadFields(*means), spread.astype(np.float32)


def first_template(data: Dataset, rows: list[int], levels: Levels = LEVELS_MM) -> Array:
    """Return the bone of the person nearest to the rigid mean, made symmetric, (k, j, i) mm.

    What of that person was not scanned is the rigid mean's.
    """
    mean, _ = rigid_mean(data, rows)
    grid = data.spec.grid
    blurred = nearest_known(mean.bone, mean.people >= LEAST_SHARE * len(rows))
    near = np.abs(blurred) < NEAR_MM

    def far(row: int) -> float:
        one = person(data, row)
        use = near & (one.people > 0.5)
        difference = _clipped(one.bone) - _clipped(blurred)
        return float(np.abs(difference[use]).mean()) if use.any() else np.inf

    chosen = person(data, min(rows, key=far))
    bone = np.where(chosen.people > 0.5, chosen.bone, blurred).astype(np.float32)
    # Half the way to its own mirror image lies the middle of the two.
    other = np.ascontiguousarray(bone[:, :, ::-1])
    field, field_grid = deform(bone, other, grid, levels)
    (other,) = pulled_back([other], field, field_grid, grid)
    back = inverse(_half(field), field_grid)
    (middle,) = pulled_back([_half(bone + other)], back, field_grid, grid)
    return _half(middle + middle[:, :, ::-1])


def _half(values: Array) -> Array:
    return np.asarray(values * np.float32(0.5))


def _clipped(bone: Array) -> Array:
    return np.clip(bone, -NEAR_MM, NEAR_MM)


def _round(
    data: Dataset, rows: list[int], template: Array, levels: Levels, progress: Progress
) -> HeadFields:
    """Register everybody to a symmetric template and return their mean in its mean shape."""
    grid = data.spec.grid
    bone, skin, count = (np.zeros(grid.shape, dtype=np.float32) for _ in range(3))
    shift = None
    for number, row in enumerate(rows, start=1):
        one = person(data, row)
        subject = np.where(one.people > 0.5, one.bone, template).astype(np.float32)
        field, field_grid = deform(template, subject, grid, levels)
        warped = HeadFields(*pulled_back([one.bone, one.skin, one.people], field, field_grid, grid))
        for side in (warped, warped.mirrored()):
            seen = side.people > 0.99
            bone += np.where(seen, np.clip(side.bone, *BONE_RANGE_MM), 0)
            skin += np.where(seen, side.skin, 0)
            count += seen
        both = field + field[:, :, ::-1] * np.array([-1, 1, 1], dtype=np.float32)
        shift = both if shift is None else shift + both
        progress(number / len(rows), data.people[row].id)
    assert shift is not None
    back = inverse(np.asarray(shift / np.float32(2 * len(rows))), field_grid)
    share = np.asarray(1 / np.maximum(count, 1), dtype=np.float32)
    sums = [bone * share, skin * share, _half(count)]
    means = pulled_back(sums, back, field_grid, grid)
    return HeadFields(*(_half(a + a[:, :, ::-1]) for a in means))
