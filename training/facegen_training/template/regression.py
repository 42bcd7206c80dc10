"""Depth of skin from shape of skull: PCR and PLSR, kind and rank chosen on people left out.

Both work on the kernel of the people's shapes (their inner products), so that nothing of a person
left out, not even through the principal components, is in what is tried on them.
PCR: Massy 1965.  PLSR: the orthogonal scores form (Wold 1983; de Jong 1993).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

PCR_RANKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
PLSR_RANKS = (1, 2, 3, 4, 5, 6)
FOLDS = 5
COMPONENTS = 40
"""Components of shape that are kept at most."""
FILL_SWEEPS = 5
_FILL_RANK = 6


@dataclass(frozen=True)
class Choice:
    """A regression: ``mean`` (depth is the same for everyone), ``pcr`` or ``plsr``."""

    kind: str
    rank: int


CHOICES = (
    Choice("mean", 0),
    *(Choice("pcr", rank) for rank in PCR_RANKS),
    *(Choice("plsr", rank) for rank in PLSR_RANKS),
)


@dataclass(frozen=True)
class Scores:
    """Principal components of shape.

    Attributes
    ----------
    train
        (n, K) unit variance over those they are of, in falling order of what they explain.
    held
        (m, K) of others.
    size
        (K,) standard deviation of each, in the units of the shapes.
    """

    train: Values
    held: Values
    size: Values


def scores(kernel: Values, train: NDArray[np.bool_], held: NDArray[np.bool_]) -> Scores:
    """Return the components of some people's shapes, and where others lie on them.

    Parameters
    ----------
    kernel
        (n, n) inner products of everyone's shapes, not centred.
    train, held
        (n,) bool.
    """
    inner, cross = kernel[np.ix_(train, train)], kernel[np.ix_(held, train)]
    column = inner.mean(axis=0)
    centred = inner - column[None] - column[:, None] + column.mean()
    crossed = cross - cross.mean(axis=1)[:, None] - column[None] + column.mean()
    values, vectors = np.linalg.eigh(centred)
    values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
    kept = values > 1e-6 * max(values[0], 1e-12)
    values, vectors = values[kept], vectors[:, kept]
    count = len(inner)
    weights = vectors * np.sqrt(count) / values
    return Scores(centred @ weights, crossed @ weights, np.sqrt(values / count))


def regressed(choice: Choice, x: Scores, depth: Values, importance: Values) -> Values:
    """Return the change of depth for one unit of each component, (K, M).

    Parameters
    ----------
    choice
        What to fit.
    x
        Components of the people of `depth`.
    depth
        (n, M) mm, less its mean, complete.
    importance
        (M,) of each point; PLSR looks for what matters there.
    """
    k = x.train.shape[1]
    slopes = np.zeros((k, depth.shape[1]))
    if choice.kind == "pcr":
        rank = min(choice.rank, k)
        slopes[:rank] = x.train[:, :rank].T @ depth / len(depth)
    elif choice.kind == "plsr":
        rotation, loading = _partial_least_squares(
            x.train * x.size, depth, importance, min(choice.rank, k)
        )
        slopes = x.size[:, None] * (rotation @ loading)
    return slopes


def _partial_least_squares(
    x: Values, y: Values, importance: Values, rank: int
) -> tuple[Values, Values]:
    """Return (K, r) and (r, M) whose product maps (n, K) centred x to (n, M) centred y."""
    weighted = y * np.sqrt(importance)
    left = x.copy()
    directions, x_loads, y_loads = [], [], []
    for _ in range(rank):
        covariance = left.T @ weighted
        direction = np.linalg.eigh(covariance @ covariance.T)[1][:, -1]
        score = left @ direction
        norm = float(score @ score)
        if norm < 1e-9:
            break
        load = left.T @ score / norm
        left = left - np.outer(score, load)
        directions.append(direction)
        x_loads.append(load)
        y_loads.append(y.T @ score / norm)
    if not directions:
        return np.zeros((x.shape[1], 1)), np.zeros((1, y.shape[1]))
    w, p = np.array(directions).T, np.array(x_loads).T
    return w @ np.linalg.inv(p.T @ w), np.array(y_loads)


def filled(depth: Values) -> tuple[Values, Values]:
    """Return depth less its mean with gaps filled, (n, M), and the mean, (M,).

    Gaps (NaN) are filled by the leading components of depth itself, again and again.
    """
    known = np.isfinite(depth)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, depth, 0).sum(axis=0) / count
    full = np.where(known, depth - mean, 0.0)
    for _ in range(FILL_SWEEPS):
        values, vectors = np.linalg.eigh(full @ full.T)
        top = vectors[:, ::-1][:, :_FILL_RANK]
        size = np.maximum(values[::-1][:_FILL_RANK], 1e-9)
        shrink = size / (size + values.sum() / len(full))
        full = np.where(known, depth - mean, top @ (shrink[:, None] * (top.T @ full)))
    return full, mean


@dataclass(frozen=True)
class Tried:
    """What cross-validation found.

    Attributes
    ----------
    choice
        The best.
    error_mm
        Name → mean miss on people left out, weighted by importance, mm.
    missed
        (n, M) truth minus prediction of the best, each person left out; NaN where not known.
    """

    choice: Choice
    error_mm: dict[str, float]
    missed: Values


def cross_validated(
    kernel: Values, depth: Values, person: NDArray[np.int64], importance: Values
) -> Tried:
    """Choose kind and rank on people left out.

    Parameters
    ----------
    kernel
        (n, n), see `scores`.
    depth
        (n, M) mm, NaN where not known.
    person
        (n,) whose copy each row is: copies of one person are left out together.
    importance
        (M,) of each point.
    """
    fold = (np.searchsorted(np.unique(person), person)) % FOLDS
    missed = {choice: np.full_like(depth, np.nan) for choice in CHOICES}
    for number in np.unique(fold):
        held, train = fold == number, fold != number
        x = scores(kernel, train, held)
        full, mean = filled(depth[train])
        for choice in CHOICES:
            slopes = regressed(choice, x, full, importance)
            missed[choice][held] = depth[held] - mean - x.held @ slopes
    errors = {choice: _mean_miss(miss, importance) for choice, miss in missed.items()}
    best = min(CHOICES, key=lambda choice: errors[choice])
    named = {f"{c.kind} {c.rank}": round(error, 4) for c, error in errors.items()}
    return Tried(best, named, missed[best])


def _mean_miss(missed: Values, importance: Values) -> float:
    known = np.isfinite(missed) * importance
    return float((np.where(known > 0, np.abs(missed), 0) * known).sum() / max(known.sum(), 1e-9))
