"""How the predicted spread becomes bands that hold what they promise, person by person."""

from __future__ import annotations

import numpy as np

from facegen_inference.card import Calibration
from facegen_inference.errors import UserError
from facegen_inference.face_surface import FACTOR50, FACTOR90
from facegen_training.cohort.dataset import Dataset
from facegen_training.networks.learner import FaceNetwork, Learner


def fullness(data: Dataset, learner: Learner, network: FaceNetwork) -> float:
    """Return how far the network puts the skin of unseen people outside the true one, mm.

    Measured on the part ``validation``, which nothing is fitted to: per person the mean over the
    voxels near the true skin of the face, then over people, whatever offset the network has now
    left in.  0 where there is no one in it.
    """
    found = []
    for row in data.rows("validation"):
        seen = learner.unseen(row, network)
        if seen is not None:
            miss, _, near = seen
            found.append(float(-miss[near].mean()))
    return float(np.mean(found)) if found else 0.0


def calibrate(
    data: Dataset, learner: Learner, network: FaceNetwork, sharp_mm: float = 0.0
) -> Calibration:
    """Return factors on the bands.

    Parameters
    ----------
    data
        Prepared people.
    learner
        Knows predictions that never saw the person they are of.
    network
        Trained; its spread is what is calibrated.
    sharp_mm
        Goes onto the card as it is; see `Calibration`.

    Raises
    ------
    UserError
        When there is no prediction of anyone unseen.

    Notes
    -----
    For each person the 50 % and the 90 % quantile of |miss| / spread near the true skin of the
    face; the mean over people, divided by a Gaussian's, is the factor.  People weigh the same,
    and each counts with a prediction that never saw them (`Learner.unseen`).  No factor is below 1.
    """
    found = []
    for row in [*data.rows("train"), *data.rows("validation")]:
        seen = learner.unseen(row, network)
        if seen is not None:
            miss, spread, near = seen
            found.append(np.quantile((miss.abs() / spread)[near].numpy(), [0.5, 0.9]))
    if not found:
        raise UserError(
            "The bands cannot be calibrated: the network has seen everyone.",
            "Put some people into the part validation.",
        )
    half, most = np.mean(found, axis=0)
    return Calibration(
        factor50=round(max(1.0, float(half / FACTOR50)), 4),
        factor90=round(max(1.0, float(most / FACTOR90)), 4),
        offset_mm=round(network.offset_mm, 3),
        sharp_mm=sharp_mm,
        people=len(found),
        note="Bands scaled on predictions of people who were left out of them, so that on average "
        "over people 50 % and 90 % of the face's skin lie within them; people far from the "
        "average build have less.",
    )
