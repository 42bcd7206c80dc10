"""The network, one graph from the input grid to the skin: a linear prediction and its correction.

Both work on blocks of two voxels of the input grid (4 mm); the result is brought back to the
grid by cubic interpolation, so that the surface has no steps.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.fitting.augment import POOL, coarse_points
from facegen_training.fitting.config import NetConfig
from facegen_training.networks.linear import LinearFit, LinearPart
from facegen_training.networks.windowed_part import WindowedPart

LEAST_SPREAD_MM = 0.3
MOST_SPREAD_MM = 15.0
BEHIND_MM = 4.0
"""The correction leaves alone what lies farther back (frame y, mm): behind the ears."""


def up_matrix(count: int) -> Tensor:
    """Return the (2·count, count) matrix that brings samples to half their spacing.

    Catmull-Rom interpolation, a quarter of a spacing to either side of each sample, after a
    binomial filter (1 2 1)/4: at every other sample the scans hold only noise, which would stand
    on the face as ripples.  Ends are repeated.
    """
    near = np.array([-0.0703125, 0.8671875, 0.2265625, -0.0234375])  # at a quarter of the way
    matrix = np.zeros((2 * count, count), dtype=np.float32)
    smooth = np.zeros((count, count), dtype=np.float32)
    for n in range(count):
        for tap, weight in zip((-1, 0, 1, 2), near, strict=True):
            matrix[2 * n + 1, np.clip(n + tap, 0, count - 1)] += weight
            matrix[2 * n, np.clip(n - tap, 0, count - 1)] += weight
        for tap, weight in zip((-1, 0, 1), (0.25, 0.5, 0.25), strict=True):
            smooth[n, np.clip(n + tap, 0, count - 1)] += weight
    return torch.from_numpy(matrix @ smooth)


class ChannelNorm(nn.Module):
    """Divide by the root mean square over channels, voxel by voxel: exports without drift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return x (n, C, Z, Y, X) normalised."""
        return x * torch.rsqrt((x * x).mean(dim=1, keepdim=True) + 1e-4) * self.scale


def _block(inner: int, outer: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inner, outer, kernel, stride=stride, padding=kernel // 2),
        ChannelNorm(outer),
        nn.LeakyReLU(0.1),
        nn.Conv3d(outer, outer, 3, padding=1),
        ChannelNorm(outer),
        nn.LeakyReLU(0.1),
    )


class Correction(nn.Module):
    """A small 3-D U-Net on space-to-depth blocks; begins by correcting nothing.

    Parameters
    ----------
    inputs, outputs
        Channels at full resolution.
    config
        Width and levels.
    recompute
        Whether to keep only what passes between levels and compute the rest again on the way
        back.
    """

    def __init__(
        self, inputs: int, outputs: int, config: NetConfig, recompute: bool = False
    ) -> None:
        super().__init__()
        self.recompute = recompute
        widths = [config.width * 2**n for n in range(config.levels)]
        self.down = nn.ModuleList(
            [_block(8 * inputs, widths[0], kernel=1)]
            + [_block(a, b, stride=2) for a, b in pairwise(widths)]
        )
        self.up = nn.ModuleList([_block(a + b, a, kernel=1) for a, b in pairwise(widths)])
        self.last = nn.Conv3d(widths[0], 8 * outputs, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, outputs, Z, Y, X) of (n, inputs, Z, Y, X); Z, Y, X even."""
        x = _to_depth(x)
        passed = []
        for level in self.down:
            x = self._run(level, x)
            passed.append(x)
        for level, skip in zip(reversed(self.up), reversed(passed[:-1]), strict=True):
            x = self._run(level, torch.cat([skip, _doubled(x, skip.shape[2:])], dim=1))
        return _to_space(self.last(x))

    def _run(self, level: nn.Module, x: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return cast(Tensor, checkpoint(level, x, use_reentrant=False))
        return cast(Tensor, level(x))


def _doubled(x: Tensor, size: torch.Size) -> Tensor:
    """Return every voxel of (n, C, Z, Y, X) doubled, cut to a size: nearest interpolation.

    Unlike torch's own its gradient on a GPU does not depend on the order of threads.
    """
    n, c, z, y, w = x.shape
    x = x[:, :, :, None, :, None, :, None].expand(n, c, z, 2, y, 2, w, 2)
    x = x.reshape(n, c, 2 * z, 2 * y, 2 * w)
    return x[:, :, : size[0], : size[1], : size[2]]


def _to_depth(x: Tensor) -> Tensor:
    n, c, z, y, w = x.shape
    x = x.reshape(n, c, z // 2, 2, y // 2, 2, w // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, 8 * c, z // 2, y // 2, w // 2)


def _to_space(x: Tensor) -> Tensor:
    n, c, z, y, w = x.shape
    x = x.reshape(n, c // 8, 2, 2, 2, z, y, w)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // 8, 2 * z, 2 * y, 2 * w)


def rows_in_front(spec: PreprocessSpec) -> int:
    """Return how many rows of the coarse grid, from the front, are corrected; even."""
    y = coarse_points(spec)[0, :, 0, 1]
    return min(max(2 * round(int((y < BEHIND_MM).sum()) / 2), 4), len(y))


class SkullToFace(nn.Module):
    """From bone to the signed distance of the skin and its spread.

    Parameters
    ----------
    spec
        The input grid; its shape must be divisible by four.
    config
        Of the correction.
    features
        Number of voxels that the linear part looks at.
    rank, latents
        Components of the linear part; latent axes.
    """

    mean_bone: Tensor
    mean_skin: Tensor
    features: Tensor
    read: Tensor
    write: Tensor
    latent_fields: Tensor
    spread_field: Tensor
    places: Tensor
    up_z: Tensor
    up_y: Tensor
    up_x: Tensor

    def __init__(
        self, spec: PreprocessSpec, config: NetConfig, features: int, rank: int, latents: int
    ) -> None:
        super().__init__()
        self.spec = spec
        self.latent_size = latents
        self.shape = tuple(n // POOL for n in spec.shape)
        self.influence_mm = 12.0
        self.offset_mm = 0.0
        across = 2 * spec.origin_mm[0] + (spec.shape[2] - 1) * spec.spacing_mm
        self.symmetric = abs(across) < 1e-6  # only then is a mirrored array a mirrored head
        self.front = rows_in_front(spec)
        voxels = int(np.prod(self.shape))
        half = torch.float16
        self.register_buffer("mean_bone", torch.zeros(voxels, dtype=half))
        self.register_buffer("mean_skin", torch.zeros(voxels, dtype=half))
        self.register_buffer("features", torch.zeros(features, dtype=torch.int64))
        self.register_buffer("read", torch.zeros(rank, features, dtype=half))
        self.register_buffer("write", torch.zeros(rank, voxels, dtype=half))
        self.register_buffer("latent_fields", torch.zeros(latents, voxels, dtype=half))
        self.register_buffer("spread_field", torch.ones(voxels, dtype=half))
        places = coarse_points(spec).permute(3, 0, 1, 2)[None] / 100
        self.register_buffer("places", places.to(half), persistent=False)
        for name, count in zip(("up_z", "up_y", "up_x"), self.shape, strict=True):
            self.register_buffer(name, up_matrix(count), persistent=False)
        self.correction = Correction(8, 2, config)
        self.windowed: WindowedPart | None = None

    def load_linear(self, fit: LinearFit) -> None:
        """Take over the linear part fitted on everyone."""
        whole = fit.whole
        self.influence_mm = whole.influence_mm
        for name, values in (
            ("mean_bone", whole.mean_bone),
            ("mean_skin", whole.mean_skin),
            ("features", whole.features),
            ("read", whole.read),
            ("write", whole.write),
            ("latent_fields", fit.latent),
            ("spread_field", fit.spread),
        ):
            getattr(self, name).copy_(torch.from_numpy(values))

    def linear(self, bone: Tensor, observed: Tensor) -> Tensor:
        """Return the linear prediction (n, 1, Z, Y, X) mm on the coarse grid."""
        mean = self.mean_bone.float()
        flat = bone.flatten(1)[:, self.features] - mean[self.features]
        seen = observed.flatten(1)[:, self.features]
        x = flat * torch.exp(-((flat / self.influence_mm) ** 2)) * seen
        components = x @ self.read.float().T
        skin = self.mean_skin.float() + components @ self.write.float()
        return skin.reshape(bone.shape)

    def coarse(
        self,
        bone: Tensor,
        observed: Tensor,
        linear: Tensor,
        correct: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return distance and spread (n, 1, Z, Y, X) mm on the coarse grid, latent zero.

        Parameters
        ----------
        bone, observed
            (n, 1, Z, Y, X) as `facegen_training.fitting.augment.Sample` has them.
        linear
            The linear prediction; in training the one fitted without this person.
        correct
            What corrects; the network's own `Correction` where left out.
        """
        mean = self.mean_bone.float().reshape(1, 1, *self.shape)
        difference = bone - mean
        inputs = [
            difference * torch.exp(-((difference / self.influence_mm) ** 2)) * observed / 6,
            observed,
            bone / 15,
            linear / 15,
            torch.tanh(linear / 6),
            self.places.float().expand(len(bone), -1, -1, -1, -1),
        ]
        front = torch.cat(inputs, dim=1)[:, :, :, : self.front]
        corrected = (self.correction if correct is None else correct)(front)
        behind = self.shape[1] - self.front
        padded = functional.pad(corrected, (0, 0, 0, behind))
        change, log_spread = padded[:, :1], padded[:, 1:]
        base = self.spread_field.float().reshape(1, 1, *self.shape)
        spread = base * torch.exp(2 * torch.tanh(log_spread))
        return linear + 4 * change, spread.clamp(LEAST_SPREAD_MM, MOST_SPREAD_MM)

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
        clip = self.spec.clip_mm
        bone = bone * observed + clip * (1 - observed)
        distance, spread = self.blended(bone, observed)
        moved = latent @ self.latent_fields.float()
        distance = distance + moved.reshape(distance.shape) + self.offset_mm
        return (
            self._upsampled(distance).clamp(-clip, clip),
            self._upsampled(spread).clamp(LEAST_SPREAD_MM, MOST_SPREAD_MM),
        )

    def blended(
        self,
        bone: Tensor,
        observed: Tensor,
        correct: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return distance and spread as `coarse`, as they are used.

        A head and its mirror image are predicted alike: what is said of the one is averaged with
        what is said of the other.  Then the windowed ridge, if there is one, has its share.
        """
        distance, spread = self.coarse(bone, observed, self.linear(bone, observed), correct)
        if self.symmetric:
            turned, unseen = bone.flip(-1), observed.flip(-1)
            other = self.coarse(turned, unseen, self.linear(turned, unseen), correct)
            distance, spread = (
                (mine + its.flip(-1)) / 2
                for mine, its in zip((distance, spread), other, strict=True)
            )
        if self.windowed is not None:
            share = self.windowed.share
            distance = (1 - share) * distance + share * self.windowed(bone, observed)
        return distance, spread

    def _upsampled(self, field: Tensor) -> Tensor:
        """Return (1, 1, Z, Y, X) at half the spacing."""
        field = field @ self.up_x.T
        field = (field.transpose(-1, -2) @ self.up_y.T).transpose(-1, -2)
        return (field.transpose(-1, -3) @ self.up_z.T).transpose(-1, -3)


def linear_prediction(part: LinearPart, bone: Tensor, observed: Tensor) -> Tensor:
    """Return a `LinearPart`'s prediction for (n, 1, Z, Y, X) tensors, same shape, mm."""
    predicted = part.predict(bone.flatten(1).numpy(), observed.flatten(1).numpy())
    return torch.from_numpy(predicted).reshape(bone.shape)
