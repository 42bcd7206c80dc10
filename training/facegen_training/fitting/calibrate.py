"""How the predicted spread becomes bands that hold what they promise, person by person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.bands import FACTOR50, FACTOR90
from facegen_inference.card import TENTH_SD, Calibration, RegionBands
from facegen_inference.errors import UserError
from facegen_inference.face_region import REGION_NAMES
from facegen_inference.missing_bone import missing_bone
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import POOL, plain_sample
from facegen_training.fitting.true_samples import PersonFields
from facegen_training.networks.learner import FaceNetwork, Learner

Floats = NDArray[np.float32]

LEVELS = (0.5, 0.9)
LEAST_PEOPLE = 10
"""With fewer people a region has no factors of its own, and builds are a Gaussian's."""
LEAST_SAMPLES = 30
"""A person with fewer in a region has no say in it."""
BUILD_PEOPLE = 8
"""On so many the effect of the first latent axis is measured: it hardly differs between them."""
_FACTORS = (0.2, 9.9)
_LEAST_EFFECT_MM = 0.1


@dataclass(frozen=True)
class Needed:
    """What factors one person would have needed.

    Attributes
    ----------
    factors
        (2, N): the least factor on the 50 % and the 90 % band that reaches each sample.
    code
        (N,) region of each sample.
    fuller_mm
        How far the true skin lies outside the predicted one, mean over the face.
    """

    factors: Floats
    code: NDArray[np.int8]
    fuller_mm: float


def fullness(data: Dataset, learner: Learner, network: FaceNetwork) -> float:
    """Return how far the network puts the skin of unseen people outside the true one, mm.

    Measured on everyone there is an unseen prediction of (`Learner.unseen`): per person the mean
    over the voxels near the true skin of the face, then over people, whatever offset the network
    has now left in.  0 where there is no one.  It is to be added to the field, so it is measured
    in the field and not along normals.

    Notes
    -----
    The part ``validation`` alone would not do: builds differ between people by about 2 mm of mean
    depth, so that five of them are off by nearly 1 mm by chance.
    """
    found = []
    for row in [*data.rows("train"), *data.rows("validation")]:
        seen = learner.unseen(row, network)
        if seen is not None:
            miss, _, near = seen
            found.append(float(-miss[near].mean()))
    return float(np.mean(found)) if found else 0.0


def calibrate(
    data: Dataset, learner: Learner, network: FaceNetwork, sharp_mm: float = 0.0
) -> Calibration:
    """Return factors on the bands, for the face and for each region of it, and the builds.

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
    Split conformal prediction for people (`pooled_quantile`): a sample of the true skin needs the
    factor that widens the band at the place its normal meets up to it, missing bone included; the
    factor is such that the share of the skin within the band, averaged over people, is 50 % and
    90 % on people who are yet to come.  People weigh the same.
    """
    found = []
    for row in [*data.rows("train"), *data.rows("validation")]:
        needed = _needed(data, learner, network, row)
        if needed is not None:
            found.append(needed)
    if not found:
        raise UserError(
            "The bands cannot be calibrated: the network has seen everyone.",
            "Put some people into the part validation.",
        )
    half, most = factors_of([one.factors for one in found])
    thin, heavy = builds_of([one.fuller_mm for one in found], _build_effect(data, network))
    return Calibration(
        factor50=half,
        factor90=most,
        regions=regions_of(found),
        thin_sd=thin,
        heavy_sd=heavy,
        offset_mm=round(network.offset_mm, 3),
        sharp_mm=sharp_mm,
        people=len(found),
        note="Bands scaled by region on predictions of people who were left out of them, along the "
        "normals of their true skin, so that on average over people 50 % and 90 % of the face's "
        "skin lie within them; people far from the average build have less. Thin and heavy are "
        "the 10 % and 90 % quantiles of tissue depth over the same people, given their bone.",
    )


def regions_of(people: Sequence[Needed]) -> tuple[RegionBands, ...]:
    """Return the factors of each region in which at least `LEAST_PEOPLE` have samples."""
    regions = []
    for code, name in enumerate(REGION_NAMES):
        inside = [one.factors[:, one.code == code] for one in people] if code else []
        inside = [factors for factors in inside if factors.shape[1] >= LEAST_SAMPLES]
        if len(inside) >= LEAST_PEOPLE:
            half, most = factors_of(inside)
            regions.append(RegionBands(name=name, factor50=half, factor90=most))
    return tuple(regions)


def factors_of(needed: Sequence[Floats]) -> tuple[float, float]:
    """Return the factors of the 50 % and the 90 % band of people's (2, N) needed factors."""
    half, most = (
        float(np.clip(pooled_quantile([one[n] for one in needed], level), *_FACTORS))
        for n, level in enumerate(LEVELS)
    )
    return round(half, 4), round(most, 4)


def pooled_quantile(people: Sequence[Floats], level: float) -> float:
    """Return the value below which a share of a new person's samples lies, on average.

    Parameters
    ----------
    people
        Each person's samples, (N,); every person weighs the same.
    level
        The share wanted, 0 to 1.

    Notes
    -----
    The quantile of the mean of the people's distribution functions at level (K + 1) / K for K
    people, which covers at least `level` of a person exchangeable with them (pooling CDFs: Dunn,
    Wasserman and Ramdas, J. Am. Stat. Assoc. 118, 2491, 2023).  With few people that level is
    beyond 1; it is cut midway between `level` and 1.
    """
    values = np.concatenate(people)
    weights = np.concatenate([np.full(len(one), 1 / (len(one) * len(people))) for one in people])
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    wanted = min(level * (len(people) + 1) / len(people), (1 + level) / 2)
    place = min(int(np.searchsorted(reached, wanted)), len(values) - 1)
    return float(values[order][place])


def builds_of(fuller_mm: Sequence[float], effect_mm: float) -> tuple[float, float]:
    """Return the values of the first latent axis that mean thin and heavy.

    Parameters
    ----------
    fuller_mm
        Of each person left out, how far the true skin lies outside the predicted one on average.
    effect_mm
        How far one SD of the axis moves the skin outward on average.

    Returns
    -------
    Thin, where one person in ten has less tissue, and heavy, where one in ten has more; a
    Gaussian's where there are too few people, or the axis hardly moves the skin.
    """
    if len(fuller_mm) < LEAST_PEOPLE or effect_mm < _LEAST_EFFECT_MM:
        return -TENTH_SD, TENTH_SD
    low, high = np.quantile(fuller_mm, [0.1, 0.9], method="weibull") / effect_mm
    return round(float(np.clip(low, -4, -0.1)), 4), round(float(np.clip(high, 0.1, 4)), 4)


def _needed(data: Dataset, learner: Learner, network: FaceNetwork, row: int) -> Needed | None:
    """Return what factors a person would have needed; None where no prediction is unseen."""
    fields = unseen_fields(data, learner, network, row)
    samples = None if fields is None else fields.samples()
    if samples is None:
        return None
    missing = missing_bone(data.fields(row)[0].numpy(), data.spec.grid)
    reach: Floats = np.abs(samples.along)
    needed = [
        missing.needed(np.asarray(reach / width, np.float32), samples.met) / samples.spread
        for width in (FACTOR50, FACTOR90)
    ]
    return Needed(np.array(needed), samples.code, float(-samples.along.mean()))


def unseen_fields(
    data: Dataset, learner: Learner, network: FaceNetwork, row: int
) -> PersonFields | None:
    """Return a person's prediction by what never saw the person, beside the truth.

    `Learner.unseen` answers on the input grid or on blocks of `POOL` of its voxels; the latter is
    brought to the input grid by cubic interpolation, as the exported graph does.
    """
    seen = learner.unseen(row, network)
    if seen is None:
        return None
    miss, spread = seen[0].numpy(), seen[1].numpy()
    truth = data.fields(row)
    skin, valid = truth[2].numpy(), truth[3].numpy()
    if miss.shape == skin.shape:
        distance = miss + skin
    else:
        coarse = plain_sample(truth, data.spec).skin[0, 0].numpy()
        distance, spread = (_upsampled(f, skin.shape) for f in (miss + coarse, spread))
    return PersonFields(distance, spread, skin, valid, data.spec.grid)


def _upsampled(values: Floats, shape: tuple[int, ...]) -> Floats:
    """Return a field of blocks of `POOL` voxels at every voxel."""
    at = (np.indices(shape, dtype=np.float32) - np.float32((POOL - 1) / 2)) / np.float32(POOL)
    return np.asarray(map_coordinates(values, at, order=3, mode="nearest", output=np.float32))


@torch.no_grad()
def _build_effect(data: Dataset, network: FaceNetwork) -> float:
    """Return how far one SD of the first latent axis moves the skin outward on average, mm."""
    if not network.latent_size:
        return 0.0
    average, heavier = torch.zeros(1, network.latent_size), torch.zeros(1, network.latent_size)
    heavier[0, 0] = 1
    moved = []
    for row in [*data.rows("validation"), *data.rows("train")][:BUILD_PEOPLE]:
        truth = data.fields(row)
        (start, spread), (end, _) = (network(truth[None, :2], z) for z in (average, heavier))
        fields = PersonFields(
            end[0, 0].numpy(),
            spread[0, 0].numpy(),
            start[0, 0].numpy(),
            np.ones(data.spec.shape, np.float32),
            data.spec.grid,
        )
        samples = fields.samples()
        if samples is not None:
            moved.append(float(samples.along.mean()))
    return float(np.mean(moved)) if moved else 0.0
