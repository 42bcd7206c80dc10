"""A ridge regression whose view is local: the skin at a place follows the bone around it.

A plain ridge (`facegen_training.networks.linear`) lets every voxel of bone speak for every place of
the skin, which few people cannot teach.  Here the kernel at a place sums products of two people's
bone differences under Gaussian windows around it, of several widths, and once over the whole
head: the sum is a kernel again (multiple kernel learning: Gönen and Alpaydın, J. Mach. Learn. Res.
12, 2211, 2011), the ridge in it is solved place by place, and leaving a person out has a closed
form.

Places are blocks of two coarse voxels (`POOL` voxels of the input grid each) per axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facegen_training.fitting.config import WindowedConfig
from facegen_training.networks.linear import FILL_SWEEPS, Copies, influence, mean_where

Array = NDArray[np.float32]
Shape = tuple[int, int, int]

BLOCK = 2
"""Coarse voxels of a block, per axis."""
WINDOW_ENDS = 2.5
"""A window ends at this many of its widths."""
LEAST_SHARE = 0.02
"""A window with less bone than this share of the mean does not speak louder for it."""
_PAIRS_AT_ONCE = 400


@dataclass(frozen=True)
class WindowedFit:
    """What `fit_windowed` found; B blocks in front, P of them predicted, r components.

    Attributes
    ----------
    mean_bone, mean_skin
        (V,) mm on the whole coarse grid.
    looked_at
        (V,) 1 for voxels whose difference counts.
    influence_mm
        See `facegen_training.networks.linear.influence`.
    components
        (r, B): principal directions of the bone's differences, a mean over each block.
    places
        (P,) int64, the blocks predicted.
    loudness
        (S, P): factor of each window, the whole head last.
    write
        (P, r, 8): from windowed components to the skin's change at a block's voxels.
    unseen
        Person → (V,), the prediction whose weights were fitted without that person; means and
        components are everyone's.  Mean skin where that person's skin is not known.
    ridge, error_mm
        Strength chosen, and strength → mean absolute miss near the skin of people left out, mm.
    """

    mean_bone: Array
    mean_skin: Array
    looked_at: Array
    influence_mm: float
    components: Array
    places: NDArray[np.int64]
    loudness: Array
    write: Array
    unseen: dict[int, Array]
    ridge: float
    error_mm: dict[float, float]


def window_matrix(count: int, width: float) -> Array:
    """Return the (count, count) Gaussian blur along one axis; `width` in blocks.

    Beyond the ends there is nothing: rows at the ends sum to less than 1.
    """
    apart = np.arange(count)[:, None] - np.arange(count)[None]
    kernel = np.exp(-0.5 * (apart / width) ** 2) * (np.abs(apart) <= WINDOW_ENDS * width)
    reach = np.arange(-count, count + 1)
    whole = np.exp(-0.5 * (reach / width) ** 2) * (np.abs(reach) <= WINDOW_ENDS * width)
    return np.asarray(kernel / whole.sum(), dtype=np.float32)


def blocks_of(fields: Array, shape: Shape, rows: int) -> Array:
    """Return (n, Zb, rows, Xb, 8), the voxels of the front blocks of (n, V) coarse fields."""
    z, y, x = shape
    cut = fields.reshape(-1, z, y, x)[:, :, : BLOCK * rows]
    parts = cut.reshape(-1, z // 2, 2, rows, 2, x // 2, 2).transpose(0, 1, 3, 5, 2, 4, 6)
    return parts.reshape(len(cut), z // 2, rows, x // 2, BLOCK**3)


def voxels_of(blocks: Array, fields: Array, shape: Shape) -> Array:
    """Return (n, V) `fields` with the front blocks replaced; the opposite of `blocks_of`."""
    z, y, x = shape
    n, rows = len(blocks), blocks.shape[2]
    parts = blocks.reshape(n, z // 2, rows, x // 2, 2, 2, 2).transpose(0, 1, 4, 2, 5, 3, 6)
    whole = np.broadcast_to(fields.reshape(-1, z, y, x), (n, z, y, x)).copy()
    whole[:, :, : BLOCK * rows] = parts.reshape(n, z, BLOCK * rows, x)
    return whole.reshape(n, -1)


@dataclass(frozen=True)
class Coarse:
    """The coarse grid: its (Z, Y, X), how many rows from the front matter, and its spacing, mm."""

    shape: Shape
    front: int
    spacing_mm: float


def fit_windowed(copies: Copies, grid: Coarse, config: WindowedConfig) -> WindowedFit:
    """Fit the windowed ridge.

    Parameters
    ----------
    copies
        People and their mirrored copies, nothing else random, on the coarse grid.
    grid
        The coarse grid; rows behind its ``front`` keep the mean skin.
    config
        Windows, rank and ridges.
    """
    shape, rows = grid.shape, grid.front // BLOCK
    seen = copies.observed
    mean_bone = mean_where(copies.bone, seen)
    mean_skin = mean_where(copies.skin, copies.valid)
    looked_at = ((np.abs(mean_bone) < config.feature_band_mm) & (seen.mean(axis=0) > 0.05)).astype(
        np.float32
    )
    x = influence(copies.bone - mean_bone, config.influence_mm) * seen * looked_at
    x = blocks_of(x, shape, rows).mean(axis=-1)
    components, scores = _principal(x.reshape(len(x), -1), config.rank)
    near = np.abs(blocks_of(mean_skin[None], shape, rows)[0]).min(axis=-1) < config.skin_band_mm
    places = np.flatnonzero(near)
    grids = components.reshape(-1, *x.shape[1:])
    widths = [width / (BLOCK * grid.spacing_mm) for width in config.windows_mm]
    kernels, loudness = _kernels(grids, scores, places, widths)

    valid = blocks_of(copies.valid, shape, rows).reshape(len(x), -1, BLOCK**3)[:, places] > 0
    start = blocks_of(mean_skin[None], shape, rows).reshape(1, -1, BLOCK**3)
    change = blocks_of(copies.skin, shape, rows).reshape(len(x), -1, BLOCK**3) - start
    target = np.where(valid, change[:, places], 0).astype(np.float32)
    groups = [np.flatnonzero(copies.person == one) for one in np.unique(copies.person)]
    fits = {
        ridge: _solved(kernels, scores, (target, valid), groups, ridge) for ridge in config.ridges
    }
    errors = {
        ridge: _near_miss(missed, target + start[:, places], valid)
        for ridge, (_, missed) in fits.items()
    }
    ridge = min(errors, key=lambda one: errors[one])
    write, missed = fits[ridge]

    unseen = {}
    for n in _first_of_each(copies.person):
        blocks = start.copy()
        blocks[0, places] += np.where(valid[n], change[n][places] - missed[n], 0)
        parts = blocks.reshape(1, *x.shape[1:], BLOCK**3)
        unseen[int(copies.person[n])] = voxels_of(parts, mean_skin, shape)[0]
    return WindowedFit(
        mean_bone, mean_skin, looked_at, config.influence_mm, components, places,
        loudness, write, unseen, ridge, errors,
    )  # fmt: skip


def _first_of_each(person: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(person, return_index=True)[1].astype(np.int64)


def _principal(x: Array, rank: int) -> tuple[Array, Array]:
    """Return components (r, B) and scores (n, r) with x ≈ scores @ components.

    Scores have unit mean square, so that half precision serves the components.
    """
    values, vectors = np.linalg.eigh((x @ x.T).astype(np.float64))
    keep = [n for n in np.argsort(values)[::-1][:rank] if values[n] > 1e-6 * values.max()]
    scores = (vectors[:, keep] * np.sqrt(len(x))).astype(np.float32)
    return (scores.T @ x / len(x)).astype(np.float32), scores


def _kernels(
    grids: Array, scores: Array, places: NDArray[np.int64], widths: Sequence[float]
) -> tuple[Array, Array]:
    """Return the products of components under the windows of each place, and their loudness.

    Returns
    -------
    (P, r, r): scores @ it @ scores.T is the kernel at a place.  (S, P): the factor of each window,
    such that the kernel of the training rows has a mean diagonal of 1 / S from each.
    """
    first, second = np.triu_indices(len(grids))
    blurs = [[window_matrix(count, width) for count in grids.shape[1:]] for width in widths]
    total = np.zeros((len(blurs) + 1, len(places), len(first)), dtype=np.float32)
    for at in range(0, len(first), _PAIRS_AT_ONCE):
        chosen = slice(at, at + _PAIRS_AT_ONCE)
        product = grids[first[chosen]] * grids[second[chosen]]
        for n, blur in enumerate(blurs):
            total[n, :, chosen] = _blurred(product, blur).reshape(len(product), -1)[:, places].T
        total[-1, :, chosen] = product.mean(axis=(1, 2, 3))[None]
    # The mean diagonal of scores @ A @ scores.T is the sum of A times scores.T @ scores / n.
    spread = scores.T @ scores / len(scores)
    twice = np.where(first == second, 1.0, 2.0) * spread[first, second]
    diagonal = total @ twice.astype(np.float32)
    floor = LEAST_SHARE * diagonal.mean(axis=1, keepdims=True)
    loudness = (1 / np.maximum(diagonal, floor) / len(total)).astype(np.float32)
    packed = np.einsum("spq,sp->pq", total, loudness, optimize=True)
    kernels = np.empty((len(places), len(grids), len(grids)), dtype=np.float32)
    kernels[:, first, second] = packed
    kernels[:, second, first] = packed
    return kernels, loudness


def _blurred(fields: Array, blur: Sequence[Array]) -> Array:
    """Return (n, Z, Y, X) fields blurred along their three axes."""
    z, y, x = blur
    fields = fields @ x.T
    fields = np.matmul(y, fields)
    return np.asarray(np.einsum("ab,nbyx->nayx", z, fields, optimize=True))


def _solved(
    kernels: Array,
    scores: Array,
    wanted: tuple[Array, NDArray[np.bool_]],
    groups: Sequence[NDArray[np.int64]],
    ridge: float,
) -> tuple[Array, Array]:
    """Solve the ridge at every place.

    Parameters
    ----------
    kernels, scores
        (P, r, r) and (n, r); see `_kernels`.
    wanted
        (n, P, 8) change of the skin's distance, and where it is known.
    groups
        The rows of each person.
    ridge
        Its strength.

    Returns
    -------
    write (P, r, 8), and missed (n, P, 8): truth minus the prediction without the person.
    """
    target, valid = wanted
    n = len(scores)
    write = np.empty((kernels.shape[0], kernels.shape[1], BLOCK**3), dtype=np.float32)
    missed = np.empty_like(target)
    for place, product in enumerate(kernels):
        through = product @ scores.T
        kernel = scores @ through
        inverse = np.linalg.inv(kernel + ridge * np.eye(n, dtype=np.float32))
        smoother = kernel @ inverse
        y, known = target[:, place], valid[:, place]
        if not known.all():
            for _ in range(FILL_SWEEPS):
                y = np.where(known, y, smoother @ y)
        write[place] = scores.T @ (inverse @ y)
        rest = y - smoother @ y
        for rows in groups:
            own = np.eye(len(rows), dtype=np.float32) - smoother[np.ix_(rows, rows)]
            missed[rows, place] = np.linalg.solve(own, rest[rows])
    return write, missed


def _near_miss(missed: Array, truth: Array, valid: NDArray[np.bool_]) -> float:
    """Return the mean absolute miss where the true distance is within 4 mm, mm."""
    near = valid & (np.abs(truth) < 4)
    return float(np.abs(missed[near]).mean())
