"""What a prediction costs: one function for each term, a mean over the samples of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from facegen_inference.face_region import region_definition
from facegen_training.fitting.augment import Sample


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
    """Return the mean absolute miss within 4 mm of the true skin in the face, mm."""
    near = ((sample.skin.abs() < 4) & (face > 0.5)).float() * sample.valid
    return _mean((distance - sample.skin).abs(), near)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of each sample of (n, 1, Z, Y, X), then the mean over samples."""
    each = (values * weight).flatten(1).sum(dim=1) / weight.flatten(1).sum(dim=1).clamp_min(1)
    return each.mean()
