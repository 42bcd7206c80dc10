"""How the predicted spread becomes bands that hold what they promise, person by person."""

from __future__ import annotations

import numpy as np
import torch

from facegen_inference.card import Calibration
from facegen_inference.face_surface import FACTOR50, FACTOR90
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import coarse_points, plain_sample
from facegen_training.fitting.losses import face_weight
from facegen_training.networks.linear import LinearFit
from facegen_training.networks.sdf import SkullToFace, linear_prediction


@torch.no_grad()
def fullness(data: Dataset, network: SkullToFace) -> float:
    """Return how far the network puts the skin of unseen people outside the true one, mm.

    Measured on the part ``validation``, which nothing is fitted to: per person the mean over the
    voxels within 1.5 mm of the true skin of the face, then over people.  0 where there are none.
    """
    face = face_weight(coarse_points(data.spec))
    found = []
    for row in data.rows("validation"):
        sample = plain_sample(data.fields(row), data.spec)
        start = network.linear(sample.bone, sample.observed)
        distance, _ = network.coarse(sample.bone, sample.observed, start)
        near = (sample.skin.abs() < 1.5) & (sample.valid > 0) & (face > 0.5)
        found.append(float((sample.skin - distance)[near].mean()))
    return float(np.mean(found)) if found else 0.0


@torch.no_grad()
def calibrate(
    data: Dataset, network: SkullToFace, linear: LinearFit, sharp_mm: float = 0.0
) -> Calibration:
    """Return factors on the bands.

    Parameters
    ----------
    data
        Prepared people.
    network
        Trained; its spread is what is calibrated.
    linear
        The linear fit it was trained with, for its parts that left people out.
    sharp_mm
        Goes onto the card as it is; see `Calibration`.

    Notes
    -----
    For each person the 50 % and the 90 % quantile of |miss| / spread near the true skin of the
    face; the mean over people, divided by a Gaussian's, is the factor.  People weigh the same.
    A training person's miss is that of the linear part which never saw the person: the network
    itself has seen everyone, and is better than the linear part on people it has not.  People of
    the part ``validation`` count with the network's own miss.  No factor is below 1.
    """
    face = face_weight(coarse_points(data.spec))
    found = []
    for row in [*data.rows("train"), *data.rows("validation")]:
        sample = plain_sample(data.fields(row), data.spec)
        start = network.linear(sample.bone, sample.observed)
        distance, spread = network.coarse(sample.bone, sample.observed, start)
        distance = distance + network.offset_mm
        if row in linear.fold_of:
            unseen = linear.folds[linear.fold_of[row]]
            distance = linear_prediction(unseen, sample.bone, sample.observed)
        near = (sample.skin.abs() < 3) & (sample.valid > 0) & (face > 0.5)
        ratio = ((distance - sample.skin).abs() / spread)[near].numpy()
        found.append(np.quantile(ratio, [0.5, 0.9]))
    half, most = np.mean(found, axis=0)
    return Calibration(
        factor50=round(max(1.0, float(half / FACTOR50)), 4),
        factor90=round(max(1.0, float(most / FACTOR90)), 4),
        offset_mm=round(network.offset_mm, 3),
        sharp_mm=sharp_mm,
        people=len(found),
        note="Bands scaled on people left out of the linear part, so that on average over people "
        "50 % and 90 % of the face's skin lie within them; people far from the average build "
        "have less.",
    )
