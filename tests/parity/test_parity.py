"""Training and use cannot drift apart: one preprocessing, one file, the same numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import facegen_inference.preprocess
import facegen_training.cohort.prepare
from facegen_inference.errors import UserError
from facegen_inference.network import open_model
from facegen_training.export import PARITY_MAX_MM, Parity, compare, export


def test_training_prepares_with_the_function_that_inference_uses() -> None:
    assert facegen_training.cohort.prepare.preprocess is facegen_inference.preprocess.preprocess
    assert "preprocess(skull, frame, spec)" in inspect.getsource(
        facegen_training.cohort.prepare.fields_of
    )


def test_the_file_gives_what_the_network_in_memory_gives(exported) -> None:  # type: ignore[no-untyped-def]
    parity = compare(exported.trained.network, exported.path, exported.examples)
    assert parity.mean_mm < 1e-4
    assert parity.max_mm < 1e-2
    assert parity.relative < 1e-5


def test_the_file_carries_spec_and_card(exported) -> None:  # type: ignore[no-untyped-def]
    model = open_model(exported.path)
    assert model.spec == exported.data.spec
    assert model.card.name == "tiny"
    assert model.card.manifest_sha256 == exported.data.manifest_sha256
    assert model.latent_size == 2
    assert not list(exported.path.parent.glob("*.part"))


def test_distance_is_negative_inside_and_spread_positive(exported) -> None:  # type: ignore[no-untyped-def]
    distance, spread = open_model(exported.path).run(exported.examples[0])
    bone = exported.examples[0][0]
    assert (distance[bone < -1] < 0).mean() > 0.95
    assert distance[0, 0, 0] > 10
    assert spread.min() >= 0.29


def test_the_first_latent_axis_makes_the_face_thinner_and_heavier(exported) -> None:  # type: ignore[no-untyped-def]
    model = open_model(exported.path)
    axis = np.array([1.0, 0.0], dtype=np.float32)
    thin, heavy = (model.run(exported.examples[0], sign * axis)[0] for sign in (-1, 1))
    plain, _ = model.run(exported.examples[0])
    near = np.abs(plain) < 6
    assert (heavy[near] < thin[near]).mean() > 0.9
    assert np.mean(thin[near] - heavy[near]) > 0.5


def test_a_file_that_differs_is_not_left(  # type: ignore[no-untyped-def]
    exported, make_tiny_card: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model.onnx"
    out.write_bytes(b"the old one")
    monkeypatch.setattr("facegen_training.export.compare", lambda *_: Parity(0.01, 0.02, 2e-4))
    with pytest.raises(UserError, match="does not give what the network gives"):
        export(exported.trained, make_tiny_card(), exported.examples, out)  # type: ignore[arg-type]
    assert out.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [out]


def test_a_changed_network_is_noticed(exported) -> None:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        exported.trained.network.correction.last.bias.add_(0.1)
    try:
        assert compare(exported.trained.network, exported.path, exported.examples).mean_mm > 1e-2
    finally:
        with torch.no_grad():
            exported.trained.network.correction.last.bias.sub_(0.1)


def test_half_precision_halves_the_file_and_keeps_the_bound(  # type: ignore[no-untyped-def]
    exported, make_tiny_card: Callable[[], object], tmp_path: Path
) -> None:
    out = tmp_path / "half.onnx"
    parity = export(exported.trained, make_tiny_card(), exported.examples, out, half=True)  # type: ignore[arg-type]
    assert parity.max_mm < PARITY_MAX_MM
    assert open_model(out).latent_size == 2
    whole, half = (
        {t.name: t.data_type for t in onnx.load(str(p)).graph.initializer}
        for p in (exported.path, out)
    )
    name = "correction.down.0.3.weight"
    assert whole[name] == onnx.TensorProto.FLOAT
    assert half[f"{name}.half"] == onnx.TensorProto.FLOAT16
    assert name not in half


def test_the_bound_of_half_precision_is_in_millimetres() -> None:
    assert not Parity(0.001, 0.01, 2e-4).holds(half=False)
    assert Parity(0.001, 0.01, 2e-4).holds(half=True)
    assert not Parity(0.001, 0.06, 2e-5).holds(half=True)
