from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from egg_heads import synthesize

from facegen_inference.card import Calibration, ErrorRow
from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import Dataset, read_dataset
from facegen_training.export import export, make_card, network_of_run
from facegen_training.fitting.config import config_from_data
from facegen_training.fitting.fit import fit
from facegen_training.networks.sdf import SkullToFace

TINY = {
    "linear": {"copies": 3, "rank": 6, "folds": 3, "latents": 2, "feature_band_mm": 16.0},
    "net": {"width": 8, "levels": 2},
    "fit": {"steps": 8, "checkpoint_every": 8, "validate_every": 8, "learning_rate": 5e-3},
}


@dataclass(frozen=True)
class Trained:
    """A tiny network in memory and the model file it was exported to."""

    data: Dataset
    network: SkullToFace
    examples: np.ndarray
    path: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("parity")
    spec = PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0)
    data = read_dataset(synthesize(folder / "people", spec, people=10))
    checkpoint = fit(data, folder / "run", config_from_data(TINY))
    network = network_of_run(data, checkpoint)
    examples = np.stack([data.fields(row)[:2].numpy() for row in data.rows("test")])
    path = folder / "tiny.onnx"
    export(network, card_of(data, network), examples, path)
    return Trained(data, network, examples, path)


def card_of(data: Dataset, network: SkullToFace):  # type: ignore[no-untyped-def]
    row = ErrorRow(
        method="neural",
        people=2,
        mean_mm=2.0,
        median_mm=1.5,
        p95_mm=6.0,
        below_2mm_percent=60,
        below_2_5mm_percent=70,
    )
    calibration = Calibration(factor50=1.1, factor90=1.2, people=2, note="synthetic")
    return make_card(data, network, "tiny", "0.0.1", False, (row,), "synthetic", calibration)


@pytest.fixture
def make_tiny_card(trained: Trained) -> Callable[[], object]:
    return lambda: card_of(trained.data, trained.network)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
