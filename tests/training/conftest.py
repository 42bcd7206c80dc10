from __future__ import annotations

from pathlib import Path

import pytest
from egg_heads import synthesize

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import Dataset, read_dataset
from facegen_training.fitting.config import Config, config_from_data


@pytest.fixture(scope="session")
def coarse_spec() -> PreprocessSpec:
    """The shipped field of view at 8 mm: small enough to train in seconds."""
    return PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0)


@pytest.fixture(scope="session")
def people(coarse_spec: PreprocessSpec, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("people")
    return read_dataset(synthesize(folder, coarse_spec, people=15))


@pytest.fixture
def tiny() -> Config:
    return config_from_data(
        {
            "linear": {"copies": 3, "rank": 6, "folds": 3, "latents": 2, "feature_band_mm": 16.0},
            "net": {"width": 8, "levels": 2},
            "fit": {"steps": 6, "checkpoint_every": 3, "validate_every": 6, "warmup_steps": 2},
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"
