"""How the predicted spread becomes bands that hold what they promise, person by person."""

from __future__ import annotations

import numpy as np
import torch

from facegen_inference.card import Calibration
from facegen_inference.face_surface import FACTOR50, FACTOR90
from facegen_training.augment import coarse_points, plain_sample
from facegen_training.losses import face_weight
from facegen_training.network import SkullToFace
from facegen_training.prepare import Dataset


@torch.no_grad()
def calibrate(data: Dataset, network: SkullToFace) -> Calibration:
    """Return factors on the bands, from the people of the part ``validation``.

    Notes
    -----
    For each person the 50 % and the 90 % quantile of |miss| / spread near the true skin of the
    face; the mean over people, divided by a Gaussian's, is the factor.  People weigh the same.
    Few people cannot show that a band may be narrowed, so no factor is below 1.
    """
    face = face_weight(coarse_points(data.spec))
    found = []
    for row in data.rows("validation"):
        sample = plain_sample(data.fields(row), data.spec)
        linear = network.linear(sample.bone, sample.observed)
        distance, spread = network.coarse(sample.bone, sample.observed, linear)
        near = (sample.skin.abs() < 3) & (sample.valid > 0) & (face > 0.5)
        ratio = ((distance - sample.skin).abs() / spread)[near].numpy()
        found.append(np.quantile(ratio, [0.5, 0.9]))
    if not found:
        return Calibration(factor50=1.0, factor90=1.0, people=0, note="Not calibrated.")
    half, most = np.mean(found, axis=0)
    return Calibration(
        factor50=round(max(1.0, float(half / FACTOR50)), 4),
        factor90=round(max(1.0, float(most / FACTOR90)), 4),
        people=len(found),
        note="Bands widened, never narrowed, so that on average over the validation people at "
        "least 50 % and 90 % of the face's skin lie within them; few people, one source: a "
        "person's coverage varies.",
    )
