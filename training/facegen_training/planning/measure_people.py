"""Time the steps of ``facegen-train fit`` on prepared people, through its own loader."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.config import Config
from facegen_training.fitting.loader import Loader, Share
from facegen_training.networks.learner import Batch, Learner
from facegen_training.networks.registry import build_learner
from facegen_training.planning.measure import Settings, Steps, Timed, time_steps
from facegen_training.planning.workloads import Request

NAMES = {"pix2pix3d-fit": "pix2pix3d"}
"""Workload → the network's name in a configuration, where they differ."""


class _Loaded:
    """Batches from the loader, on the device."""

    source = "prepared people"

    def __init__(self, loader: Loader, device: torch.device) -> None:
        self.loader, self.device = loader, device
        self.waited = 0.0

    def step(self) -> Batch:
        started = time.perf_counter()
        (batch,) = self.loader.step()
        moved = {name: values.to(self.device) for name, values in batch.items()}
        self.waited = time.perf_counter() - started
        return moved


def time_fit_step(
    data: Dataset, request: Request, settings: Settings, device: torch.device, seconds: float
) -> Timed:
    """Run steps of a learner for some seconds and return what was measured.

    Parameters
    ----------
    data
        Prepared people; their grid replaces the request's size.
    request, settings, device, seconds
        See `facegen_training.planning.measure.time_step`.
    """
    from tempfile import TemporaryDirectory

    fit = replace(
        request.config.fit,
        batch=request.batch,
        accumulate=1,
        steps=10**9,
        precision=settings.precision,
        checkpoint_activations=request.recompute,
    )
    config = replace(request.config, network=NAMES.get(request.network, request.network), fit=fit)
    with TemporaryDirectory() as folder:
        learner = build_learner(data, config, Path(folder))
        for player in learner.players.values():
            player.to(device)
        loader = Loader(
            learner.sample, Share(fit, 0, 1, data.rows("train")), pin=device.type == "cuda"
        )
        loader.begin_at(0)
        steps = Steps(
            replace(request, size=data.spec.shape, config=config),
            settings,
            learner.players,
            _Loaded(loader, device),
            _stepper(learner, config, settings, device),
        )
        return time_steps(steps, device, seconds)


def _stepper(learner: Learner, config: Config, settings: Settings, device: torch.device):  # type: ignore[no-untyped-def]
    half = settings.precision == "bf16"

    def run(batch: dict[str, Tensor], optimizers: dict[str, torch.optim.Optimizer]) -> None:
        for player in learner.players:
            with _others_frozen(learner.players, player):
                with torch.autocast(device.type, torch.bfloat16, enabled=half):
                    cost, _ = learner.cost(player, learner.players, batch)
                torch.autograd.backward(cost)
            optimizers[player].step()
            optimizers[player].zero_grad()

    return run


@contextmanager
def _others_frozen(players: dict[str, nn.Module], player: str) -> Iterator[None]:
    for name, network in players.items():
        network.requires_grad_(name == player)
    try:
        yield
    finally:
        for network in players.values():
            network.requires_grad_(True)
