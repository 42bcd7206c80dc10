"""Published soft-tissue depths spread over the mean head.

At each landmark of the depth table the depth is log-normal with the table's mean and SD, so that it
is never negative.  Between landmarks the values are interpolated smoothly, then corrected until
depths measured along the landmarks' rays have the mean and SD wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import gaussian_filter, map_coordinates

from facegen_inference.atlas import load_atlas
from facegen_inference.demo_head import HeadModel, load_head_model
from facegen_inference.depth_table import DEFAULT_TABLE, load_depth_table
from facegen_inference.pegs import expected_direction
from facegen_training.synthesis.head_shape import LATTICE_MM, stretch_sd
from facegen_training.synthesis.random_fields import Lattice, grid_points

Floats = NDArray[np.float64]

LIMIT_SD = 3.0
"""Deviations are cut here; beyond, a log-normal depth has no face to stand for it: our choice."""
LEAST_COVER_MM = 1.5
"""Bone is nowhere covered by less; the demonstration head's dermis alone is as thick."""
FURTHEST_MM, STEP_MM = 60.0, 0.25
"""How far the skin is looked for from bone, and in what steps."""
_SMOOTH_MM = 8.0
_ROUNDS = 4
_NODES = np.array([-np.sqrt(3.0), 0.0, np.sqrt(3.0)])
_WEIGHTS = np.array([1.0, 4.0, 1.0]) / 6
"""Gauss-Hermite quadrature over a standard normal deviate."""


@dataclass(frozen=True)
class DepthPoint:
    """One landmark of the depth table on the mean head.

    Attributes
    ----------
    code
        The landmark.
    base, direction
        (3,) on the mean bone, and the unit vector along which depth is measured, frame.
    model_mm
        Depth of the mean head there.
    mean_mm, sd_mm
        Published.
    tip
        (3,) where the published mean puts the skin.
    slant
        How far the skin must be moved along its smoothed normal to add 1 mm of depth.
    """

    code: str
    base: Floats
    direction: Floats
    model_mm: float
    mean_mm: float
    sd_mm: float
    tip: Floats
    slant: float


@dataclass(frozen=True)
class TissueModel:
    """The depth table spread over the mean head; (k, j, i) on a lattice of the frame.

    Attributes
    ----------
    lattice
        Its lattice.
    depth_mm
        Published mean depth, as movement along `normal`.
    shift_mm
        Published mean less the mean head's own depth.
    log_sd
        SD of the depth's logarithm.
    normal
        (3, K, J, I) smoothed outward normal of the skin, (x, y, z).
    points
        The table's landmarks.
    """

    lattice: Lattice
    depth_mm: Floats
    shift_mm: Floats
    log_sd: Floats
    normal: Floats
    points: tuple[DepthPoint, ...]

    def push(self, z: Floats | float) -> Floats:
        """Return how far the skin lies outside the mean head's, (3, K, J, I) mm as (x, y, z).

        `z` holds standard deviations from the mean depth, (k, j, i) or one for all.
        """
        z = np.clip(z, -LIMIT_SD, LIMIT_SD)
        factor = np.exp(self.log_sd * z - self.log_sd**2 / 2)
        return np.asarray((self.shift_mm + self.depth_mm * (factor - 1)) * self.normal)


def last_crossing(values: NDArray[np.floating]) -> float:
    """Return where a ray leaves the skin for good, mm from its start; NaN where it does not.

    `values` are the skin's signed distances at points `STEP_MM` apart.
    """
    inside = np.flatnonzero(values < 0)
    if not len(inside) or inside[-1] + 1 >= len(values):
        return float("nan")
    last = inside[-1]
    return float(STEP_MM * (last + values[last] / (values[last] - values[last + 1])))


@cache
def load_tissue_model() -> TissueModel:
    """Spread the default depth table over the mean head that ships."""
    model = load_head_model()
    step = float(model.grid.spacing[0])
    smooth = gaussian_filter(model.skin, _SMOOTH_MM / step)
    slope = np.stack(np.gradient(smooth, step)[::-1])
    sharp = np.stack(np.gradient(gaussian_filter(model.skin, 1.0), step)[::-1])
    points = tuple(_depth_points(model, slope, sharp))
    lattice = Lattice.over(model.grid, LATTICE_MM)
    where = grid_points(lattice.grid)
    normal = np.stack([_read(model, s, where) for s in slope])
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 0.5)
    blank = np.zeros(lattice.grid.shape)
    normal = normal.reshape(3, *lattice.grid.shape)
    tissue = TissueModel(lattice, blank, blank, blank, normal, points)
    return _calibrated(tissue, model, where)


def _calibrated(tissue: TissueModel, model: HeadModel, where: Floats) -> TissueModel:
    """Fill the fields so that depths along the rays have the published mean and SD.

    What the random shape adds to the spread of depths is left out of the tissue's own SD, down to
    half of the published one.
    """
    points = tissue.points
    tips = np.array([p.tip for p in points])
    mean, sd, slant = (np.array([getattr(p, n) for p in points])
                       for n in ("mean_mm", "sd_mm", "slant"))  # fmt: skip
    own = np.sqrt(np.maximum(sd**2 - stretch_sd(mean) ** 2, (sd / 2) ** 2))
    log_sd = np.sqrt(np.log1p((own / mean) ** 2))
    ideal = mean * np.exp(log_sd * _NODES[:, None] - log_sd**2 / 2)
    shift = slant * (mean - [p.model_mm for p in points])
    wanted_mean, wanted_sd = _moments(ideal)
    for _ in range(_ROUNDS):
        fields = _spread(where, tips, np.stack([slant * mean, shift, log_sd], axis=1))
        # Rounded, so that the last bits of a linear solver decide nothing.
        depth, moved, spread = np.round(fields, 3).reshape(3, *tissue.lattice.grid.shape)
        tissue = replace(tissue, depth_mm=depth, shift_mm=moved, log_sd=spread)
        found_mean, found_sd = _moments(np.stack([_depths(tissue, model, z) for z in _NODES]))
        shift = shift + slant * (wanted_mean - found_mean)
        log_sd = log_sd * np.clip(wanted_sd / found_sd, 0.7, 1.4)
    return tissue


def _moments(depths: Floats) -> tuple[Floats, Floats]:
    """Return mean and SD over `_NODES` (first axis)."""
    mean = _WEIGHTS @ depths
    return mean, np.sqrt(_WEIGHTS @ (depths - mean) ** 2)


def _depths(tissue: TissueModel, model: HeadModel, z: float) -> Floats:
    """Return the depths at the landmarks of the mean skull under tissue of deviation z, mm."""
    along = np.arange(0.0, FURTHEST_MM, STEP_MM)[:, None]
    rays = np.concatenate([p.base + along * p.direction for p in tissue.points])
    at = tissue.lattice.grid.voxel_points(rays).T
    push = [map_coordinates(a, at, order=1, mode="nearest") for a in tissue.push(z)]
    skin = _read(model, model.skin, rays - np.stack(push, axis=1))
    skin = np.minimum(skin, _read(model, model.bone, rays) - LEAST_COVER_MM)
    return np.array([last_crossing(ray) for ray in skin.reshape(len(tissue.points), -1)])


def _spread(where: Floats, tips: Floats, values: Floats) -> Floats:
    """Return values (M, V) given at tips (M, 3) at other points, (V, N).

    Biharmonic splines (kernel r in three dimensions), never beyond the largest and smallest value.
    """
    found = RBFInterpolator(tips, values, kernel="linear", degree=0)(where)
    return np.asarray(np.clip(found, values.min(axis=0), values.max(axis=0)).T)


def _read(model: HeadModel, values: NDArray[np.floating], points: Floats) -> Floats:
    at = model.grid.voxel_points(points).T
    return np.asarray(map_coordinates(values, at, order=1, mode="nearest"), dtype=np.float64)


def _depth_points(model: HeadModel, slope: Floats, sharp: Floats) -> list[DepthPoint]:
    """Return the landmarks that have a published mean and SD, measured on the mean head."""
    table, places = load_depth_table(DEFAULT_TABLE), load_atlas().landmarks
    points = []
    for code, depth in table.depths.items():
        direction = expected_direction(code)
        if direction is None or depth.sd_mm is None or code not in places:
            continue
        base = np.array(places[code])
        ray = base + np.arange(0.0, FURTHEST_MM, STEP_MM)[:, None] * direction
        own = last_crossing(_read(model, model.skin, ray))
        if np.isnan(own):
            continue
        tip = base + own * direction
        moved, met = (
            _unit(np.array([_read(model, a, tip[None])[0] for a in g])) for g in (slope, sharp)
        )
        slant = float(np.clip((direction @ met) / max(float(moved @ met), 0.2), 0.4, 1.5))
        skin = base + depth.mean_mm * direction
        points.append(
            DepthPoint(code, base, direction, own, depth.mean_mm, depth.sd_mm, skin, slant)
        )
    return points


def _unit(v: Floats) -> Floats:
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-9))
