"""Fit the space of the training people's skulls, and how far a skull may lie from it.

The limits are found on people left out in turn: the space of the others, then each of these placed
in it, whole and with bone or field of view taken away, as casework brings them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facegen_inference.familiarity import beyond_limits, measures_of
from facegen_inference.familiarity_file import (
    Counted,
    Familiarity,
    Limits,
    Measure,
    known_surface,
    packed,
)
from facegen_inference.registration import Matrix
from facegen_inference.skull_space import (
    CENTRE,
    SCALES_MM,
    Bone,
    SkullSpace,
    align,
    inverse,
    moved,
    place,
    read,
    scale_of,
)
from facegen_inference.volume import Grid
from facegen_training.cohort.dataset import Dataset, Prepared
from facegen_training.cohort.folds import FOLDS, dealt

Field = NDArray[np.float32]
Values = dict[Measure, float]

FEWEST_PEOPLE = 20
"""Fewer cannot say what is usual."""
STEP_MM, CLIP_MM, DIRECTIONS = 5.0, 15.0, 12
"""Grid step, clip and number of directions of the space: our choice, for a file well below 1 MB."""
LEAST_SEEN, LEAST_SHARE = 3, 0.1
"""Fewer people, or a smaller share, say nothing of a place: the vertex of most was not scanned."""
_ROUNDS = 2
_FILLED, _SHRUNK = 6, 0.9
"""How often what was not scanned is filled in from the directions, and by how much of it."""
SPREADS, STEP, MOST = 3.0, 0.1, 12.0
"""A warning's limit lies at least so many spreads from the middle of the people left out; while too
many are warned, that of the measure which catches most of them is moved outwards by a step.
Refusal lies farther, see `TWICE`."""
WARNED_SHARE, PARTIAL_SHARE = 0.02, 0.05
"""Largest share of people warned of, whole and with parts taken away."""
BOTH_WAYS: tuple[Measure, ...] = ("size", "face_size", "proportion")
WARN_ONLY: tuple[Measure, ...] = (
    "upper_far_percent",
    "missing_percent",
    "turned_deg",
    "moved_mm",
)
"""Strange bone in a small place (a growth), what is missing, and how the frame lies are no reason
to refuse."""
FARTHER: Values = {"size": 5 / 3, "face_size": 5 / 3, "far_percent": 3.0}
"""How many times as far as the warning refusal lies, where not `TWICE`.  Sizes: six of six people
left out and shrunk to about a one-year-old's proportions (Bolton standards, by the growth in area:
vault 0.89, upper face 0.79, jaw 0.75) are refused so, two of four were at twice as far.  Far bone:
a growth as large as a fist on the jaw is 10 to 12 % of the bone, a snout of 1.6 times the length
13 to 17 %."""
TWICE = 2.0
LEAST_SPREAD: Values = {
    "size": 0.01,
    "face_size": 0.01,
    "proportion": 0.005,
    "misfit_mm": 0.05,
    "far_percent": 1.0,
    "upper_far_percent": 1.0,
    "shape_sd": 0.05,
    "missing_percent": 2.0,
    "turned_deg": 1.0,
    "moved_mm": 1.0,
}
"""Spreads are taken to be at least this, so that people who happen to be alike do not make the
limits narrow: our choice.  The one above the jaw is as large as that because sharp scans of dry
skulls, in which thin bone is seen that coarse scans of patients lose, have 2.8 to 3.0 %."""
_JAW_Z, _RAMUS = -45.0, (28.0, -12.0, -9.0)
"""Below the first there is only jaw, and beyond this |x|, below this z, in front of this y."""
_CAP_Z, _VAULT_Z, _BEHIND_Y = 55.0, 40.0, -20.0
_HOLES, _HOLE_MM = 20, 12.0


@dataclass(frozen=True)
class _Laid:
    """People on the space's grid: (n, voxels) float32 mm, NaN where not scanned."""

    fields: Field
    grid: Grid
    clip_mm: float


def fit_familiarity(data: Dataset) -> Familiarity | None:
    """Fit the space of the training people's skulls, and the limits.

    Parameters
    ----------
    data
        Prepared people; the parts ``train`` and ``validation`` are taken.

    Returns
    -------
    What goes into the model file; None where there are fewer than `FEWEST_PEOPLE`.
    """
    rows = [*data.rows("train"), *data.rows("validation")]
    people = {data.people[row].whose for row in rows}
    if len(people) < FEWEST_PEOPLE:
        return None
    laid = _lay(data, rows)
    fold_of = dealt(people)
    folds = np.array([fold_of[data.people[row].whose] for row in rows])
    whole: list[Values] = []
    partial: list[Values] = []
    for fold in range(FOLDS):
        space = _space(replace(laid, fields=laid.fields[folds != fold]))
        for n in np.flatnonzero(folds == fold):
            bone = _bone(data, rows[n])
            whole.append(measures_of(place(bone, space)))
            partial.append(measures_of(place(_lessened(bone, data, rows[n], int(n)), space)))
    limits, counted = find_limits(whole, partial)
    space = _space(laid)
    text, units = packed(space.mean, space.directions, laid.clip_mm)
    low = space.grid.patient_from_voxel[:3, 3]
    return Familiarity(
        people=len(people),
        youngest=youngest_of([data.people[row] for row in rows]),
        shape=laid.grid.shape,
        spacing_mm=float(laid.grid.spacing[0]),
        origin_mm=(float(low[0]), float(low[1]), float(low[2])),
        clip_mm=laid.clip_mm,
        direction_mm=tuple(units),
        packed=text,
        limits=limits,
        counted=counted,
    )


def youngest_of(people: Sequence[Prepared]) -> float | None:
    """Return the age of the youngest, years; None unless everyone's is known."""
    ages = [person.profile.get("age") for person in people]
    known = [float(age) for age in ages if age is not None]
    return min(known) if known and len(known) == len(ages) else None


def _bone(data: Dataset, row: int) -> Bone:
    return Bone.of(data.fields(row)[:2].numpy(), data.spec)


def space_grid(data: Dataset) -> Grid:
    """Return the space's grid: that of the preprocessing, coarser, within its box."""
    spec = data.spec
    step = max(STEP_MM, spec.spacing_mm)
    k, j, i = (int((n - 1) * spec.spacing_mm // step) + 1 for n in spec.shape)
    matrix = np.eye(4)
    matrix[:3, :3] = step * np.eye(3)[:, ::-1]
    matrix[:3, 3] = spec.origin_mm
    return Grid((k, j, i), matrix)


def _lay(data: Dataset, rows: list[int]) -> _Laid:
    """Lay everyone on the mean of all, size taken out, and read their bone there."""
    grid, clip = space_grid(data), min(CLIP_MM, data.spec.clip_mm)
    places = [np.eye(4) for _ in rows]
    fields = _fields(data, rows, places, grid, clip)
    for n in range(_ROUNDS):
        space = _mean(fields, grid, clip)
        scales = SCALES_MM[1:] if n == 0 else SCALES_MM[2:]
        places = [
            align(_bone(data, row), space, matrix, scales)
            for row, matrix in zip(rows, places, strict=True)
        ]
        growth = float(np.exp(-np.mean([np.log(scale_of(matrix)) for matrix in places])))
        centred = np.diag([growth] * 3 + [1.0])
        centred[:3, 3] = CENTRE * (1 - growth)
        places = [centred @ matrix for matrix in places]
        fields = _fields(data, rows, places, grid, clip)
    return _Laid(fields, grid, clip)


def _fields(
    data: Dataset, rows: Iterable[int], places: list[Matrix], grid: Grid, clip: float
) -> Field:
    """Read everyone's bone on the space's grid."""
    points = grid.patient_points(np.indices(grid.shape).reshape(3, -1).T.astype(np.float64))
    out = []
    for row, matrix in zip(rows, places, strict=True):
        bone = _bone(data, row)
        there = moved(points, inverse(matrix))
        values = read(bone.distance, bone.grid, there) * scale_of(matrix)
        values = np.clip(values, -clip, clip).astype(np.float32)
        values[read(bone.sure, bone.grid, there, order=0) == 0] = np.nan
        out.append(values)
    return np.stack(out)


def _mean(fields: Field, grid: Grid, clip: float) -> SkullSpace:
    """Return the mean, of what was scanned, as a space without directions; NaN where few were."""
    seen = np.isfinite(fields)
    total = np.where(seen, fields, 0.0).sum(axis=0)
    count = seen.sum(axis=0)
    enough = count >= max(LEAST_SEEN, LEAST_SHARE * len(fields))
    mean = np.where(enough, total / np.maximum(count, 1), np.nan)
    mean = mean.astype(np.float32).reshape(grid.shape)
    nothing = np.zeros((0, *grid.shape), dtype=np.float32)
    return SkullSpace(mean, nothing, grid, clip, known_surface(mean, grid))


def _space(laid: _Laid) -> SkullSpace:
    """Return mean and principal directions; what was not scanned is filled in from them."""
    start = _mean(laid.fields, laid.grid, laid.clip_mm)
    seen = np.isfinite(laid.fields)
    known = np.isfinite(start.mean).ravel()
    filled = np.where(seen, laid.fields, np.where(known, start.mean.ravel(), laid.clip_mm))
    filled[:, ~known] = laid.clip_mm
    seen[:, ~known] = False
    count = min(DIRECTIONS, len(filled) - 1)
    for _ in range(_FILLED):
        mean = filled.mean(axis=0)
        less = filled - mean
        left, power, _ = np.linalg.svd(less @ less.T)
        root = np.sqrt(np.maximum(power[:count], 1e-12))
        directions = left[:, :count].T @ less / root[:, None]
        guess = mean + _SHRUNK * (less @ directions.T) @ directions
        filled = np.where(seen, laid.fields, guess)
    scaled = directions * (root / np.sqrt(len(filled) - 1))[:, None]
    shape = (count, *laid.grid.shape)
    return replace(start, directions=scaled.astype(np.float32).reshape(shape))


def _lessened(bone: Bone, data: Dataset, row: int, turn: int) -> Bone:
    """Take something away from a skull, as casework does; what depends on its turn."""
    spec = data.spec
    points = spec.grid.patient_points(np.indices(spec.shape).reshape(3, -1).T.astype(np.float64))
    x, y, z = (axis.reshape(spec.shape) for axis in points.T)
    fields = data.fields(row)[:2].numpy().copy()
    kind = turn % 5
    if kind == 0:  # no jaw
        side, top, back = _RAMUS
        ramus = np.maximum.reduce([side - np.abs(x), z - top, y - back])
        fields[0] = np.maximum(fields[0], -np.minimum(z - _JAW_Z, ramus))
    elif kind == 1:  # skull cap sawn off
        fields[0] = np.maximum(fields[0], z - _CAP_Z)
    elif kind == 2:  # holes
        chosen = np.random.default_rng(turn).permutation(len(bone.points))[:_HOLES]
        for cx, cy, cz in bone.points[chosen]:
            away = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) - _HOLE_MM
            fields[0] = np.maximum(fields[0], -away)
    else:  # scanned in part: no vault, or the face alone
        beyond = z > _VAULT_Z if kind == 3 else y > _BEHIND_Y
        fields[1][beyond], fields[0][beyond] = 0.0, spec.clip_mm
    return Bone.of(fields, spec)


def find_limits(
    whole: list[Values], partial: list[Values]
) -> tuple[dict[Measure, Limits], Counted]:
    """Return limits for what people left out showed, and how many of them they catch.

    Middle and spread (of each side its own: the 5 % and the 95 % quantile, as of a Gaussian) are
    those of whole people; see `SPREADS` and `WARNED_SHARE` for where the limits come to lie.

    Parameters
    ----------
    whole, partial
        One dict of measures a person.
    """
    spreads = dict.fromkeys(LEAST_SPREAD, SPREADS)
    while True:
        limits = {name: _limits(name, whole, far) for name, far in spreads.items()}
        warned, refused = _strange(whole, limits)
        partial_warned, partial_refused = _strange(partial, limits)
        fair = len(warned) <= WARNED_SHARE * len(whole) and not refused
        fair_partial = len(partial_warned) <= PARTIAL_SHARE * len(partial) and not partial_refused
        catching = Counter(
            name
            for found, right in (
                ([*warned, *refused], fair),
                ([*partial_warned, *partial_refused], fair_partial),
            )
            if not right
            for names in found
            for name in names
            if spreads[name] < MOST
        )
        if not catching:
            break
        spreads[catching.most_common(1)[0][0]] += STEP
    counted = Counted(
        people=len(whole),
        warned=len(warned),
        refused=len(refused),
        partial=len(partial),
        partial_warned=len(partial_warned),
        partial_refused=len(partial_refused),
        note=f"Limits {min(spreads.values()):.1f} to {max(spreads.values()):.1f} spreads from the "
        f"median of people left out in {FOLDS} folds, refusal 1.7 to 3 times as far; partial: the "
        "same people without jaw or skull cap, with holes, or with vault or all behind the face "
        "not scanned.",
    )
    return limits, counted


def _limits(name: Measure, whole: list[Values], spreads: float) -> Limits:
    found = [values[name] for values in whole if name in values]
    if not found:
        return Limits()
    low, middle, high = np.quantile(found, (0.05, 0.5, 0.95))
    above = spreads * max((high - middle) / 1.645, LEAST_SPREAD[name])
    below = spreads * max((middle - low) / 1.645, LEAST_SPREAD[name])
    lower, refused = name in BOTH_WAYS, name not in WARN_ONLY
    times = FARTHER.get(name, TWICE)
    return Limits(
        warn_below=round(float(middle - below), 4) if lower else None,
        warn_above=round(float(middle + above), 4),
        refuse_below=round(float(middle - times * below), 4) if lower and refused else None,
        refuse_above=round(float(middle + times * above), 4) if refused else None,
    )


def _strange(
    people: list[Values], limits: dict[Measure, Limits]
) -> tuple[list[list[Measure]], list[list[Measure]]]:
    """Return the measures by which each person is warned of, and those each is refused by."""
    warned, refused = [], []
    for values in people:
        beyond, doubtful = beyond_limits(values, limits)
        if beyond:
            refused.append([name for name, *_ in beyond])
        elif doubtful:
            warned.append([name for name, *_ in doubtful])
    return warned, refused
