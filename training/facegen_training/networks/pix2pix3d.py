"""The baseline: a 3-D pix2pix, from one volume to another by a U-Net and a PatchGAN.

The networks alone; `facegen_training.networks.learner` says what trains them.  The defaults are
the size of the field's own plan: one step at 104 × 512 × 512 voxels counts 92.7 TFLOP
(`facegen_training.planning.flops`).  Smaller ones train on a processor.

After Isola et al., Image-to-image translation with conditional adversarial networks, CVPR 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import PatchDiscriminator
from monai.networks.utils import normal_init
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

SLOPE = 0.2
"""Of the leaky rectifiers, as in pix2pix."""
MOST_WIDTHS = 8
"""Channels double with every level up to this many times the first level's."""


@dataclass(frozen=True)
class Pix2PixConfig:
    """Size of both networks.

    Attributes
    ----------
    inputs, outputs
        Channels of the condition and of what is made from it.
    ngf, ndf
        Channels of the first level of the generator and of the discriminator.
    z_strides
        What each level of the generator divides the slices by, 1 or 2; rows and columns are
        halved at every level.  Its length is the generator's depth.
    patch_layers
        Strided layers of the discriminator; with 3 a patch is 70 voxels wide.
    squash
        Whether the output passes a tanh.
    checkpointed
        Keep only what passes between levels and compute the rest again on the way back.
    """

    inputs: int = 1
    outputs: int = 1
    ngf: int = 136
    ndf: int = 136
    z_strides: tuple[int, ...] = (2, 2, 2, 1, 1, 1, 1)
    patch_layers: int = 3
    squash: bool = True
    checkpointed: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level of the generator."""
        return tuple(min(2**n, MOST_WIDTHS) * self.ngf for n in range(len(self.z_strides)))

    @property
    def divisor(self) -> tuple[int, int, int]:
        """What (Z, Y, X) must be divisible by to pass without padding."""
        in_plane = 2 ** len(self.z_strides)
        return math.prod(self.z_strides), in_plane, in_plane


class VolumeNorm(nn.Module):
    """Instance normalisation that exports without drift.

    In an exported graph the mean is taken over columns, then rows, then slices: runtimes add up
    a whole volume in one single-precision sum, which is off by 3e-3 at 104 × 512 × 512, while
    the three short sums stay below 5e-7.  In training torch's own kernel does the same.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return x (n, C, Z, Y, X) with mean 0 and variance 1 in each volume, then scaled."""
        if not torch.compiler.is_exporting():
            return functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        x = x - _volume_mean(x)
        scale = torch.rsqrt(_volume_mean(x * x) + self.eps) * self.weight.reshape(1, -1, 1, 1, 1)
        return x * scale + self.bias.reshape(1, -1, 1, 1, 1)


def _volume_mean(x: Tensor) -> Tensor:
    return x.mean(4, keepdim=True).mean(3, keepdim=True).mean(2, keepdim=True)


class Generator(nn.Module):
    """U-Net of strided convolutions of width 4 (3 across slices where these are not halved).

    Parameters
    ----------
    config
        Size.
    """

    def __init__(self, config: Pix2PixConfig) -> None:
        super().__init__()
        self.config = config
        widths, strides = config.widths, config.z_strides
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        last = len(widths) - 1
        for level, (width, stride) in enumerate(zip(widths, strides, strict=True)):
            before = widths[level - 1] if level else config.inputs
            # As in pix2pix: no normalisation at the outermost and the innermost level.
            norm = 0 < level < last
            self.down.append(_level(before, width, stride, norm, nn.LeakyReLU(SLOPE, True)))
        for level in reversed(range(len(widths))):
            inner = widths[level] if level == last else 2 * widths[level]
            if level:
                act = nn.ReLU(True)
                block = _level(inner, widths[level - 1], strides[level], True, act, up=True)
            else:
                block = nn.Sequential(_convolution(inner, config.outputs, strides[0], True, True))
            self.up.append(block)
        self.apply(normal_init)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, outputs, Z, Y, X) of (n, inputs, Z, Y, X).

        What is not divisible by the strides is padded by repeating the border, and cut again.
        """
        size = x.shape[2:]
        excess = [-n % divisor for n, divisor in zip(size, self.config.divisor, strict=True)]
        if any(excess):
            z, y, w = excess
            x = functional.pad(x, (0, w, 0, y, 0, z), mode="replicate")
        passed = []
        for level in self.down:
            x = self._run(level, x)
            passed.append(x)
        x = self._run(self.up[0], passed.pop())
        for level in self.up[1:]:
            x = self._run(_joined(level), x, passed.pop())
        x = x[:, :, : size[0], : size[1], : size[2]]
        return torch.tanh(x) if self.config.squash else x

    def _run(self, level: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        if not (self.config.checkpointed and self.training and torch.is_grad_enabled()):
            return level(*inputs)
        result: Tensor = checkpoint(level, *inputs, use_reentrant=False, preserve_rng_state=False)
        return result


def _joined(level: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a level that joins its inputs itself, so that the joint need not be kept."""
    return lambda x, skip: level(torch.cat([x, skip], dim=1))


def _level(
    inner: int, outer: int, stride: int, norm: bool, act: nn.Module, up: bool = False
) -> nn.Sequential:
    layers: list[nn.Module] = [_convolution(inner, outer, stride, up, bias=not norm)]
    if norm:
        layers.append(VolumeNorm(outer))
    return nn.Sequential(*layers, act)


def _convolution(inner: int, outer: int, stride: int, up: bool, bias: bool) -> Convolution:
    if stride not in (1, 2):
        raise ValueError(f"z strides must be 1 or 2, not {stride}")
    return Convolution(
        3,
        inner,
        outer,
        strides=(stride, 2, 2),
        kernel_size=(4 if stride == 2 else 3, 4, 4),
        padding=1,
        output_padding=0,
        bias=bias,
        conv_only=True,
        is_transposed=up,
    )


class Discriminator(nn.Module):
    """PatchGAN: says of every patch of an image whether it is a real one for its condition."""

    def __init__(self, config: Pix2PixConfig) -> None:
        super().__init__()
        self.checkpointed = config.checkpointed
        self.layers = PatchDiscriminator(
            spatial_dims=3,
            channels=config.ndf,
            in_channels=config.inputs + config.outputs,
            num_layers_d=config.patch_layers,
            norm=("INSTANCE", {"affine": True}),
            activation=("LEAKYRELU", {"negative_slope": SLOPE, "inplace": True}),
        )

    def forward(self, condition: Tensor, image: Tensor) -> Tensor:
        """Return a logit for every patch, (n, 1, z, y, x).

        Parameters
        ----------
        condition, image
            (n, inputs, Z, Y, X) and (n, outputs, Z, Y, X).
        """
        x = torch.cat([condition, image], dim=1)
        for layer in self.layers:
            if self.checkpointed and self.training and torch.is_grad_enabled():
                x = checkpoint(layer, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x)
        return x
