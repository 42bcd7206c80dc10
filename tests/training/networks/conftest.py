from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from egg_heads import synthesize
from torch import Tensor, nn

from facegen_inference.card import Calibration
from facegen_inference.network import open_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import Dataset, read_dataset
from facegen_training.export import Trained, export, make_card
from facegen_training.fitting.config import Config, config_from_data
from facegen_training.networks.learner import Batch, Learner
from facegen_training.networks.sdf import LEAST_SPREAD_MM


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Egg heads at 4 mm, where their shell of bone outlives the blocks' mean."""
    spec = PreprocessSpec(shape=(64, 52, 48), spacing_mm=4.0)
    return read_dataset(synthesize(tmp_path_factory.mktemp("finer"), spec, people=15))


@pytest.fixture
def small(tiny: Config) -> Config:
    """Both baselines at a size that steps in a fraction of a second."""
    data = tiny.as_data()
    geometry = {"rows": 48, "columns": 56, "step_mm": 4.0}
    data["depthmap"] = {"geometry": geometry, "width": 8, "discriminator_width": 8, "copies": 4}
    data["pix2pix3d"] = {"ngf": 8, "ndf": 4, "depth": 4}
    return config_from_data(data)


def batch_of(learner: Learner, rows: list[int], random: np.random.Generator) -> Batch:
    samples = [learner.sample(row, random) for row in rows]
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


@pytest.fixture
def stepped() -> Callable[..., dict[str, list[float]]]:
    """A loop as plain as can be: every player in turn, its own Adam, the others frozen."""

    def run(
        learner: Learner, data: Dataset, steps: int, rate: float, players: Sequence[str] = ()
    ) -> dict[str, list[float]]:
        adams = {
            name: torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.999))
            for name, network in learner.players.items()
            if name in (players or learner.players)
        }
        lines: dict[str, list[float]] = {}
        train = data.rows("train")
        for step in range(steps):
            random = np.random.default_rng([7, step])
            rows = random.choice(train, 4, replace=False)
            batch = batch_of(learner, [int(row) for row in rows], random)
            for player, adam in adams.items():
                adam.param_groups[0]["lr"] = rate * (1 - step / steps)
                for name, network in learner.players.items():
                    network.requires_grad_(name == player)
                adam.zero_grad()
                cost, figures = learner.cost(player, learner.players, batch)
                cost.backward()  # type: ignore[no-untyped-call]
                adam.step()
                for name, value in figures.items():
                    lines.setdefault(name, []).append(value)
        return lines

    return run


def gradients(learner: Learner, data: Dataset, player: str) -> dict[str, Tensor | None]:
    """Return each parameter's gradient, of all players, after one player's cost."""
    for name, network in learner.players.items():
        network.requires_grad_(name == player)
        network.zero_grad()
    batch = batch_of(learner, data.rows("train")[:2], np.random.default_rng(0))
    learner.cost(player, learner.players, batch)[0].backward()  # type: ignore[no-untyped-call]
    return {
        f"{name}.{key}": parameter.grad
        for name, network in learner.players.items()
        for key, parameter in network.named_parameters()
    }


@pytest.fixture
def check_gradients() -> Callable[[Learner, Dataset], None]:
    """Check that each player's cost moves all of its parameters and no one else's."""

    def check(learner: Learner, data: Dataset) -> None:
        for network in learner.players.values():
            for module in network.modules():  # what begins at zero lets nothing pass
                if isinstance(module, nn.Conv2d) and not module.weight.any():
                    nn.init.normal_(module.weight, std=0.05)
        for player in learner.players:
            for key, gradient in gradients(learner, data, player).items():
                if key.startswith(f"{player}."):
                    assert gradient is not None, key
                    assert gradient.any(), key
                else:
                    assert gradient is None, key

    return check


@pytest.fixture
def check_file(tmp_path: Path) -> Callable[[Learner, Dataset], None]:
    """Check a network's file: opened by the program, equal to the network, latent and limits."""

    def check(learner: Learner, data: Dataset) -> None:
        network = learner.network(learner.players[learner.face])
        path = tmp_path / "face.onnx"
        skulls = np.stack([data.fields(row)[:2].numpy() for row in (0, 3)])
        skulls[1, 0, :6], skulls[1, 1, :6] = data.spec.clip_mm, 0  # a cut field of view
        trained = Trained(
            learner, network, {"config": {"network": "baseline"}, "sources": ["synthetic"]}
        )
        calibration = Calibration(factor50=1, factor90=1, people=1, note="none")
        card = make_card(data, trained, "test", "0.0.1", False, (), "Not measured.", calibration)
        assert export(trained, card, skulls, path).relative < 1e-4
        model = open_model(path)
        assert model.latent_size == network.latent_size > 0
        latents = np.random.default_rng(0).normal(size=(2, network.latent_size))
        for skull, latent in zip(skulls, latents.astype(np.float32), strict=True):
            with torch.no_grad():
                mine = network(torch.from_numpy(skull[None]), torch.from_numpy(latent[None]))
            for got, wanted in zip(model.run(skull, latent), mine, strict=True):
                miss = np.abs(got - wanted[0, 0].numpy()).max()
                assert miss < 1e-4 * float(wanted.abs().max())
        distance, spread = model.run(skulls[0])
        assert np.abs(distance).max() <= data.spec.clip_mm
        assert spread.min() >= LEAST_SPREAD_MM
        heavy, _ = model.run(skulls[0], np.eye(network.latent_size, dtype=np.float32)[0] * 1.28)
        near = np.abs(distance) < 8
        assert heavy[near].mean() < distance[near].mean() - 0.1, "the first axis is build"

    return check
