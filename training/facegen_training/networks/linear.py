"""The linear prediction a network starts from: ridge regression of skin on bone, low rank.

Features are the differences of a skull's distance field to the mean one, with an influence that
falls back to nothing where they are large: missing bone says nothing, it does not say "thin".
Fitted on augmented copies, so that it knows pose, mirror and damage.

The ridge solution W = Xᵀ(XXᵀ + λ)⁻¹Y is projected on the leading directions V of its own fitted
values (reduced-rank regression, Izenman 1975), which leaves A = VᵀW and B = V: a few megabytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facegen_training.fitting.config import LinearConfig

Array = NDArray[np.float32]
FILL_SWEEPS = 3


@dataclass(frozen=True)
class Copies:
    """Augmented copies of people on the coarse grid, V voxels each.

    Attributes
    ----------
    bone, observed, skin, valid
        (n, V) float32; see `facegen_training.fitting.augment.Sample`.
    person
        (n,) int, which person each copy is of.
    """

    bone: Array
    observed: Array
    skin: Array
    valid: Array
    person: NDArray[np.int64]


@dataclass(frozen=True)
class LinearPart:
    """Weights of the linear prediction.

    Attributes
    ----------
    mean_bone, mean_skin
        (V,) mm.
    features
        (F,) int64, the voxels looked at.
    influence_mm
        See `influence`.
    read
        (r, F): from features to components.
    write
        (r, V): from components to the skin's distance.
    """

    mean_bone: Array
    mean_skin: Array
    features: NDArray[np.int64]
    influence_mm: float
    read: Array
    write: Array

    def predict(self, bone: Array, observed: Array) -> Array:
        """Return the predicted skin distance, (n, V) mm, of (n, V) bone distances."""
        x = features_of(bone, observed, self.mean_bone, self.features, self.influence_mm)
        return np.asarray(self.mean_skin + (x @ self.read.T) @ self.write)


@dataclass(frozen=True)
class LinearFit:
    """What `fit_linear` found.

    Attributes
    ----------
    whole
        Fitted on everyone.
    folds
        For each fold, fitted without its people.
    fold_of
        Person → fold.
    latent
        (K, V): change of distance per SD along each leading direction of what the linear
        prediction missed on people it was not fitted on; negative is outward (heavier) on axis 0.
    spread
        (V,) SD of that miss, mm.
    ridge
        Strength chosen.
    error_mm
        Ridge strength → mean absolute miss near the skin of people left out, mm.
    """

    whole: LinearPart
    folds: tuple[LinearPart, ...]
    fold_of: dict[int, int]
    latent: Array
    spread: Array
    ridge: float
    error_mm: dict[float, float]


def influence(difference: Array, reach: float) -> Array:
    """Return a redescending influence of differences in mm: small ones count, large ones do not."""
    return np.asarray(difference * np.exp(-((difference / reach) ** 2)), dtype=np.float32)


def features_of(
    bone: Array, observed: Array, mean_bone: Array, features: NDArray[np.int64], reach: float
) -> Array:
    """Return the (n, F) features of (n, V) bone distances."""
    difference = bone[:, features] - mean_bone[features]
    return influence(difference, reach) * observed[:, features]


def fit_linear(
    copies: Copies, weight: Array, config: LinearConfig, near_mm: float = 4.0
) -> LinearFit:
    """Fit the linear prediction, choosing the ridge on people left out.

    Parameters
    ----------
    copies
        Augmented copies of the training people only.
    weight
        (V,) importance of each voxel, e.g. 1 in the face and less elsewhere.
    config
        Rank, folds, ridge strengths.
    near_mm
        The ridge is chosen by the miss where the true value is within this of 0.
    """
    mean_bone = mean_where(copies.bone, copies.observed)
    mean_skin = mean_where(copies.skin, copies.valid)
    looked_at = copies.observed.mean(axis=0) > 0.05
    features = np.flatnonzero((np.abs(mean_bone) < config.feature_band_mm) & looked_at)
    x = features_of(copies.bone, copies.observed, mean_bone, features, config.influence_mm)
    y = np.where(copies.valid > 0, copies.skin - mean_skin, 0).astype(np.float32)
    near = np.exp(-((mean_skin / 10) ** 2)) * weight
    people = np.unique(copies.person)
    fold_of = {int(p): n % config.folds for n, p in enumerate(people)}
    fold = np.array([fold_of[int(p)] for p in copies.person])
    kernel = (x @ x.T).astype(np.float64)
    y = _filled(kernel, y, copies, config.ridges[len(config.ridges) // 2])

    errors = {}
    best: tuple[float, float, Array] | None = None
    for ridge in config.ridges:
        missed = _missed(kernel, y, fold, ridge)
        error = _near_error(missed, copies, weight, near_mm)
        errors[ridge] = error
        if best is None or error < best[0]:
            best = (error, ridge, missed)
    assert best is not None
    _, ridge, missed = best

    def part(rows: NDArray[np.bool_]) -> LinearPart:
        read, write = _reduced(x[rows], kernel[np.ix_(rows, rows)], y[rows], near, ridge, config)
        return LinearPart(mean_bone, mean_skin, features, config.influence_mm, read, write)

    parts = tuple(part(fold != n) for n in range(config.folds))
    missed = missed * copies.valid
    spread = np.sqrt((missed**2).sum(axis=0) / np.maximum(copies.valid.sum(axis=0), 1))
    return LinearFit(
        whole=part(np.ones(len(fold), dtype=bool)),
        folds=parts,
        fold_of=fold_of,
        latent=_latent(missed, near, config.latents),
        spread=np.clip(spread, 0.5, 15).astype(np.float32),
        ridge=ridge,
        error_mm=errors,
    )


def mean_where(values: Array, where: Array) -> Array:
    """Return the mean over rows where `where` is 1; the far value 30 mm where no row is."""
    count = where.sum(axis=0)
    total = (values * where).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), 30.0).astype(np.float32)


def _dual(kernel: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """Return the inverse of the regularised kernel."""
    n = len(kernel)
    strength = ridge * np.trace(kernel) / n
    return np.asarray(np.linalg.inv(kernel + strength * np.eye(n)))


def _filled(kernel: NDArray[np.float64], y: Array, copies: Copies, ridge: float) -> Array:
    """Return the targets with what is not known filled in by the prediction itself."""
    smoother = (kernel @ _dual(kernel, ridge)).astype(np.float32)
    for _ in range(FILL_SWEEPS):
        y = np.where(copies.valid > 0, y, smoother @ y).astype(np.float32)
    return y


def _missed(kernel: NDArray[np.float64], y: Array, fold: NDArray[np.int64], ridge: float) -> Array:
    """Return truth minus prediction, (n, V), each row predicted without its fold's people."""
    missed = np.empty_like(y)
    for n in np.unique(fold):
        inside, outside = fold == n, fold != n
        weights = kernel[np.ix_(inside, outside)] @ _dual(kernel[np.ix_(outside, outside)], ridge)
        missed[inside] = y[inside] - weights.astype(np.float32) @ y[outside]
    return missed


def _near_error(missed: Array, copies: Copies, weight: Array, near_mm: float) -> float:
    """Return the mean absolute miss within `near_mm` of the true skin, weighted, mm."""
    near = (np.abs(copies.skin) < near_mm) * copies.valid * weight
    return float((np.abs(missed) * near).sum() / near.sum())


def _reduced(
    x: Array,
    kernel: NDArray[np.float64],
    y: Array,
    near: Array,
    ridge: float,
    config: LinearConfig,
) -> tuple[Array, Array]:
    """Return (read, write) of the ridge solution at the rank wanted."""
    dual = (_dual(kernel, ridge) @ y).astype(np.float32)
    scale = np.sqrt(np.maximum(near, 1e-3)).astype(np.float32)
    fitted = (kernel.astype(np.float32) @ dual) * scale
    values, vectors = np.linalg.eigh((fitted @ fitted.T).astype(np.float64))
    rank = min(config.rank, len(values))
    top = vectors[:, ::-1][:, :rank]
    size = np.sqrt(np.maximum(values[::-1][:rank], 1e-9))
    directions = ((top / size).T.astype(np.float32) @ fitted).astype(np.float32)
    read = (((dual * scale) @ directions.T).T @ x).astype(np.float32)
    return _balanced(read, directions / scale, x)


def _balanced(read: Array, write: Array, x: Array) -> tuple[Array, Array]:
    """Scale components to unit SD on the training rows, so that half precision serves both."""
    size = np.maximum((x @ read.T).std(axis=0), 1e-6)[:, None]
    return (read / size).astype(np.float32), (write * size).astype(np.float32)


def _latent(missed: Array, near: Array, count: int) -> Array:
    """Return the leading directions of what was missed, one SD each, (count, V)."""
    scaled = missed * np.sqrt(near)
    values, vectors = np.linalg.eigh((scaled @ scaled.T).astype(np.float64))
    rows = []
    for n in range(1, min(count, len(values)) + 1):
        size = np.sqrt(max(values[-n], 1e-9))
        direction = vectors[:, -n].astype(np.float32) @ missed / size
        direction *= size / np.sqrt(len(missed))
        outward = (direction * near).sum()
        rows.append(-direction if outward > 0 else direction)
    return np.stack(rows).astype(np.float32)
