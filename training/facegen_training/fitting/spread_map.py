"""Where on the face a network's spread is too small or too large, found on unseen people.

A network learns its spread voxel by voxel and hardly knows the nose's tip from the forehead; the
misses of people left out do.  Where they are larger than the spread says, on average over people,
the field that the spread starts from is raised, and lowered where they are smaller.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from facegen_inference.volume import Grid
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import POOL
from facegen_training.fitting.calibrate import unseen_fields
from facegen_training.fitting.true_samples import TrueSamples
from facegen_training.networks.learner import FaceNetwork, Learner

Floats = NDArray[np.float32]

KERNEL_MM = 4.0
"""SD of the Gaussian that gathers misses around a place."""
FARTHEST_MM = 10.0
"""A miss counts up to this: beyond it a normal met another fold of the skin."""
LEAST, MOST = 0.25, 4.0
_LEAST_WEIGHT = 1e-4
_SD_OF_MEAN = float(np.sqrt(np.pi / 2))
"""A Gaussian's standard deviation over its mean absolute value."""


def spread_ratio(people: Iterable[TrueSamples], grid: Grid) -> Floats:
    """Return what the spread is to be multiplied by at each place.

    Parameters
    ----------
    people
        Samples of people, each by a prediction that never saw the person; people weigh the same,
        and each counts mirrored too.
    grid
        Grid wanted, in the Frankfurt frame.

    Returns
    -------
    (k, j, i) float32, `LEAST` to `MOST`; away from every face that of the nearest place with one,
    and 1 everywhere where there is no one.
    """
    total = np.zeros((2, *grid.shape))
    for one in people:
        places = np.concatenate([one.met, one.met * [-1, 1, 1]])
        at = np.round(grid.voxel_points(places)).astype(int)
        inside = ((at >= 0) & (at < grid.shape)).all(axis=1)
        miss = _SD_OF_MEAN * np.minimum(np.abs(one.along), FARTHEST_MM)
        both = np.tile(np.stack([miss, one.spread]), 2)[:, inside] / len(places)
        for sums, values in zip(total, both, strict=True):
            np.add.at(sums, tuple(at[inside].T), values)
    sigma = KERNEL_MM / grid.spacing
    found, expected = (gaussian_filter(one, sigma, truncate=3.0) for one in total)
    known = expected > _LEAST_WEIGHT * expected.max()
    if not known.any():
        return np.ones(grid.shape, dtype=np.float32)
    ratio = np.where(known, found / np.where(known, expected, 1), 1)
    nearest = distance_transform_edt(
        ~known, sampling=grid.spacing, return_distances=False, return_indices=True
    )
    return np.asarray(np.clip(ratio[tuple(nearest)], LEAST, MOST), dtype=np.float32)


def correct_spread(data: Dataset, learner: Learner, network: FaceNetwork) -> None:
    """Bring the field that a network's spread starts from to what unseen people miss by.

    To be done before `facegen_training.fitting.calibrate.calibrate`, whose factors hold for the
    spread as it is then.  A network without such a field (``spread_field``, one value a block of
    `POOL` voxels) is left as it is.
    """
    field = getattr(network, "spread_field", None)
    if not isinstance(field, torch.Tensor):
        return
    people = []
    for row in [*data.rows("train"), *data.rows("validation")]:
        fields = unseen_fields(data, learner, network, row)
        samples = None if fields is None else fields.samples()
        if samples is not None:
            people.append(samples)
    ratio = torch.from_numpy(spread_ratio(people, coarse_grid(data.spec.grid)))
    with torch.no_grad():
        field.copy_(field.float() * ratio.reshape(field.shape).to(field.device))


def coarse_grid(grid: Grid) -> Grid:
    """Return the grid of the middles of blocks of `POOL` voxels."""
    k, j, i = (n // POOL for n in grid.shape)
    matrix = grid.patient_from_voxel.copy()
    matrix[:3, 3] = grid.patient_points(np.full((1, 3), (POOL - 1) / 2))[0]
    matrix[:3, :3] *= POOL
    return Grid((k, j, i), matrix)
