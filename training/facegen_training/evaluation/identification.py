"""Identification: how near the top the true face comes among thousands of faces.

Each predicted face is compared with a gallery: everybody's true face, and decoys from a shape
model of the fold's training people.  Faces are laid over the fold's mean face by the face alone,
as a face in a gallery has no skull, and described by the shape model.  Two controls show what the
figures are worth: the mean face enlarged to the predicted face's size, and another person's
prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facegen_inference.mesh import Mesh
from facegen_inference.progress import Progress, silent
from facegen_training.evaluation.decoy_check import (
    Lot,
    lot,
    told_apart,
    with_the_models_eyes,
)
from facegen_training.evaluation.decoys import decoy_maker
from facegen_training.evaluation.face_alignment import PIVOT, moved
from facegen_training.evaluation.face_map import map_of
from facegen_training.evaluation.face_space import FaceSpace, Matrix, fit_space

Faces = Mapping[str, Mesh]
"""Person → face in the person's Frankfurt frame, mm."""
Result = dict[str, Any]

DECOYS = 5000
CHECKED = 300
"""Decoys of each fold that the classifiers are shown."""
SIZES = np.linspace(0.85, 1.15, 61)
OWN, SIZE, OTHER = "own", "mean face of its size", "another's prediction"


@dataclass(frozen=True)
class Gallery:
    """One fold's gallery.

    Attributes
    ----------
    space
        The shape model of the fold's training people.
    names
        Of the true faces, which come first.
    laid
        (M, P) true faces, then decoys, mm.
    sizes
        (S, P), the mean face enlarged by each of `SIZES`, laid like a face.
    """

    space: FaceSpace
    names: tuple[str, ...]
    laid: Matrix
    sizes: Matrix


def trained_on(true: Faces, fold_of: Mapping[str, int], fold: int) -> Faces:
    """Return the faces of the people a fold trains on: all but its own."""
    return {person: face for person, face in true.items() if fold_of.get(person) != fold}


def gallery(
    true: Faces, fold_of: Mapping[str, int], fold: int, decoys: int = DECOYS, seed: int = 0
) -> Gallery:
    """Return a fold's gallery: all true faces and decoys.

    Parameters
    ----------
    true
        Everybody's true face, cut to the scored region; people without a fold are trained on.
    fold_of
        Person → fold.
    fold
        Which.
    decoys, seed
        How many, and the start of chance.

    Raises
    ------
    UserError
        When there are too few people.
    """
    space = fit_space(trained_on(true, fold_of, fold), fold_of.keys())
    grid = space.target.grid
    faces = space.laid(np.stack([map_of(face, grid) for face in true.values()]))
    made = decoy_maker(space).make(decoys, 1000 * seed + fold + 1)
    poses = np.tile(np.eye(4), (len(SIZES), 1, 1))
    poses[:, :3, :3] *= SIZES[:, None, None]
    poses[:, :3, 3] = (1 - SIZES[:, None]) * PIVOT
    mean = np.repeat(space.target.mean[None], len(SIZES), axis=0)
    sizes = space.laid(moved(mean, poses, grid))
    return Gallery(space, tuple(true), np.concatenate([faces, made]), sizes)


def likeness(space: FaceSpace, asked: Matrix, faces: Matrix) -> NDArray[np.float64]:
    """Return how like faces (M, P) are to those asked about (N, P): (N, M), -1 to 1.

    The cosine between the differences from the mean face, each component divided by the standard
    deviation of unseen people (Mahalanobis cosine; Beveridge et al. 2005, Machine Vision and
    Applications 16:128).  A predicted face lies nearer to the mean than a true one: by plain
    distance every gallery face that is near the mean would come before the true one.
    """
    a, b = (space.scores(x).astype(float) / np.sqrt(space.variance) for x in (asked, faces))
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    return np.asarray((a @ b.T) / np.maximum(lengths, 1e-9))


def apart(space: FaceSpace, asked: Matrix, faces: Matrix) -> NDArray[np.float64]:
    """Return the mean absolute difference (N, M) mm of faces (M, P) from those asked about (N, P).

    Over the compared cells that both have; infinite where these are under half of all.
    """
    use = space.compared
    theirs = faces[:, use]
    found = np.empty((len(asked), len(faces)))
    for n, face in enumerate(asked[:, use]):
        difference = np.abs(theirs - face)
        known = np.isfinite(difference)
        count = known.sum(axis=1)
        total = np.where(known, difference, 0).sum(axis=1)
        found[n] = np.where(count > use.sum() / 2, total / np.maximum(count, 1), np.inf)
    return found


def placed_at(scores: NDArray[np.float64], own: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the rank (N,) of the true face by scores (N, M), higher is nearer; 1 is the best.

    Faces with the same score share the middle of their ranks.
    """
    mine = scores[np.arange(len(scores)), own][:, None]
    before, same = (scores > mine).sum(axis=1), (scores == mine).sum(axis=1)
    return np.asarray(1 + before + (same - 1) / 2, dtype=float)


def _ranks(there: Gallery, laid: Matrix, own: NDArray[np.intp]) -> dict[str, list[Result]]:
    """Return kind → rank by likeness and by plain distance, of predicted faces (N, P)."""
    nearest = apart(there.space, laid, there.sizes).argmin(axis=1)
    asked = {OWN: laid, SIZE: there.sizes[nearest], OTHER: np.roll(laid, 1, axis=0)}
    if len(laid) < 2:
        del asked[OTHER]
    ranks = {}
    for kind, faces in asked.items():
        alike = placed_at(likeness(there.space, faces, there.laid), own)
        plain = placed_at(-apart(there.space, faces, there.laid), own)
        ranks[kind] = [
            {"rank": float(a), "plain": float(p), "of": len(there.laid)}
            for a, p in zip(alike, plain, strict=True)
        ]
    return ranks


def identify(
    predicted: Mapping[str, Faces],
    true: Faces,
    fold_of: Mapping[str, int],
    decoys: int = DECOYS,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Look for every predicted face in its fold's gallery.

    Parameters
    ----------
    predicted
        Method → person → face predicted by a model that never saw the person.
    true
        Person → true face, cut to the scored region.  People without a fold are trained on in
        every fold; leave away who is not.
    fold_of
        Person → fold.
    decoys, seed
        How many in each fold, and the start of chance.
    progress
        Called after each fold.

    Returns
    -------
    JSON data: for each method and control, each person's rank by likeness and by plain distance;
    the galleries' sizes; and how well classifiers tell people from decoys.

    Raises
    ------
    UserError
        When there are too few people.
    """
    folds = sorted({fold_of[person] for person in true if person in fold_of})
    methods: dict[str, dict[str, dict[str, Result]]] = {
        method: {OWN: {}, SIZE: {}, OTHER: {}} for method in predicted
    }
    lots: list[Lot] = []
    for number, fold in enumerate(folds, start=1):
        there = gallery(true, fold_of, fold, decoys, seed)
        tested = [n for n, person in enumerate(there.names) if fold_of.get(person) == fold]
        lots.append(lot(there.space, there.laid[tested], there.laid[len(true) :][:CHECKED]))
        for method, faces in predicted.items():
            own = [n for n in tested if there.names[n] in faces]
            if not own:
                continue
            people = [there.names[n] for n in own]
            grid = there.space.target.grid
            laid = there.space.laid(np.stack([map_of(faces[p], grid) for p in people]))
            for kind, rows in _ranks(there, laid, np.array(own)).items():
                methods[method][kind].update(zip(people, rows, strict=True))
        progress(number / len(folds), f"gallery {number} of {len(folds)}")
    checked = len(lots) > 1 and decoys > 0
    return {
        "seed": seed,
        "decoys": decoys,
        "true_faces": len(true),
        "folds": len(folds),
        "told_apart": told_apart(lots) if checked else {},
        "told_apart_by_the_model": told_apart([*map(with_the_models_eyes, lots)])
        if checked
        else {},
        "methods": methods,
    }
