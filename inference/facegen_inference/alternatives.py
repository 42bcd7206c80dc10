"""Which alternatives of a face are made: the builds first, then draws that differ from all others.

An alternative is a place in the model's latent space, whose axes are in standard deviations of
what people with the same bone differ by.  Two faces that look alike are one alternative, so a draw
that lies too near to one before is drawn again, and farther out when the space is full.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from facegen_inference.card import Calibration

Floats = NDArray[np.float32]
Latents = dict[str, Floats]

APART_MM = 1.5
"""Root mean square over the face that any two alternatives are at least apart."""
_MARGIN = 1.25
"""Finished surfaces are smoothed and kept off bone, which takes some of the difference."""
_DRAWS = 200
_SCALES = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)


def builds(calibration: Calibration) -> dict[str, float]:
    """Return name → value of the first latent axis of thin, average and heavy."""
    return {"thin": calibration.thin_sd, "average": 0.0, "heavy": calibration.heavy_sd}


def build_latents(size: int, calibration: Calibration) -> Latents:
    """Return the latents of the builds by name, (K,) each; empty without latent axes."""
    if not size:
        return {}
    wanted = {}
    for name, value in builds(calibration).items():
        wanted[name] = np.zeros(size, dtype=np.float32)
        wanted[name][0] = value
    return wanted


def drawn_apart(before: Latents, effects: Floats, count: int, seed: int) -> Latents:
    """Return further alternatives, each at least `APART_MM` from all others where that can be.

    Parameters
    ----------
    before
        What there is already.
    effects
        (K, N) mm: by how much one SD along each axis moves N points of the face's skin.
    count
        How many are wanted.
    seed
        Start of the random numbers; the same seed gives the same draws.

    Returns
    -------
    ``alternative 1`` and so on.

    Notes
    -----
    Draws are from the model's own distribution, a standard Gaussian, until one lies far enough
    from all before; when `_DRAWS` of them did not, from a wider one.  Where the latent axes
    hardly move the face even the widest finds none: then the farthest draw is taken, so that the
    number asked for comes back; `least_apart_mm` tells.
    """
    size = len(effects)
    gram = (effects @ effects.T / max(effects.shape[1], 1)).astype(np.float64)
    random = np.random.default_rng(seed)
    taken = [np.asarray(latent, dtype=np.float64) for latent in before.values()]
    found: Latents = {}
    for number in range(1, count + 1):
        place = _far_enough(np.array(taken).reshape(-1, size), gram, random)
        taken.append(place)
        found[f"alternative {number}"] = place.astype(np.float32)
    return found


def least_apart_mm(latents: Latents, effects: Floats) -> float:
    """Return the root mean square distance of the two faces that lie nearest to each other, mm.

    Parameters are those of `drawn_apart`; infinite for fewer than two.
    """
    shapes = [latent @ effects for latent in latents.values()]
    away = [float(np.sqrt(((a - b) ** 2).mean())) for a, b in combinations(shapes, 2)]
    return min(away, default=float("inf"))


def _far_enough(
    taken: NDArray[np.float64], gram: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Return a draw that lies far enough from those taken, (n, K), or the farthest seen."""
    best, farthest = np.zeros(len(gram)), -1.0
    for scale in _SCALES:
        for draw in scale * random.normal(size=(_DRAWS, len(gram))):
            apart = _nearest_mm(draw, taken, gram)
            if apart >= APART_MM * _MARGIN:
                return np.asarray(draw)
            if apart > farthest:
                best, farthest = draw, apart
    return np.asarray(best)


def _nearest_mm(
    draw: NDArray[np.float64], taken: NDArray[np.float64], gram: NDArray[np.float64]
) -> float:
    """Return the root mean square distance from a draw to the nearest taken, mm."""
    if not len(taken):
        return float("inf")
    away = taken - draw
    return float(np.sqrt(np.einsum("nk,kl,nl->n", away, gram, away).min()))
