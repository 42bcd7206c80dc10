"""One network in training: wrapped for its ranks, with its optimiser and its running average.

A player's weights may be shared out over the ranks (FSDP2); `whole` and `fill` go between that and
the whole tensors that checkpoints hold, without which a run could not go on with other ranks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from facegen_training.fitting.config import FitConfig

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter."""


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor of its own on the CPU; every rank must call this."""
    tensor = tensor.detach()
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.cpu().clone()


@torch.no_grad()
def fill(target: Tensor, values: Tensor) -> None:
    """Copy whole `values` into `target`, of which this rank may hold a part only."""
    if isinstance(target, DTensor):
        mesh, placements = target.device_mesh, target.placements
        values = values.to(target.device)
        part = distribute_tensor(values, mesh, placements, src_data_rank=None)
        target.to_local().copy_(part.to_local())
    else:
        target.copy_(values)


@dataclass
class Player:
    """One network in training.

    Attributes
    ----------
    name
        Its name among the players.
    raw
        The network itself; its parameters are those that the optimiser moves.
    wrapped
        `raw` as the strategy wants it called when it is this player's move.
    optimizer
        AdamW over `raw`'s parameters.
    trained
        Its parameters that are trained at all.
    """

    name: str
    raw: nn.Module
    wrapped: Any
    optimizer: torch.optim.AdamW
    trained: list[nn.Parameter]

    def freeze(self, frozen: bool) -> None:
        """Let its parameters take part in gradients, or not."""
        for parameter in self.trained:
            parameter.requires_grad_(not frozen)

    def move(self, config: FitConfig, rate: float) -> float:
        """Clip the gradient and take a step; return the gradient's length.

        Nothing is changed where that is not finite.
        """
        gradients = [p.grad for p in self.trained if p.grad is not None]
        length = gradient_length(gradients)
        if math.isfinite(length):
            if length > config.clip:
                for gradient in gradients:
                    gradient.mul_(config.clip / length)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        self.optimizer.zero_grad()
        return length

    def weights(self) -> dict[str, Tensor]:
        """Return parameters and buffers, whole, as ``player.name``; every rank must call this."""
        return {f"{self.name}.{key}": whole(value) for key, value in _tensors(self.raw)}

    def moments(self) -> dict[str, Tensor]:
        """Return the optimiser's state, whole, as ``player.name.moment``; every rank must."""
        return {
            f"{self.name}.{key}.{moment}": whole(value)
            for key, parameter in self.raw.named_parameters()
            for moment, value in self.optimizer.state.get(parameter, {}).items()
        }

    def take(self, weights: dict[str, Tensor], moments: dict[str, Tensor]) -> None:
        """Take over what `weights` and `moments` returned."""
        for key, tensor in _tensors(self.raw):
            fill(tensor, weights[f"{self.name}.{key}"])
        self.optimizer.state.clear()
        for key, parameter in self.raw.named_parameters():
            names = {moment: f"{self.name}.{key}.{moment}" for moment in MOMENTS}
            if names["step"] not in moments:
                continue
            state = {"step": moments[names["step"]].clone()}
            for moment in MOMENTS[1:]:
                state[moment] = torch.zeros_like(parameter)
                fill(state[moment], moments[names[moment]])
            if self.optimizer.defaults["fused"]:
                state["step"] = state["step"].to(parameter.device)
            self.optimizer.state[parameter] = state


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and those buffers that belong to the state."""
    yield from network.state_dict(keep_vars=True).items()


def set_up(fabric: Fabric, name: str, network: nn.Module, config: FitConfig) -> Player:
    """Return a player: moved to the device, wrapped, with its optimiser."""
    if config.channels_last:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                module.register_forward_pre_hook(_channels_last)
    called = torch.compile(network) if config.compile else network
    wrapped = fabric.setup_module(called)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained,
        lr=config.learning_rate,
        betas=(config.betas[0], config.betas[1]),
        weight_decay=config.weight_decay,
        foreach=False,
        fused=fabric.device.type == "cuda",
    )
    return Player(name, network, wrapped, optimizer, trained)


def _channels_last(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Lay a convolution's input out with channels last; its output follows."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tuple(
        x.contiguous(memory_format=formats[x.dim()])
        if isinstance(x, Tensor) and x.dim() in formats
        else x
        for x in inputs
    )


def gradient_length(gradients: list[Tensor]) -> float:
    """Return the Euclidean length of a gradient, the same on every rank.

    Summed in double precision and rounded to single, so that it does not matter in which order
    the parts were added up, nor whether they lie on one rank or on several.
    """
    total = torch.zeros((), dtype=torch.float64)
    shared = None
    for gradient in gradients:
        local = gradient
        if isinstance(gradient, DTensor):
            shared = gradient.device_mesh.get_group("data_parallel")
            local = gradient.to_local()
        if local.numel():
            total = total.to(local.device)
            total += torch.linalg.vector_norm(local, dtype=torch.float64) ** 2
    if shared is not None:
        distributed.all_reduce(total, group=shared)
    return float(total.sqrt().float())


class Average:
    """The running average of a player's weights.

    Parameters
    ----------
    network
        The network before it is wrapped; a copy of it holds the average.
    """

    def __init__(self, network: nn.Module) -> None:
        self.face = deepcopy(network).requires_grad_(False).eval()
        self._shards: dict[str, Tensor] = {}

    def share_out(self, player: Player, device: torch.device) -> None:
        """Begin as the player is, laid out as its wrapped weights are."""
        self.face.to(device)
        self.take(player, {f"{player.name}.{k}": v for k, v in self.face.state_dict().items()})

    @torch.no_grad()
    def follow(self, player: Player, decay: float, step: int) -> None:
        """Let the average follow; quickly at the beginning."""
        keep = min(decay, (1 + step) / (10 + step))
        mine = self.face.state_dict(keep_vars=True)
        for key, fast in _tensors(player.raw):
            if isinstance(fast, DTensor):
                self._shards[key].lerp_(fast.to_local(), 1 - keep)
            elif fast.is_floating_point():
                mine[key].lerp_(fast, 1 - keep)
            else:
                mine[key].copy_(fast)

    @torch.no_grad()
    def gather(self, player: Player) -> nn.Module:
        """Return the averaged network, whole; every rank must call this."""
        mine = self.face.state_dict(keep_vars=True)
        for key, fast in _tensors(player.raw):
            if isinstance(fast, DTensor):
                shard = DTensor.from_local(
                    self._shards[key],
                    fast.device_mesh,
                    fast.placements,
                    shape=fast.shape,
                    stride=fast.stride(),
                )
                fill(mine[key], shard.full_tensor())
        return self.face

    @torch.no_grad()
    def take(self, player: Player, average: dict[str, Tensor]) -> None:
        """Take over an average of whole tensors, named ``player.name``."""
        mine = self.face.state_dict(keep_vars=True)
        for key, fast in _tensors(player.raw):
            values = average[f"{player.name}.{key}"].clone()
            fill(mine[key], values)
            if isinstance(fast, DTensor):
                part = torch.empty_like(fast.detach())
                fill(part, values)
                self._shards[key] = cast(DTensor, part).to_local()
