"""Can a classifier tell decoys from people?  If it can, a face is found for being real.

Each fold's unseen people are set against that fold's decoys; a classifier learns on the other
folds and is asked about this one.  Several kinds are tried and the best counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facegen_training.evaluation.face_map import bands_of, mean_known
from facegen_training.evaluation.face_space import FaceSpace, Matrix

Features = NDArray[np.float64]
Labels = NDArray[np.bool_]
LEADING = 30
NEIGHBOURS = 15


@dataclass(frozen=True)
class Lot:
    """Unseen people and decoys of one fold, as a classifier sees them.

    Attributes
    ----------
    shape
        (N, cells of the whole map) mm from the mean face, 0 where unknown.
    measures
        (N, M) of detail: what is left of the face in bands of size, how unusual and how lopsided
        it is, and how much of it is known.
    explained
        (N, 2), how unusual a face is in the fold's shape model, and what that leaves of it.
    true
        (N,) whether it is a person.
    """

    shape: Features
    measures: Features
    explained: Features
    true: Labels


def lot(space: FaceSpace, people: Matrix, decoys: Matrix) -> Lot:
    """Return what a classifier may look at, of laid faces (N, P) and (M, P)."""
    faces = np.concatenate([people, decoys])
    maps = np.full((len(faces), *space.cells.shape), np.nan, dtype=np.float32)
    use = np.zeros_like(space.cells)
    use[space.cells] = space.compared
    maps[:, use] = (faces - space.mean)[:, space.compared]
    bands = [mean_known(part**2, (1, 2)) for part in bands_of(maps, space.target.grid)]
    measures = [
        *bands[:-1],
        mean_known(maps**2, (1, 2)),
        mean_known((maps - maps[:, :, ::-1]) ** 2, (1, 2)),
    ]
    known = np.isfinite(maps).mean(axis=(1, 2))
    true = np.arange(len(faces)) < len(people)
    columns = np.column_stack([np.log(np.array(measures, dtype=float).T + 1e-9), known])
    score = space.scores(faces)
    left = (faces - space.centre - score @ space.components)[:, space.compared]
    inside = (score**2 / space.variance).mean(axis=1)
    explained = np.log(np.column_stack([inside, mean_known(left**2, axis=1)]) + 1e-9)
    shape = np.nan_to_num(maps).reshape(len(maps), -1).astype(float)
    return Lot(shape, columns, explained.astype(float), true)


def with_the_models_eyes(one: Lot) -> Lot:
    """Return the lot with `Lot.explained` shown to the classifiers too.

    Decoys are made of the fold's training people, and nothing made so hides that from the model.
    """
    return replace(one, measures=np.column_stack([one.explained, one.measures]))


def told_apart(lots: Sequence[Lot]) -> dict[str, float]:
    """Return kind of classifier → balanced accuracy over people and decoys it did not learn from.

    0.5 is chance.  At least two lots, each with both kinds.
    """
    answers: dict[str, list[Labels]] = {name: [] for name in CLASSIFIERS}
    truth = np.concatenate([one.true for one in lots])
    for n, asked in enumerate(lots):
        known = [one for m, one in enumerate(lots) if m != n]
        learn, ask = _features(known, asked)
        labels = np.concatenate([one.true for one in known])
        for name, (rule, columns) in CLASSIFIERS.items():
            answers[name].append(rule(learn[:, columns], labels, ask[:, columns]))
    return {name: balanced_accuracy(truth, np.concatenate(said)) for name, said in answers.items()}


def balanced_accuracy(truth: Labels, said: Labels) -> float:
    """Return the mean of the shares of people and of decoys that were called right."""
    return float((said[truth].mean() + (~said[~truth]).mean()) / 2)


def _features(known: Sequence[Lot], asked: Lot) -> tuple[Features, Features]:
    """Return standardised features: scores on the known lots' components, then measures."""
    shape = np.concatenate([one.shape for one in known])
    mean = shape.mean(axis=0)
    varied = shape - mean
    _, vector = np.linalg.eigh(varied @ varied.T)
    leading = varied.T @ vector[:, -LEADING:]
    leading /= np.linalg.norm(leading, axis=0)
    columns = []
    for of in (*known, asked):
        score = (of.shape - mean) @ leading
        left = ((of.shape - mean - score @ leading.T) ** 2).sum(axis=1) / np.maximum(
            of.measures[:, -1], 0.01
        )
        columns.append(np.column_stack([score, of.measures, np.log(left + 1e-9)]))
    learn, ask = np.concatenate(columns[:-1]), columns[-1]
    middle, sd = learn.mean(axis=0), np.maximum(learn.std(axis=0), 1e-9)
    return (learn - middle) / sd, (ask - middle) / sd


def _weights(labels: Labels) -> Features:
    """Return a weight for each example such that both kinds weigh the same."""
    weight = np.where(labels, 0.5 / labels.sum(), 0.5 / (~labels).sum())
    return np.asarray(weight * len(labels))


def _logistic(learn: Features, labels: Labels, ask: Features) -> Labels:
    """Return answers of logistic regression, ridge 1, by Newton's method."""
    x = np.column_stack([np.ones(len(learn)), learn])
    w, weight = np.zeros(x.shape[1]), _weights(labels)
    ridge = np.eye(len(w)) * 1.0
    ridge[0, 0] = 1e-6
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        slope = x.T @ (weight * (labels - p)) - ridge @ w
        bend = (x * (weight * p * (1 - p))[:, None]).T @ x + ridge
        step = np.linalg.solve(bend, slope)
        w += step
        if np.abs(step).max() < 1e-6:
            break
    return np.asarray(np.column_stack([np.ones(len(ask)), ask]) @ w > 0)


def _squared(learn: Features, labels: Labels, ask: Features) -> Labels:
    """Return answers of logistic regression on the features and their squares."""
    return _logistic(
        np.column_stack([learn, learn**2 - 1]), labels, np.column_stack([ask, ask**2 - 1])
    )


def _between(a: Features, b: Features) -> Features:
    """Return squared distances (A, B)."""
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.maximum(square, 0))


def _kernel(learn: Features, labels: Labels, ask: Features) -> Labels:
    """Return answers of regularised least squares with a Gaussian kernel."""
    width = 2.0 * learn.shape[1]
    weight = _weights(labels)
    kernel = np.exp(-_between(learn, learn) / width)
    value = np.linalg.solve(kernel + np.diag(1.0 / weight), np.where(labels, 1.0, -1.0))
    return np.asarray(np.exp(-_between(ask, learn) / width) @ value > 0)


def _nearest(learn: Features, labels: Labels, ask: Features) -> Labels:
    """Return whether people are commoner among the nearest neighbours than in all."""
    nearest = np.argpartition(_between(ask, learn), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    return np.asarray(labels[nearest].mean(axis=1) > labels.mean())


CLASSIFIERS: dict[str, tuple[Callable[[Features, Labels, Features], Labels], slice]] = {
    "logistic": (_logistic, slice(None)),
    "logistic on squares": (_squared, slice(None)),
    "logistic on detail": (_squared, slice(LEADING, None)),
    "Gaussian kernel": (_kernel, slice(None)),
    "nearest neighbours": (_nearest, slice(None)),
}
