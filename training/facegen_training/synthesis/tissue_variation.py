"""Soft tissue of made people: one build factor for the whole face and a smooth local part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facegen_training.synthesis.depth_model import LIMIT_SD, TissueModel
from facegen_training.synthesis.random_fields import mostly_symmetric, stream, unit_field

BUILD_SHARE = 0.5
"""Share of the variance of depth that the build factor explains: our choice."""
LOCAL_MM = 35.0
"""Length over which depths vary together beyond build: our choice."""
UNEVEN = 0.1
"""Share of the local part's variance that differs between the sides: our choice."""


@dataclass(frozen=True)
class Tissue:
    """One person's soft tissue.

    Attributes
    ----------
    push
        (3, K, J, I) float32 mm: how far the skin lies outside the mean head's, (x, y, z), at
        places of the mean head.
    build
        Standard deviations of the build factor; positive is heavy.
    """

    push: NDArray[np.float32]
    build: float


def draw_tissue(tissue: TissueModel, seed: int, number: int) -> Tissue:
    """Return a person's soft tissue.

    Parameters
    ----------
    tissue
        The table over the mean head.
    seed, number
        Of the cohort, of the person.
    """
    random = stream(seed, number, "tissue")
    build = float(random.standard_normal())
    while abs(build) > LIMIT_SD:
        build = float(random.standard_normal())
    local = unit_field(tissue.lattice, LOCAL_MM, random)
    local = mostly_symmetric(local, tissue.lattice, LOCAL_MM, UNEVEN)
    z = np.sqrt(BUILD_SHARE) * build + np.sqrt(1 - BUILD_SHARE) * local
    return Tissue(tissue.push(z).astype(np.float32), build)
