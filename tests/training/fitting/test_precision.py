"""Settings of speed and memory change neither what is learned nor the names in a checkpoint."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.config import Config
from facegen_training.fitting.fit import fit
from facegen_training.networks.sdf import Correction


def weights(people: Dataset, tiny: Config, run: Path, **settings: Any) -> dict[str, torch.Tensor]:
    changed = replace(tiny, fit=replace(tiny.fit, tensorboard=False, **settings))
    return load_file(str(fit(people, run, changed) / "weights.safetensors"))


@pytest.fixture
def plain(people: Dataset, tiny: Config, tmp_path: Path) -> dict[str, torch.Tensor]:
    return weights(people, tiny, tmp_path / "plain")


def apart(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[key] - b[key]).abs().max()) for key in a)


def test_activations_computed_again_give_the_same_bits(
    people: Dataset, tiny: Config, tmp_path: Path, plain: dict[str, torch.Tensor]
) -> None:
    found = weights(people, tiny, tmp_path / "run", checkpoint_activations=True)
    assert apart(found, plain) == 0


def test_activations_computed_again_are_not_kept() -> None:
    from facegen_training.fitting.config import NetConfig

    kept = []
    for recompute in (False, True):
        network = Correction(2, 2, NetConfig(8, 2), recompute)
        x = torch.rand(1, 2, 16, 16, 16)
        bytes_kept = 0

        def pack(saved: torch.Tensor) -> torch.Tensor:
            nonlocal bytes_kept
            bytes_kept += saved.numel() * 4
            return saved

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
            network(x)
        kept.append(bytes_kept)
    assert kept[1] < kept[0] / 3


def test_channels_last_is_how_convolutions_see_the_batch(
    people: Dataset,
    tiny: Config,
    tmp_path: Path,
    plain: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    real = torch.nn.Conv3d.forward

    def forward(self: torch.nn.Conv3d, x: torch.Tensor) -> torch.Tensor:
        if x.requires_grad and x.shape[1] > 1:
            seen.append(x.is_contiguous(memory_format=torch.channels_last_3d))
        return real(self, x)

    monkeypatch.setattr(torch.nn.Conv3d, "forward", forward)
    found = weights(people, tiny, tmp_path / "run", channels_last=True)
    assert seen
    assert all(seen)
    assert apart(found, plain) < 1e-4


def test_bf16_learns_the_same_to_its_precision_with_weights_in_full(
    people: Dataset, tiny: Config, tmp_path: Path, plain: dict[str, torch.Tensor]
) -> None:
    found = weights(people, tiny, tmp_path / "run", precision="bf16")
    assert all(values.dtype == torch.float32 for values in found.values())
    assert 0 < apart(found, plain) < 0.02


def test_what_torch_keeps_is_set_back(people: Dataset, tiny: Config, tmp_path: Path) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    weights(people, tiny, tmp_path / "run", precision="tf32")
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_it_learns_the_same(
    people: Dataset, tiny: Config, tmp_path: Path, plain: dict[str, torch.Tensor]
) -> None:
    found = weights(people, tiny, tmp_path / "run", compile=True)
    assert apart(found, plain) < 1e-3
