"""What a prediction costs: one function for each term, a mean over the samples of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from facegen_inference.face_region import region_definition
from facegen_training.fitting.augment import Sample

FAR_MM = 15.0
"""A skin farther away than this from the true one counts as so far away."""


def face_weight(points: Tensor) -> Tensor:
    """Return how much each coarse voxel matters, (Z, Y, X): 1 in and near the face, 0.1 elsewhere.

    Parameters
    ----------
    points
        (Z, Y, X, 3) frame mm.

    Notes
    -----
    A box around the predicted region of any adult; the person's own region is for scoring.
    """
    rules = region_definition()
    _, y, z = points.unbind(-1)
    low = rules.menton[2] - 25
    high = rules.menton[2] + rules.top_height * (rules.nasion[2] - rules.menton[2]) + 15
    inside = (y < -rules.ear_plane_mm + 10) & (z > low) & (z < high)
    return torch.where(inside, 1.0, 0.1)


def near_skin(sample: Sample, face: Tensor, band_mm: float) -> Tensor:
    """Return the weight of each voxel: where the truth is known, near the skin, in the face."""
    return torch.exp(-((sample.skin / band_mm) ** 2)) * sample.valid * face


def distance_error(distance: Tensor, sample: Sample, weight: Tensor) -> Tensor:
    """Return the weighted Huber error of the distance, mm (linear beyond 2 mm)."""
    miss = (distance - sample.skin).abs()
    cost = torch.where(miss < 2, miss * miss / 4, miss - 1)
    return _mean(cost, weight)


def spread_likelihood(distance: Tensor, spread: Tensor, sample: Sample, weight: Tensor) -> Tensor:
    """Return the weighted Gaussian negative log-likelihood of the miss, for the spread alone."""
    miss = (distance.detach() - sample.skin).clamp(-15, 15)
    cost = torch.log(spread) + 0.5 * (miss / spread) ** 2
    return _mean(cost, weight)


def surface_miss(distance: Tensor, sample: Sample, face: Tensor) -> Tensor:
    """Return how far the skin that a field describes lies from the true one in the face, mm.

    The true distance where the field crosses 0 between two neighbouring voxels, `FAR_MM` at most;
    a mean over the crossings, then over samples.  Where a field has none it is `FAR_MM`.

    Notes
    -----
    The field's own value at the true skin would not do: a flat field has small values everywhere
    and describes no better a skin by that.
    """
    known = (sample.valid > 0) & (face > 0.5)
    sums = distance.new_zeros(len(distance))
    counts = distance.new_zeros(len(distance))
    for axis in (2, 3, 4):
        count = distance.shape[axis] - 1
        (d0, s0, k0), (d1, s1, k1) = (
            [field.narrow(axis, start, count) for field in (distance, sample.skin, known)]
            for start in (0, 1)
        )
        crossed = ((d0 < 0) != (d1 < 0)) & k0 & k1
        part = d0 / torch.where(crossed, d0 - d1, torch.ones_like(d0))
        true = (s0 + part * (s1 - s0)).abs().clamp(max=FAR_MM)
        sums = sums + torch.where(crossed, true, torch.zeros_like(true)).flatten(1).sum(dim=1)
        counts = counts + crossed.flatten(1).sum(dim=1)
    missing = torch.full_like(sums, FAR_MM)
    return torch.where(counts > 0, sums / counts.clamp_min(1), missing).mean()


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of each sample of (n, 1, Z, Y, X), then the mean over samples."""
    each = (values * weight).flatten(1).sum(dim=1) / weight.flatten(1).sum(dim=1).clamp_min(1)
    return each.mean()
