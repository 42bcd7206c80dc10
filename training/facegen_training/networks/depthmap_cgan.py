"""The depth-map baseline: a 2-D conditional GAN from the bone's depth map to the skin's.

After Pan et al., From skulls to faces: a deep generative framework for realistic 3D craniofacial
reconstruction, MMM 2024 (doi 10.1007/978-3-031-53305-1_24): faces and skulls as depth maps,
residual blocks, and a discriminator that joins features of several receptive fields in one output.
Two things differ, as the training scans carry no age and no sex: the blocks are not modulated by
them; and the loss that reads the condition back from the face, theirs of age and sex, is here of
the condition there is, the bone's depth.

The graph that is exported makes the depth map itself and turns the answer into a distance field.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.fitting.augment import POOL
from facegen_training.networks.baseline_config import DepthmapConfig
from facegen_training.networks.depth_maps import DepthMap, DistanceField, grid_points
from facegen_training.networks.sdf import LEAST_SPREAD_MM, MOST_SPREAD_MM, up_matrix

BONE_LEVEL_MM = 1.0
"""The bone's map is of this level of its distance: the thin walls of orbits and sinuses, lost to
the blocks' mean at level 0, are then found about as often as on the input grid."""
UNIT_MM = 10.0
"""Networks see and give lengths in this unit."""


class PixelNorm(nn.Module):
    """Divide by the root mean square over channels, pixel by pixel: exports without drift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return x (n, C, rows, columns) normalised."""
        scaled: Tensor = x * torch.rsqrt((x * x).mean(dim=1, keepdim=True) + 1e-4) * self.scale
        return scaled


class ResidualBlock(nn.Module):
    """Two convolutions beside a way past them; the second begins at zero."""

    def __init__(self, inner: int, outer: int, stride: int = 1) -> None:
        super().__init__()
        self.norm = PixelNorm(inner)
        self.first = nn.Conv2d(inner, outer, 3, stride=stride, padding=1)
        self.second = nn.Conv2d(outer, outer, 3, padding=1)
        straight = inner == outer and stride == 1
        self.past = nn.Identity() if straight else nn.Conv2d(inner, outer, stride, stride=stride)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, outer, rows / stride, columns / stride)."""
        change = self.first(functional.leaky_relu(self.norm(x), 0.1))
        past: Tensor = self.past(x)
        total: Tensor = past + self.second(functional.leaky_relu(change, 0.1))
        return total


class MapGenerator(nn.Module):
    """From the bone's depth map to the skin's: a U-Net of residual blocks; begins as the mean face.

    The means and what is known of people's misses are buffers and travel with the weights.

    Parameters
    ----------
    config
        Sizes.
    latents
        Number of latent axes.
    """

    mean_bone: Tensor
    mean_skin: Tensor
    latent_maps: Tensor
    spread_map: Tensor
    coordinates: Tensor
    up_rows: Tensor
    up_columns: Tensor

    def __init__(self, config: DepthmapConfig, latents: int) -> None:
        super().__init__()
        self.config = config
        rows, columns = config.geometry.rows, config.geometry.columns
        for name, value in (("mean_bone", 60.0), ("mean_skin", 80.0), ("spread_map", 3.0)):
            self.register_buffer(name, torch.full((1, 1, rows, columns), value))
        self.register_buffer("latent_maps", torch.zeros(latents, rows, columns))
        across = torch.linspace(-1, 1, columns).expand(rows, columns)
        down = torch.linspace(-1, 1, rows)[:, None].expand(rows, columns)
        coordinates = torch.stack([across, across.abs(), down])[None]
        self.register_buffer("coordinates", coordinates.contiguous(), persistent=False)
        for name, count in (("up_rows", rows // 2), ("up_columns", columns // 2)):
            self.register_buffer(name, up_matrix(count), persistent=False)
        widths = [config.width * (2 + n) // 2 for n in range(config.levels)]
        inputs = 7 * config.coarsest**2
        self.stem = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            [ResidualBlock(widths[0], widths[0])]
            + [
                nn.Sequential(ResidualBlock(a, b, stride=2), ResidualBlock(b, b))
                for a, b in pairwise(widths)
            ]
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Dropout2d(config.dropout), ResidualBlock(a + b, a), ResidualBlock(a, a)
            )
            for a, b in pairwise(widths)
        )
        self.last = nn.Conv2d(widths[0], 2, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)
        self.read_back = nn.Sequential(
            nn.Conv2d(4, 24, 5, padding=2),
            nn.LeakyReLU(0.1),
            nn.Conv2d(24, 24, 5, padding=2),
            nn.LeakyReLU(0.1),
            nn.Conv2d(24, 1, 3, padding=1),
        )

    def forward(self, bone: Tensor, hit: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the skin's depth map, its spread, and the bone's depth as read back from the face.

        Parameters
        ----------
        bone
            Radius of the bone, (n, 1, rows, columns) mm; anything where `hit` is 0.
        hit, observed
            1 where there is bone within reach; 1 where the scanner looked.

        Returns
        -------
        Radius and spread (one SD along the ray), (n, 1, rows, columns) mm; the difference of the
        bone to the mean one in units of `UNIT_MM`, (n, 1, rows / coarsest, columns / coarsest).
        """
        difference = bone_difference(bone, hit, self.mean_bone, self.config)
        depth = (self.mean_skin - bone) * hit / (2 * UNIT_MM)
        coordinates = self.coordinates.expand(len(bone), -1, -1, -1)
        x = torch.cat([difference, depth, hit, observed, coordinates], dim=1)
        x = self.stem(functional.pixel_unshuffle(x, self.config.coarsest))
        passed = []
        for level in self.down:
            x = level(x)
            passed.append(x)
        for level, skip in zip(reversed(self.up), reversed(passed[:-1]), strict=True):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = level(torch.cat([skip, x], dim=1))
        change, log_spread = self.last(x).chunk(2, dim=1)
        places = functional.avg_pool2d(coordinates, self.config.coarsest)
        condition = self.read_back(torch.cat([change, places], dim=1))
        skin = self.mean_skin + UNIT_MM * self._finer(change)
        spread = self.spread_map * torch.exp(2 * torch.tanh(self._finer(log_spread)))
        return skin, spread.clamp(LEAST_SPREAD_MM, MOST_SPREAD_MM), condition

    def _finer(self, x: Tensor) -> Tensor:
        return self.up_rows @ x @ self.up_columns.T if self.config.coarsest == 2 else x


def bone_difference(bone: Tensor, hit: Tensor, mean: Tensor, config: DepthmapConfig) -> Tensor:
    """Return how the bone differs from the mean one, in `UNIT_MM`; 0 without bone, or far off."""
    off = bone - mean
    return off * torch.exp(-((off / config.influence_mm) ** 2)) * hit / UNIT_MM


class MapDiscriminator(nn.Module):
    """Says of every patch whether skin and bone belong together and are a person's.

    Features after one, two and three halvings, and so of three receptive fields, are brought to
    one size and judged together in one output, after the idea of Pan et al.
    """

    mean_bone: Tensor
    mean_skin: Tensor

    def __init__(self, config: DepthmapConfig) -> None:
        super().__init__()
        self.config = config
        rows, columns = config.geometry.rows, config.geometry.columns
        for name, value in (("mean_bone", 60.0), ("mean_skin", 80.0)):
            self.register_buffer(name, torch.full((1, 1, rows, columns), value))
        width = config.discriminator_width
        widths = (3, width, 2 * width, 2 * width)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 4, stride=2, padding=1), nn.LeakyReLU(0.2))
            for a, b in pairwise(widths)
        )
        self.joined = nn.ModuleList(nn.Conv2d(w, width, 1) for w in widths[1:])
        self.verdict = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.Conv2d(3 * width, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 1),
        )

    def forward(self, bone: Tensor, hit: Tensor, skin: Tensor) -> Tensor:
        """Return (n, 1, r, c), high for real, of radii and hits (n, 1, rows, columns)."""
        difference = bone_difference(bone, hit, self.mean_bone, self.config)
        maps = torch.cat([difference, hit, (skin - self.mean_skin) / UNIT_MM], dim=1)
        x = functional.avg_pool2d(maps, self.config.coarsest)
        features = []
        for stage, join in zip(self.stages, self.joined, strict=True):
            x = stage(x)
            features.append(join(x))
        size = features[1].shape[2:]
        one_size = [functional.avg_pool2d(features[0], 2), features[1]]
        one_size.append(functional.interpolate(features[2], size=size, mode="nearest"))
        verdict: Tensor = self.verdict(torch.cat(one_size, dim=1))
        return verdict


class SkullToDepthMap(nn.Module):
    """The graph that is exported: input grid, depth map, generator, distance field.

    Parameters
    ----------
    spec
        The input grid.
    generator
        Trained.
    """

    def __init__(self, spec: PreprocessSpec, generator: MapGenerator) -> None:
        super().__init__()
        self.spec = spec
        self.offset_mm = 0.0
        self.latent_size = len(generator.latent_maps)
        self.generator = generator
        geometry = generator.config.geometry
        self.depth_map = DepthMap(geometry, spec, POOL)
        self.field = DistanceField(geometry, grid_points(spec))

    def maps(self, bone: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Return the skin's radius and its spread, (n, 1, rows, columns) mm, latent zero.

        Parameters
        ----------
        bone, observed
            (n, 1, Z, Y, X) as `facegen_training.fitting.augment.Sample` has them.
        """
        generator = self.generator
        reach = generator.config.reach_mm
        maps = bone_maps(self.depth_map, bone, observed, generator.mean_skin, reach)
        skin, spread, _ = generator(*maps)
        return skin, spread

    def forward(self, skull: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return distance and spread, (1, 1, Z, Y, X) mm each, on the input grid.

        Parameters
        ----------
        skull
            (1, 2, Z, Y, X), what `facegen_inference.preprocess.preprocess` returns.
        latent
            (1, K); zero is most likely.
        """
        observed = (functional.avg_pool3d(skull[:, 1:2], POOL) > 0.99).float()
        bone = functional.avg_pool3d(skull[:, :1], POOL)
        bone = bone * observed + self.spec.clip_mm * (1 - observed)
        skin, spread = self.maps(bone, observed)
        moved = latent @ self.generator.latent_maps.flatten(1)
        distance, spread = self.field(skin + moved.reshape(skin.shape), spread)
        distance = (distance + self.offset_mm).clamp(-self.spec.clip_mm, self.spec.clip_mm)
        return distance, spread.clamp(LEAST_SPREAD_MM, MOST_SPREAD_MM)


def bone_maps(
    depth_map: DepthMap, bone: Tensor, observed: Tensor, mean_skin: Tensor, reach_mm: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the bone's radius, where there is bone within reach, and where the scanner looked.

    Parameters
    ----------
    bone, observed
        (n, 1, Z, Y, X) on the coarse grid.
    mean_skin
        (1, 1, rows, columns) mm: bone is looked for under it, and the scanner at it.
    """
    radius, found = depth_map(bone, BONE_LEVEL_MM)
    hit = found * (radius > mean_skin - reach_mm).float()
    seen = (depth_map.along(observed, mean_skin) > 0.5).float()
    return radius, hit, seen
