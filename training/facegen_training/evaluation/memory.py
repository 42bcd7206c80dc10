"""Memory: whether generated faces lie nearer to training faces than unseen people's do.

A model that remembers people gives one of them back.  How near a face comes to a training face
is told from how near it comes to the others: what counts is the nearest distance over the typical
distance to the next ones, as a smooth face lies nearer to everybody (Carlini et al. 2023,
"Extracting training data from diffusion models", normalise so).  Plain distances stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facegen_inference.progress import Progress, silent
from facegen_training.evaluation.face_alignment import aligned_poses, moved
from facegen_training.evaluation.face_map import low_passed, map_of, mean_known
from facegen_training.evaluation.face_space import FaceSpace, Matrix, fit_space
from facegen_training.evaluation.identification import Faces, apart, trained_on

Result = dict[str, Any]
NEIGHBOURS = 10
"""Nearest training faces after the first, whose mean distance is the measure."""
COARSE_MM = 8.0
"""Standard deviation of the low-pass: a scan's noise lies in every distance of a true face and is
missing in a generated one, and would make that look nearer."""
DRAW = "#"
"""Parts a person's name from the number of a draw: ``person#3``."""
FRAME, ALIGNED = "in the frame", "laid over each other"
PLANTED = "half a training face"
UNSEEN = "unseen people"


@dataclass(frozen=True)
class Nearness:
    """How near faces come to training faces; (N,) each.

    Attributes
    ----------
    nearest_mm
        Mean absolute distance to the nearest training face of somebody else.
    ratio
        That over the mean distance to the next `NEIGHBOURS`.
    own_mm, own_ratio
        Distance to the person's own true face, trained on or not, and over the mean distance to
        the nearest `NEIGHBOURS` others; NaN where it is not known.
    """

    nearest_mm: NDArray[np.float64]
    ratio: NDArray[np.float64]
    own_mm: NDArray[np.float64]
    own_ratio: NDArray[np.float64]

    def rows(self, names: Iterable[str]) -> dict[str, Result]:
        """Return name → figures."""
        columns = zip(self.nearest_mm, self.ratio, self.own_mm, self.own_ratio, strict=True)
        keys = ("nearest_mm", "ratio", "own_mm", "own_ratio")
        return {
            name: {k: round(float(v), 4) for k, v in zip(keys, row, strict=True) if np.isfinite(v)}
            for name, row in zip(names, columns, strict=True)
        }


def nearness(
    distances: NDArray[np.float64],
    own: NDArray[np.intp],
    own_mm: NDArray[np.float64] | None = None,
) -> Nearness:
    """Return how near faces come, from distances (N, M) mm to training faces.

    Parameters
    ----------
    distances
        In mm.
    own
        (N,) which training face is the person's own, -1 for none.
    own_mm
        (N,) distance to the person's own true face where it is no training face.
    """
    trained = own >= 0
    others = distances.copy()
    others[np.flatnonzero(trained), own[trained]] = np.inf
    ordered = np.sort(others, axis=1)
    ordered = np.where(np.isfinite(ordered), ordered, np.nan)
    next_ones = mean_known(ordered[:, 1 : NEIGHBOURS + 1], axis=1)
    mine = np.where(trained, distances[np.arange(len(own)), np.maximum(own, 0)], np.nan)
    if own_mm is not None:
        mine = np.where(trained, mine, own_mm)
    usual = mean_known(ordered[:, :NEIGHBOURS], axis=1)
    return Nearness(ordered[:, 0], ordered[:, 0] / next_ones, mine, mine / usual)


@dataclass(frozen=True)
class Trained:
    """The people a model was trained on, as faces are measured against them.

    Attributes
    ----------
    space
        Their shape model.
    names
        Theirs.
    faces
        `FRAME` or `ALIGNED` → (M, P) mm.
    """

    space: FaceSpace
    names: tuple[str, ...]
    faces: dict[str, Matrix]

    def lay(self, faces: Faces) -> dict[str, Matrix]:
        """Return faces both ways, in coarse shape: in the frame, and laid over the mean face."""
        grid = self.space.target.grid
        maps = np.stack([map_of(face, grid) for face in faces.values()])
        placed = moved(maps, aligned_poses(maps, self.space.target), grid)
        mean = self.space.target.mean
        ways = {FRAME: maps, ALIGNED: placed}
        return {
            way: self.space.mean + low_passed(faces - mean, grid, COARSE_MM)[:, self.space.cells]
            for way, faces in ways.items()
        }

    def measure(
        self,
        names: Iterable[str],
        laid: Mapping[str, Matrix],
        true: Mapping[str, Matrix] | None = None,
    ) -> dict[str, Nearness]:
        """Return how near laid faces come, each way; `true` are the same people's own faces."""
        index = {person: n for n, person in enumerate(self.names)}
        own = np.array([index.get(name.split(DRAW)[0], -1) for name in names])
        found = {}
        for way, faces in laid.items():
            mine = None
            if true is not None:
                pairs = zip(faces[:, None], true[way][:, None], strict=True)
                mine = np.array([apart(self.space, a, b)[0, 0] for a, b in pairs])
            found[way] = nearness(apart(self.space, faces, self.faces[way]), own, mine)
        return found

    def planted(self, laid: Mapping[str, Matrix]) -> dict[str, Matrix]:
        """Return laid faces half-way to a training face: what a model that remembers would give.

        The training face is the nearest, laid over each other; unknown cells keep the face's own.
        """
        nearest = apart(self.space, laid[ALIGNED], self.faces[ALIGNED]).argmin(axis=1)
        mixed = {}
        for way, faces in laid.items():
            half = (faces + self.faces[way][nearest]) / 2
            mixed[way] = np.where(np.isfinite(half), half, faces)
        return mixed


def trained(people: Faces, tested: Iterable[str]) -> Trained:
    """Return the people a model was trained on.

    Parameters
    ----------
    people
        Person → true face, cut to the scored region, frame mm.
    tested
        See `facegen_training.evaluation.face_space.fit_space`.

    Raises
    ------
    UserError
        When there are too few.
    """
    space = fit_space(people, set(tested))
    empty = Trained(space, tuple(people), {})
    return Trained(space, tuple(people), empty.lay(people))


def remember(
    predicted: Mapping[str, Faces],
    true: Faces,
    fold_of: Mapping[str, int],
    shipped: Mapping[str, Faces] | None = None,
    progress: Progress = silent,
) -> Result:
    """Measure how near generated faces come to training faces.

    Parameters
    ----------
    predicted
        Method → person → face by a model that never saw the person.
    true
        Person → true face, cut to the scored region; people without a fold are trained on.
    fold_of
        Person → fold.
    shipped
        Kind of face → name → face by a model trained on everybody in `true`: of the training
        people themselves (name: the person), or latent draws (``person#number``).
    progress
        Called after each fold.

    Returns
    -------
    JSON data: way of laying → kind of face → name → figures of `Nearness`.
    """
    result: Result = {FRAME: {}, ALIGNED: {}}

    def note(kind: str, names: Iterable[str], measured: dict[str, Nearness]) -> None:
        for way, found in measured.items():
            result[way].setdefault(kind, {}).update(found.rows(names))

    folds = sorted({fold_of[person] for person in true if person in fold_of})
    for number, fold in enumerate(folds, start=1):
        known = trained(trained_on(true, fold_of, fold), fold_of)
        of_fold = {UNSEEN: true, **predicted}
        for kind, faces in of_fold.items():
            asked = {p: f for p, f in faces.items() if p in true and fold_of.get(p) == fold}
            if not asked:
                continue
            laid = known.lay(asked)
            if kind == UNSEEN:
                note(kind, asked, known.measure(asked, laid))
                continue
            own = known.lay({person: true[person] for person in asked})
            note(kind, asked, known.measure(asked, laid, own))
            note(f"{kind}, {PLANTED}", asked, known.measure(asked, known.planted(laid)))
        progress(number / (len(folds) + bool(shipped)), f"memory {number} of {len(folds)}")
    if shipped:
        everybody = trained(true, fold_of)
        for kind, faces in shipped.items():
            note(kind, faces, everybody.measure(faces, everybody.lay(faces)))
        progress(1.0, "memory of the shipped model")
    return result
