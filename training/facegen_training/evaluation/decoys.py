"""Decoys: faces of nobody that vary as a fold's training people do, in detail too.

A decoy is the mean face, plus random amounts of the shape model's components, plus detail blended
out of what the model could not explain of people it had not seen.  That detail carries the
coarseness and the meshing of the scans; gaps are those of real scans.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from facegen_training.evaluation.face_map import bands_of, mean_known
from facegen_training.evaluation.face_space import DRAWN, FaceSpace, Matrix

BLENDED = 4
"""People whose detail a decoy blends."""
BLEND_CELLS, COARSER = 11.0, 4
"""Scale on which the blend varies, in cells of about 3 mm, and how coarsely that is drawn."""
MOST_SHIFT, MOST_STRETCH = 5, 0.15
"""Of a person's detail in a decoy: rows, and share of the width."""
AMPLITUDE = 0.8
"""Exponent on how much a person's detail is above the usual: a blend of people is less unusual."""
TURNS, PILOTS, STEP = 6, 250, 0.7
"""Of the tuning: how often, on how many decoys, and how much of a difference is mended."""
CHUNK = 500


@dataclass(frozen=True)
class DecoyMaker:
    """What decoys are drawn from.

    Attributes
    ----------
    space
        The shape model.
    detail
        (D, P) mm, of each person; NaN unknown.
    strength
        Factor on the components.
    """

    space: FaceSpace
    detail: Matrix
    strength: float = 1.0

    def make(self, count: int, seed: int) -> Matrix:
        """Return `count` decoys, laid over the mean face like any other face: (count, P) mm."""
        random, space = np.random.default_rng(seed), self.space
        made = [np.empty((0, len(space.mean)), np.float32)]
        for start in range(0, count, CHUNK):
            shapes = self.shapes(min(CHUNK, count - start), random)
            made.append(space.laid(space.on_map(shapes)))
        return np.concatenate(made)

    def shapes(self, count: int, random: np.random.Generator) -> Matrix:
        """Return decoys (count, P) mm as they are drawn, before they are laid."""
        space, people = self.space, len(self.detail)
        # A face that is unusual in one way is unusual in others: how unusual is one person's.
        whose = random.integers(0, people, count)
        known, spread = space.unseen.scores[:, :DRAWN], np.sqrt(space.variance[:DRAWN])
        known = known - known.mean(axis=0)
        size = np.sqrt(((known / spread) ** 2).mean(axis=1))[whose]
        score = random.normal(size=(count, known.shape[1]))
        size *= self.strength / np.sqrt((score**2).mean(axis=1))
        score *= size[:, None] * spread
        detail = blended(space.on_map(self.detail), space.cells, count, random)
        energy = mean_known(self.detail**2, axis=1)
        energy = energy.mean() * (energy / energy.mean()) ** AMPLITUDE
        share = energy[whose] / np.mean(detail**2, axis=1)
        detail *= np.sqrt(share)[:, None].astype(np.float32)
        shape = space.centre + score.astype(np.float32) @ space.components[:DRAWN] + detail
        shape[np.isnan(self.detail[random.integers(0, people, count)])] = np.nan
        return shape


def blended(
    detail: NDArray[np.float32],
    cells: NDArray[np.bool_],
    count: int,
    random: np.random.Generator,
) -> Matrix:
    """Return new detail (count, P) with the local strength and the spectrum of people's own.

    Parameters
    ----------
    detail
        (D, rows, columns) of people; NaN unknown.
    cells
        (rows, columns) bool, the P cells wanted.
    count
        How many.
    random
        Source of chance.

    Notes
    -----
    Each is a sum of `BLENDED` people's with weights that vary smoothly over the face and whose
    squares add up to one everywhere, so that variances and fine structure are kept.  Each
    person's is shifted a little up or down and widened or narrowed first: no one's own stays in
    place.  Both sides of the face get the same people's, as one's sides belong together.
    """
    row, column = np.nonzero(cells)
    middle = (cells.shape[1] - 1) / 2
    total = np.zeros((count, len(row)), dtype=np.float32)
    square = np.zeros_like(total)
    for _ in range(BLENDED):
        weight = _weights(cells, count, random)
        down = random.integers(-MOST_SHIFT, MOST_SHIFT + 1, (count, 1))
        wide = random.uniform(1 - MOST_STRETCH, 1 + MOST_STRETCH, (count, 1))
        at_row = np.clip(row + down, 0, cells.shape[0] - 1)
        at_column = np.rint(middle + (column - middle) * wide).astype(int)
        at_column = np.clip(at_column, 0, cells.shape[1] - 1)
        taken = detail[random.integers(0, len(detail), (count, 1)), at_row, at_column]
        known = np.isfinite(taken)
        total += np.where(known, weight * taken, 0)
        square += np.where(known, weight**2, 0)
    return np.asarray(total / np.sqrt(np.maximum(square, 1e-12)), dtype=np.float32)


def _weights(cells: NDArray[np.bool_], count: int, random: np.random.Generator) -> Matrix:
    """Return fields (count, P) that vary smoothly over the face, the same on both sides."""
    rows, columns = cells.shape
    coarse = (count, rows // COARSER + 1, columns // COARSER + 1)
    sigma = BLEND_CELLS / COARSER
    field = gaussian_filter(random.normal(size=coarse).astype(np.float32), (0, sigma, sigma))
    fine = field.repeat(COARSER, axis=1).repeat(COARSER, axis=2)[:, :rows, :columns]
    both = fine + fine[:, :, ::-1]
    return np.asarray(gaussian_filter(both, (0, COARSER / 2, COARSER / 2))[:, cells])


def detail_energy(space: FaceSpace, laid: Matrix) -> NDArray[np.float64]:
    """Return the mean log of energy in bands of size (B,) of laid faces (N, P)."""
    difference = np.where(space.compared, laid - space.mean, np.nan).astype(np.float32)
    energy = [
        mean_known(part**2, axis=(1, 2))
        for part in bands_of(space.on_map(difference), space.target.grid)
    ]
    return np.asarray(np.log(np.maximum(energy, 1e-9)).mean(axis=1), dtype=np.float64)


def lopsidedness(space: FaceSpace, laid: Matrix) -> float:
    """Return the mean log of the energy of differences between the sides, of faces (N, P)."""
    difference = np.where(space.compared, laid - space.mean, np.nan).astype(np.float32)
    maps = space.on_map(difference)
    energy = mean_known((maps - maps[:, :, ::-1]) ** 2, (1, 2))
    return float(np.log(np.maximum(energy, 1e-9)).mean())


def decoy_maker(space: FaceSpace) -> DecoyMaker:
    """Return a maker tuned so that decoys have as much detail as people.

    In each band of size, and as much of it different on the two sides.
    """
    maker = DecoyMaker(space, space.unseen.detail)
    bands = detail_energy(space, space.unseen.laid)
    sides = lopsidedness(space, space.unseen.laid)
    for _ in range(TURNS):
        pilot = maker.make(PILOTS, 0)
        gain = np.exp(STEP * np.clip(bands - detail_energy(space, pilot), -1, 1))
        odd = np.exp(STEP * np.clip(sides - lopsidedness(space, pilot), -1, 1))
        parts = bands_of(space.on_map(maker.detail), space.target.grid)
        detail = sum(part * np.float32(g) for part, g in zip(parts[:-1], gain, strict=False))
        detail = np.asarray(detail + parts[-1])
        uneven = np.nan_to_num(detail - detail[:, :, ::-1]) / 2
        detail += np.float32(odd - 1) * uneven
        maker = replace(
            maker,
            detail=detail[:, space.cells],
            strength=maker.strength * float(gain[-1]) ** 0.5,
        )
    return maker
