"""What is random in a training sample, and only that; starts from prepared arrays.

Skull and skin move together (pose, size, a smooth bend, mirror); then the bone alone is damaged as
casework does it: no mandible, no teeth, holes, a cropped field of view, another bone level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.fitting.config import AugmentConfig

POOL = 2
"""The network works on blocks of this many voxels of the model's input grid, per axis."""


@dataclass(frozen=True)
class Sample:
    """Training samples on the network's coarse grid, each (n, 1, Z, Y, X) float32; n is often 1.

    Attributes
    ----------
    bone
        Signed distance to bone, mm, clipped; +clip where not observed.
    observed
        1 where the scanner looked.
    skin
        True signed distance to the skin, mm, clipped.
    valid
        1 where the truth can be believed.
    """

    bone: Tensor
    observed: Tensor
    skin: Tensor
    valid: Tensor


def coarse_points(spec: PreprocessSpec) -> Tensor:
    """Return the frame coordinates of the coarse voxels, (Z, Y, X, 3) float32 (x, y, z) mm."""
    count = [n // POOL for n in spec.shape]
    axes = [
        spec.origin_mm[2 - axis]
        + spec.spacing_mm * (POOL * torch.arange(n, dtype=torch.float32) + (POOL - 1) / 2)
        for axis, n in enumerate(count)
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def plain_sample(fields: Tensor, spec: PreprocessSpec) -> Sample:
    """Return a prepared person on the coarse grid with nothing random.

    Parameters
    ----------
    fields
        (4, Z, Y, X) float32: bone, observed, skin, valid on the model's input grid.
    """
    return sampled(fields, coarse_points(spec), spec)


def random_sample(
    fields: Tensor, spec: PreprocessSpec, config: AugmentConfig, random: np.random.Generator
) -> Sample:
    """Return an augmented copy of a prepared person on the coarse grid."""
    points = coarse_points(spec)
    moved = _moved(points, config, random)
    if random.random() < config.mirror:
        moved = moved * torch.tensor([-1.0, 1.0, 1.0])
    return _damaged(sampled(fields, moved, spec), points, spec, config, random)


def sampled(fields: Tensor, points: Tensor, spec: PreprocessSpec) -> Sample:
    """Sample fields linearly at frame points (Z, Y, X, 3); outside the grid nothing is known."""
    size = torch.tensor([float(n) for n in spec.shape[::-1]])
    origin = torch.tensor(spec.origin_mm)
    at = 2 * (points - origin) / spec.spacing_mm / (size - 1) - 1
    values = functional.grid_sample(
        fields[None], at[None], mode="bilinear", padding_mode="border", align_corners=True
    )
    inside = (at.abs() <= 1).all(dim=-1)[None, None].float()
    bone, observed, skin, valid = (values[:, n : n + 1] for n in range(4))
    seen = (observed > 0.99).float() * inside
    return Sample(
        torch.where(seen > 0, bone, torch.full_like(bone, spec.clip_mm)),
        seen,
        skin,
        (valid > 0.99).float() * inside,
    )


def _rotation(angles: np.ndarray) -> Tensor:
    from scipy.spatial.transform import Rotation

    return torch.tensor(Rotation.from_euler("xyz", angles, degrees=True).as_matrix()).float()


def _moved(points: Tensor, config: AugmentConfig, random: np.random.Generator) -> Tensor:
    """Return where each coarse voxel's value is taken from, (Z, Y, X, 3) frame mm."""
    turn = _rotation(random.uniform(-1, 1, 3) * config.rotation_deg)
    shift = torch.tensor(random.uniform(-1, 1, 3) * config.shift_mm).float()
    scale = torch.tensor(1 + random.uniform(-1, 1, 3) * config.scale).float()
    bend = torch.tensor(random.normal(size=(1, 3, 4, 4, 4)) * config.bend_mm).float()
    bend = functional.interpolate(
        bend, size=tuple(points.shape[:3]), mode="trilinear", align_corners=True
    )
    centre = torch.tensor([0.0, -50.0, -20.0])
    return (points - centre) * scale @ turn.T + centre + shift + bend[0].permute(1, 2, 3, 0)


def _damaged(
    sample: Sample,
    points: Tensor,
    spec: PreprocessSpec,
    config: AugmentConfig,
    random: np.random.Generator,
) -> Sample:
    """Take bone away; a region is given by its depth inside (mm, negative outside)."""
    x, y, z = points.unbind(-1)
    bone = sample.bone + float(random.uniform(-1, 1) * config.level_mm)
    removed: list[Tensor] = []
    if random.random() < config.mandible:
        floor = float(random.uniform(-58, -46))
        ramus = torch.stack([x.abs() - 36, -8 - z, 8 - y]).amin(dim=0)
        jaw = torch.maximum(floor - 0.1 * (y + 80) - z, ramus)
        side = random.choice([-1, 0, 1])
        removed.append(torch.minimum(jaw, side * x + 3) if side else jaw)
    if random.random() < config.teeth:
        height = float(random.uniform(6, 12))
        middle = float(random.uniform(-56, -48))
        band = torch.stack([height - (z - middle).abs(), 32 - x.abs(), -50 - y])
        removed.append(band.amin(dim=0))
    if random.random() < config.hole:
        for _ in range(int(random.integers(1, 4))):
            centre = torch.tensor(random.uniform([-70, -110, -100], [70, 20, 70])).float()
            radius = float(random.uniform(8, 28))
            removed.append(radius - (points - centre).norm(dim=-1))
    for depth in removed:
        bone = torch.maximum(bone, depth[None, None])
    observed = sample.observed
    if random.random() < config.crop:
        depth = _cropped(points, random)[None, None]
        bone = torch.maximum(bone, depth)
        observed = observed * (depth < 0).float()
    bone = bone.clamp(-spec.clip_mm, spec.clip_mm)
    bone = torch.where(observed > 0, bone, torch.full_like(bone, spec.clip_mm))
    return Sample(bone, observed, sample.skin, sample.valid)


def _cropped(points: Tensor, random: np.random.Generator) -> Tensor:
    """Return the depth inside what the scan leaves out: above, below, beside or behind, mm."""
    x, y, z = points.unbind(-1)
    kind = random.choice(["above", "below", "beside", "behind"], p=[0.5, 0.3, 0.1, 0.1])
    if kind == "above":
        return z - float(random.uniform(15, 80))
    if kind == "below":
        return float(random.uniform(-110, -40)) - z
    if kind == "beside":
        return float(random.choice([-1, 1])) * x - float(random.uniform(10, 70))
    return y - float(random.uniform(-20, 30))
