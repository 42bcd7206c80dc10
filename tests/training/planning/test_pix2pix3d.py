"""The baseline's networks: size, padding, checkpointing, export, and that they can learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from facegen_training.networks.pix2pix3d import (
    Discriminator,
    Generator,
    Pix2PixConfig,
    VolumeNorm,
)

TINY = {"inputs": 2, "ngf": 4, "ndf": 4, "z_strides": (2, 2, 1), "patch_layers": 2}


def _step(generator: nn.Module, discriminator: nn.Module, condition: Tensor, real: Tensor) -> None:
    """One step of both networks: three passes of the discriminator, one of the generator."""
    made = generator(condition)
    wrong = discriminator(condition, made.detach()).square().mean()
    right = (discriminator(condition, real) - 1).square().mean()
    (wrong + right).backward()
    discriminator.requires_grad_(False)
    fooled = (discriminator(condition, made) - 1).square().mean()
    (fooled + 100 * (made - real).abs().mean()).backward()


def _pair(config: Pix2PixConfig) -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    return Generator(config), Discriminator(config)


def test_the_baseline_counts_what_the_plan_counts() -> None:
    with torch.device("meta"):
        pair = _pair(Pix2PixConfig())
        volume = torch.empty(1, 1, 104, 512, 512)
        counter = FlopCounterMode(display=False)
        with counter:
            _step(*pair, volume, volume.clone())
    assert counter.get_total_flops() / 1e12 == pytest.approx(92.74, rel=1e-3)


@pytest.mark.parametrize("shape", [(32, 28, 24), (16, 13, 12), (17, 21, 14)])
def test_any_size_comes_back(shape: tuple[int, int, int]) -> None:
    generator, discriminator = _pair(Pix2PixConfig(**TINY))
    condition = torch.randn(2, 2, *shape)
    made = generator(condition)
    assert made.shape == (2, 1, *shape)
    assert made.abs().max() <= 1
    assert discriminator(condition, made).shape[:2] == (2, 1)


def test_padding_repeats_the_border() -> None:
    generator, _ = _pair(Pix2PixConfig(**TINY))
    x = torch.randn(1, 2, 16, 24, 24)
    x[:, :, :, :, 20:] = x[:, :, :, :, 19:20]
    torch.testing.assert_close(generator(x[..., :20]), generator(x)[..., :20])


def test_checkpointing_changes_memory_not_gradients() -> None:
    shape = (16, 16, 16)
    condition, real = torch.randn(1, 2, *shape), torch.rand(1, 1, *shape)
    gradients = []
    for checkpointed in (False, True):
        pair = _pair(Pix2PixConfig(**TINY, checkpointed=checkpointed))
        _step(*pair, condition, real)
        gradients.append([p.grad for network in pair for p in network.parameters()])
    for plain, again in zip(*gradients, strict=True):
        assert plain is not None
        assert torch.equal(plain, again)


def test_what_is_exported_is_the_mean_of_short_sums() -> None:
    norm = VolumeNorm(3)
    norm.weight.data.uniform_(0.5, 1.5)
    norm.bias.data.normal_()
    x = torch.randn(1, 3, 24, 32, 40) + 5
    program = torch.export.export(norm, (x,))
    names = {str(node.target) for node in program.graph.nodes}
    assert not any("norm" in name for name in names)
    assert any("mean" in name for name in names)
    exact = (x.double() - x.double().mean((2, 3, 4), keepdim=True)) / torch.sqrt(
        x.double().var((2, 3, 4), keepdim=True, correction=0) + norm.eps
    )
    exact = exact * norm.weight.reshape(1, -1, 1, 1, 1) + norm.bias.reshape(1, -1, 1, 1, 1)
    for result in (norm(x), program.module()(x)):
        torch.testing.assert_close(result.double(), exact, rtol=0, atol=5e-6)


def test_a_tiny_one_learns() -> None:
    generator, discriminator = _pair(Pix2PixConfig(**TINY))
    grid = torch.linspace(-1, 1, 16)
    ball = 1 - (grid[:, None, None] ** 2 + grid[:, None] ** 2 + grid**2)
    condition = torch.stack([ball, ball * 0])[None]
    real = torch.tanh(ball - 0.4)[None, None]
    optimizers = [torch.optim.Adam(n.parameters(), 2e-3) for n in (generator, discriminator)]
    errors = []
    for _ in range(60):
        discriminator.requires_grad_(True)
        for optimizer in optimizers:
            optimizer.zero_grad()
        _step(generator, discriminator, condition, real)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            errors.append(float((generator(condition) - real).abs().mean()))
    assert errors[-1] < errors[0] / 3, errors[::10]


def test_a_stride_of_three_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 1 or 2"):
        Generator(Pix2PixConfig(z_strides=(3,)))
