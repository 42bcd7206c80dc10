"""Samples for the depth-map GAN: prepared people as depth maps, their means, random copies.

A sample is one of a fixed number of augmented copies of a person, or its mirror image; copies are
kept in memory once made, and never on disk, as a depth map of a face is a face.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import POOL, Sample, plain_sample, random_sample
from facegen_training.fitting.config import Config
from facegen_training.fitting.losses import face_weight
from facegen_training.networks.baseline_config import DepthmapConfig
from facegen_training.networks.depth_maps import DepthMap, Facing, rays
from facegen_training.networks.depthmap_cgan import bone_maps

MAPS = ("bone", "hit", "observed", "skin", "valid")
"""What is kept of a copy: radii in mm and 0/1, see `MapGenerator.forward`; ``valid`` where the
skin's radius can be believed."""
UNUSUAL_MM = 25.0
"""Skin farther than this from the mean is not learned from."""
_IS_RADIUS = np.array([1, 0, 0, 1, 0], dtype=np.float32).reshape(5, 1, 1)
_STORED = np.array([100, 1, 1, 100, 1], dtype=np.float32).reshape(5, 1, 1)


def mean_skin(people: list[Sample], spec: PreprocessSpec, config: DepthmapConfig) -> Tensor:
    """Return the mean radius of people's skin, (1, 1, rows, columns) mm."""
    maker = MapMaker(spec, config, torch.zeros(1))
    skins = [maker.skin(sample) for sample in people]
    radius, known = (torch.cat(maps) for maps in zip(*skins, strict=True))
    first = _filled_mean(radius, known)
    return _filled_mean(radius, known * _usual(radius, first))


def _usual(radius: Tensor, mean: Tensor) -> Tensor:
    """Return 1 where the skin may be a face's; 0 where it is a shoulder, a tube or a hand."""
    return ((radius - mean).abs() < UNUSUAL_MM).float()


@dataclass(frozen=True)
class MapMaker:
    """Makes depth maps of samples.

    Attributes
    ----------
    spec
        Of the input grid.
    config
        Of the maps.
    mean_skin
        (1, 1, rows, columns) mm; bone is looked for under it.
    """

    spec: PreprocessSpec
    config: DepthmapConfig
    mean_skin: Tensor

    @cached_property
    def depth_map(self) -> DepthMap:
        """The rays, made once in each process."""
        return DepthMap(self.config.geometry, self.spec, POOL)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "depth_map"}

    def skin(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """Return the skin's radius, mm, and where it can be believed, (1, 1, rows, columns)."""
        radius, found = self.depth_map(sample.skin)
        known = self.depth_map.along(sample.valid, radius) > 0.99
        return radius, found * known.float()

    def bone(self, sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the generator takes; see `MapGenerator.forward`."""
        reach = self.config.reach_mm
        return bone_maps(self.depth_map, sample.bone, sample.observed, self.mean_skin, reach)

    def maps(self, sample: Sample) -> Tensor:
        """Return `MAPS`, (5, rows, columns)."""
        skin, valid = self.skin(sample)
        valid = valid * _usual(skin, self.mean_skin)
        return torch.cat([*self.bone(sample), skin, valid], dim=1)[0]


class MeanMaps:
    """The means of the training people as they were scanned.

    Attributes
    ----------
    maker
        Its ``mean_skin`` is the skin's.
    bone
        (1, 1, rows, columns) mm.
    face
        Same shape: how much a pixel matters, 1 in the face and 0.1 elsewhere.
    weight
        `face`, less where the mean skin is seen at a slant: a miss along the ray is less of a
        distance there.
    """

    def __init__(self, maker: MapMaker, people: list[Sample]) -> None:
        self.maker = maker
        bones = [maker.bone(sample)[:2] for sample in people]
        self.bone = _filled_mean(*(torch.cat(maps) for maps in zip(*bones, strict=True)))
        geometry = maker.config.geometry
        start, direction = rays(geometry)
        points = start + maker.mean_skin[0, 0, ..., None] * direction
        self.face = face_weight(points)[None, None]
        self.weight = self.face * Facing(geometry)(maker.mean_skin)


@dataclass(frozen=True)
class MapSamples:
    """Draws training samples in the loader's processes, each of which keeps the copies it made.

    Attributes
    ----------
    data
        Prepared people.
    config
        Settings of the run.
    maker
        Of the maps.
    """

    data: Dataset
    config: Config
    maker: MapMaker
    _kept: dict[tuple[int, int], NDArray[np.int16]] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": {}}

    def __call__(self, row: int, random: np.random.Generator) -> dict[str, Tensor]:
        """Return one copy by name of its maps, (1, rows, columns) float32 each."""
        maps = self.copy(row, int(random.integers(self.config.depthmap.copies)))
        if random.random() < self.config.augment.mirror:
            maps = maps[..., ::-1].copy()
        swell = torch.from_numpy(random.normal(size=(1, 1, 6, 7))).float()
        swell = functional.interpolate(swell, maps.shape[1:], mode="bicubic", align_corners=True)
        swell = self.config.depthmap.swell_mm * swell[0, 0]
        maps += swell.numpy() * _IS_RADIUS
        return {
            name: torch.from_numpy(np.ascontiguousarray(maps[n : n + 1]))
            for n, name in enumerate(MAPS)
        }

    def copy(self, row: int, number: int) -> NDArray[np.float32]:
        """Return one copy's maps, (5, rows, columns) float32; number 0 is as scanned."""
        stored = self._kept.get((row, number))
        if stored is None:
            stored = self._made(row, number)
            if (len(self._kept) + 1) * stored.nbytes <= self.config.depthmap.kept_mb * 1_000_000:
                self._kept[row, number] = stored
        return np.asarray(stored, dtype=np.float32) / _STORED

    def _made(self, row: int, number: int) -> NDArray[np.int16]:
        fields, spec = self.data.fields(row), self.data.spec
        random = np.random.default_rng([self.config.fit.seed, 3, row, number])
        sample = (
            random_sample(fields, spec, self.config.augment, random)
            if number
            else plain_sample(fields, spec)
        )
        return np.asarray(np.round(self.maker.maps(sample).numpy() * _STORED), dtype=np.int16)


def _filled_mean(maps: Tensor, known: Tensor) -> Tensor:
    """Return the mean over people where known, (1, 1, r, c), filled smoothly where no one is."""
    total, count = (maps * known).sum(dim=0, keepdim=True), known.sum(dim=0, keepdim=True)
    mean = total / count.clamp_min(1)
    blurred, share = total, count
    for _ in range(maps.shape[-1]):
        if bool((share > 0).all()):
            break
        blurred, share = (
            functional.avg_pool2d(functional.pad(m, (1, 1, 1, 1), mode="replicate"), 3, 1)
            for m in (blurred, share)
        )
    return torch.where(count > 0, mean, blurred / share.clamp_min(1e-9))
