from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from egg_heads import synthesize

from facegen_inference.card import Calibration, ErrorRow, ModelCard
from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import Dataset, read_dataset
from facegen_training.export import Trained, export, make_card, trained_of_run
from facegen_training.fitting.config import config_from_data
from facegen_training.fitting.fit import fit

TINY = {
    "linear": {"copies": 3, "rank": 6, "folds": 3, "latents": 2, "feature_band_mm": 16.0},
    "net": {"width": 8, "levels": 2},
    "fit": {
        "steps": 8,
        "checkpoint_every": 8,
        "validate_every": 8,
        "learning_rate": 5e-3,
        "tensorboard": False,
    },
}


@dataclass(frozen=True)
class Exported:
    """A tiny network in memory and the model file it was exported to."""

    data: Dataset
    trained: Trained
    examples: np.ndarray
    path: Path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("parity")
    spec = PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0)
    data = read_dataset(synthesize(folder / "people", spec, people=10))
    checkpoint = fit(data, folder / "run", config_from_data(TINY))
    trained = trained_of_run(data, checkpoint)
    examples = np.stack([data.fields(row)[:2].numpy() for row in data.rows("test")])
    path = folder / "tiny.onnx"
    export(trained, card_of(data, trained), examples, path)
    return Exported(data, trained, examples, path)


def card_of(data: Dataset, trained: Trained) -> ModelCard:
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
    return make_card(data, trained, "tiny", "0.0.1", False, (row,), "synthetic", calibration)


@pytest.fixture
def make_tiny_card(exported: Exported) -> Callable[[], ModelCard]:
    return lambda: card_of(exported.data, exported.trained)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
