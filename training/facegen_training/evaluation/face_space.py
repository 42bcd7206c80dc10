"""A statistical shape model of some people's faces: their mean, and how they vary.

Fitted inside a fold, on the people a method was trained on.  It lays faces over its mean face, by
the face alone, and describes them by few numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from facegen_inference.errors import UserError
from facegen_inference.face_region import predicted_region
from facegen_inference.mesh import Mesh
from facegen_training.evaluation.face_alignment import Target, aligned_poses, moved
from facegen_training.evaluation.face_map import (
    MapGrid,
    Maps,
    low_passed,
    map_of,
    mean_known,
)

ROUNDS = 3
KEPT_VARIANCE = 0.95
MOST_COMPONENTS = 40
MODELLED, COMPARED = 0.35, 0.8
"""Shares of people who must show a cell for it to be modelled, and of those whose scans are of
the kind that is tested for it to be compared: at the rim who shows a cell depends on the shape."""
DRAWN = 10
"""Components that hold what people share; later ones are largely single people's detail."""
PARTS = 10
"""Of the cross-validation inside the training people."""
LEAST_PEOPLE = 8

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Unseen:
    """The people of a shape model as models without them describe them.

    Attributes
    ----------
    scores
        (D, K) mm.
    left
        (D, P) mm, what the components leave of each; NaN unknown.
    detail
        (D, P) mm, what the first `DRAWN` leave of each before it is smoothed.
    laid
        (D, P) mm, the faces themselves, smoothed.
    """

    scores: Matrix
    left: Matrix
    detail: Matrix
    laid: Matrix


@dataclass(frozen=True)
class FaceSpace:
    """Mean face and variation of some people, in cells of a map.

    Attributes
    ----------
    target
        The mean face to align to.
    cells
        (rows, columns) bool, what is modelled; P cells.
    compared
        (P,) bool, the cells that faces are compared in.
    components
        (K, P), orthonormal.
    unseen
        Those of the people whose scans are of the kind that is tested, by cross-validation.
    """

    target: Target
    cells: NDArray[np.bool_]
    compared: NDArray[np.bool_]
    components: Matrix
    unseen: Unseen

    @property
    def mean(self) -> Matrix:
        """The mean face, (P,) mm."""
        return self.target.mean[self.cells]

    @cached_property
    def centre(self) -> Matrix:
        """The mean of the people whose scans are of the kind that is tested, (P,) mm."""
        known = mean_known(self.unseen.laid)
        return np.where(np.isfinite(known), known, self.mean)

    @property
    def variance(self) -> Matrix:
        """Of unseen people's scores, (K,) mm²."""
        return np.asarray(np.maximum(self.unseen.scores.var(axis=0), 1e-6))

    @property
    def noise(self) -> float:
        """Mean square of what the components leave of unseen people, mm²."""
        return float(np.mean(self.unseen.left[np.isfinite(self.unseen.left)] ** 2))

    def laid(self, maps: Maps) -> Matrix:
        """Return faces (N, rows, columns) laid over the mean face, smoothed: (N, P)."""
        return self.smoothed(moved(maps, aligned_poses(maps, self.target), self.target.grid))

    def smoothed(self, maps: Maps) -> Matrix:
        """Return faces (N, rows, columns) where they are, smoothed, in the modelled cells: (N, P).

        NaN where a face is unknown.
        """
        smooth = low_passed(maps - self.target.mean, self.target.grid)[:, self.cells]
        return np.asarray(self.mean + smooth)

    def on_map(self, values: Matrix) -> Maps:
        """Return values (N, P) in their cells of maps, NaN elsewhere."""
        maps = np.full((len(values), *self.cells.shape), np.nan, dtype=np.float32)
        maps[:, self.cells] = values
        return maps

    def scores(self, laid: Matrix) -> Matrix:
        """Return the scores (N, K) of laid faces (N, P) about `centre`.

        From the compared cells; unknown ones are what is likeliest.
        """
        centred = np.where(self.compared, laid - self.centre, np.float32(np.nan))
        return projected(centred, self.components, self.variance, self.noise)


def projected(centred: Matrix, components: Matrix, variance: Matrix, noise: float) -> Matrix:
    """Return the likeliest scores (N, K) of centred faces (N, P) with unknown cells NaN.

    Probabilistic principal components (Tipping and Bishop 1999): given the known cells, the
    posterior mean of the scores under their prior variance and equal noise in each cell.
    """
    known = np.isfinite(centred)
    size = len(components)
    pairs = (components[:, None] * components[None]).reshape(size * size, -1)
    normals = (known.astype(np.float32) @ pairs.T).reshape(-1, size, size).astype(np.float64)
    normals += np.diag(noise / variance)
    right = (np.where(known, centred, 0) @ components.T).astype(np.float64)
    return np.linalg.solve(normals, right[..., None])[..., 0].astype(np.float32)


def principal(centred: Matrix, most: int) -> tuple[Matrix, Matrix, float]:
    """Return components (K, P), variances (K,) and noise of centred faces (N, P).

    Unknown cells are NaN; they are filled from the components found so far, a few times over.
    As many components as hold `KEPT_VARIANCE`, at most `most`.
    """
    known = np.isfinite(centred)
    filled = np.where(known, centred, 0).astype(np.float32)
    for _ in range(5):
        value, vector = np.linalg.eigh((filled @ filled.T).astype(np.float64))
        value, vector = np.maximum(value[::-1], 0), vector[:, ::-1]
        share = np.cumsum(value) / value.sum()
        size = min(int(np.searchsorted(share, KEPT_VARIANCE)) + 1, most, len(value) - 1)
        components = (vector[:, :size].T @ filled) / np.sqrt(value[:size, None])
        components = components.astype(np.float32)
        variance = np.maximum(value[:size] / len(filled), 1e-6).astype(np.float32)
        noise = max(float(value[size:].sum() / filled.size), 1e-6)
        guess = projected(centred, components, variance, noise) @ components
        filled = np.where(known, centred, guess)
    return components, variance, noise


def fit_space(
    people: Mapping[str, Mesh], tested: Collection[str], grid: MapGrid | None = None
) -> FaceSpace:
    """Fit a shape model to people's true faces.

    Parameters
    ----------
    people
        Person → face in that person's Frankfurt frame, mm, cut to the scored region.
    tested
        People whose scans are of the kind that is tested; some of `people` must be among them.
    grid
        Of the maps.

    Raises
    ------
    UserError
        When there are too few people.
    """
    kind = np.array([person in tested for person in people], dtype=bool)
    if len(people) < LEAST_PEOPLE or not kind.any():
        raise UserError(
            f"{len(people)} people are too few for a model of how faces vary.",
            f"Prepare at least {LEAST_PEOPLE} people.",
        )
    grid = grid or MapGrid()
    maps = np.stack([map_of(mesh, grid) for mesh in people.values()])
    target, placed = _laid_over_their_mean(maps, grid)
    cells = np.isfinite(target.mean)
    share = np.isfinite(placed[kind]).mean(axis=0)
    compared = binary_erosion(cells & (share >= COMPARED))[cells]
    sharp = placed - target.mean
    soft = low_passed(sharp, grid)
    faces, mirror = soft[:, cells], soft[:, :, ::-1][:, cells]
    components, _, _ = principal(np.concatenate([faces, mirror]), MOST_COMPONENTS)
    scores, left, detail = _unseen(faces, mirror, sharp[:, cells], kind, len(components))
    order = np.concatenate([np.flatnonzero(kind & (_parts(len(faces)) == n)) for n in range(PARTS)])
    unseen = Unseen(scores, left, detail, target.mean[cells] + faces[order])
    return FaceSpace(target, cells, compared, components[: scores.shape[1]], unseen)


def _laid_over_their_mean(maps: Maps, grid: MapGrid) -> tuple[Target, Maps]:
    """Return the symmetric mean face and the maps laid over it."""
    placed = maps
    for _ in range(ROUNDS):
        target = Target(_symmetric_mean(placed, grid), grid)
        placed = moved(maps, aligned_poses(maps, target), grid)
    return target, placed


def _symmetric_mean(maps: Maps, grid: MapGrid) -> Maps:
    """Return the mean of maps and their mirror images, NaN outside the predicted region."""
    both = np.concatenate([maps, maps[:, :, ::-1]])
    mean = mean_known(both)
    points = grid.points(mean).reshape(-1, 3).astype(np.float64)
    inside = predicted_region(points).reshape(mean.shape)
    keep = inside & inside[:, ::-1] & (np.isfinite(both).mean(axis=0) >= MODELLED)
    return np.where(keep, mean, np.nan).astype(np.float32)


def _parts(count: int) -> NDArray[np.intp]:
    return np.arange(count) % PARTS


def _unseen(
    faces: Matrix, mirror: Matrix, sharp: Matrix, kind: NDArray[np.bool_], size: int
) -> tuple[Matrix, Matrix, Matrix]:
    """Return scores (D, K), what is left (D, P) and detail (D, P), by models without the person.

    Those whom `kind` (N,) marks are asked about, part after part; all others are learned from.
    """
    part = _parts(len(faces))
    asked = []
    for n in range(PARTS):
        seen, out = part != n, (part == n) & kind
        known = np.concatenate([faces[seen], mirror[seen]])
        mean = np.nan_to_num(mean_known(known))
        components, variance, noise = principal(known - mean, size)
        score = projected(faces[out] - mean, components, variance, noise)
        centred = faces[out] - mean
        detail = sharp[out] - mean - score[:, :DRAWN] @ components[:DRAWN]
        asked.append((score, centred - score @ components, detail))
    least = min(score.shape[1] for score, _, _ in asked)
    return (
        np.concatenate([score[:, :least] for score, _, _ in asked]),
        np.concatenate([left for _, left, _ in asked]),
        np.concatenate([detail for _, _, detail in asked]),
    )
