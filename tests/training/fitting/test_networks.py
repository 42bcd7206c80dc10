"""Every network that a configuration can name, through the same loop and the same export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from egg_heads import synthesize
from typer.testing import CliRunner

from facegen_inference.network import open_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cli import app
from facegen_training.commands.console import run_bar
from facegen_training.fitting.config import NETWORKS
from facegen_training.networks.registry import BUILDERS

SETTINGS = """
network = "{network}"
[linear]
copies = 2
rank = 4
folds = 2
latents = 2
feature_band_mm = 16.0
[net]
width = 8
levels = 2
[pix2pix3d]
ngf = 4
ndf = 4
depth = 2
[depthmap]
width = 8
discriminator_width = 8
copies = 2
[depthmap.geometry]
rows = 16
columns = 16
step_mm = 8.0
[fit]
steps = 4
accumulate = 2
batch = 1
checkpoint_every = 2
validate_every = 2
tensorboard = false
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0)
    return synthesize(tmp_path_factory.mktemp("people"), spec, people=10)


def run(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_every_network_has_a_builder() -> None:
    assert set(BUILDERS) == set(NETWORKS)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_is_fitted_and_exported_by_the_commands(
    network: str, manifest: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS.format(network=network))
    folder, model = tmp_path / "run", tmp_path / "model.onnx"
    said = run("fit", manifest, "--run", folder, "--config", settings)
    assert said.splitlines()[-1] == str(folder / "checkpoint-0000004")
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines if "rate" in line] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if "validation_mm" in line] == [2, 4]
    assert "differs from the network by" in run("export", folder, manifest, model, "--half")

    opened = open_model(model)
    assert opened.latent_size == 2
    skull = np.full((2, *opened.spec.shape), 30, np.float32)
    distance, spread = opened.run(skull)
    assert np.isfinite(distance).all()
    assert (spread > 0).all()


def test_a_terminal_shows_a_bar_with_the_last_figures_and_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"step": 3, "miss_mm": 1.25, "seconds": 0.5}
    with run_bar(6) as show:
        show(line)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with run_bar(6) as show:
        show(line)
    said = capsys.readouterr().err
    assert "50%" in said
    assert "miss_mm 1.25" in said
    assert "seconds" not in said
