from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facegen_inference import network, runtime
from facegen_inference.errors import ModelError, UserError
from facegen_inference.network import default_model, find_models, model_folders, open_model
from facegen_inference.onnx_file import NotOnnxError, take_inventory
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.progress import Cancelled
from facegen_inference.runtime import CPU, check_runtime, choose_device

Write = Callable[..., Path]


def test_a_sound_model_opens_and_says_what_it_is(write_model: Write, spec: PreprocessSpec) -> None:
    model = open_model(write_model())
    assert model.spec == spec
    assert model.card.name == "eight millimetres"
    assert model.latent_size == 2
    assert len(model.sha256) == 64


def test_running_gives_distance_and_spread(write_model: Write, spec: PreprocessSpec) -> None:
    model = open_model(write_model())
    skull = np.random.default_rng(0).normal(size=(2, *spec.shape)).astype(np.float32)
    distance, spread = model.run(skull)
    assert distance == pytest.approx(skull[0] - 12, abs=1e-5)
    assert (spread == 2).all()
    heavy, _ = model.run(skull, np.array([1.5, 0], dtype=np.float32))
    assert heavy == pytest.approx(skull[0] - 18, abs=1e-5)


def test_a_file_cut_short_anywhere_is_refused(write_model: Write) -> None:
    path = write_model()
    whole = path.read_bytes()
    for length in [0, 1, 7, *range(40, len(whole) - 1, 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            open_model(path)


def test_noise_never_breaks_the_first_look() -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        data = random.integers(0, 256, random.integers(0, 300), dtype=np.uint8).tobytes()
        with pytest.raises(NotOnnxError):
            take_inventory(data)


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_model(path)
    assert caught.value.message.count("\n") == 0
    assert caught.value.advice
    return caught.value.message


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.onnx").write_bytes(b"\xff\xd8\xff\xe0" * 100)
    assert "photo.onnx" in refused(tmp_path / "photo.onnx")
    assert "nowhere.onnx" in refused(tmp_path / "nowhere.onnx")
    (tmp_path / "folder.onnx").mkdir()
    assert "folder.onnx" in refused(tmp_path / "folder.onnx")


def test_an_onnx_model_without_our_metadata_is_refused(write_model: Write) -> None:
    assert "not one of FaceGen's" in refused(write_model(spec=""))
    assert "not one of FaceGen's" in refused(write_model(card=""))


def test_a_newer_spec_is_refused(write_model: Write, spec: PreprocessSpec) -> None:
    data = {**json.loads(spec.to_json()), "version": 2}
    assert "version 2" in refused(write_model(spec=json.dumps(data)))


def test_an_unknown_key_in_the_spec_is_refused(write_model: Write, spec: PreprocessSpec) -> None:
    data = {**json.loads(spec.to_json()), "sharpen": True}
    assert "sharpen" in refused(write_model(spec=json.dumps(data)))


def test_a_wrong_card_is_refused(write_model: Write, card: dict[str, Any]) -> None:
    assert "card" in refused(write_model(card=json.dumps({**card, "mood": "good"})))
    assert "card" in refused(write_model(card="{}"))


def test_a_card_that_does_not_fit_the_graph_is_refused(
    write_model: Write, card: dict[str, Any], spec: PreprocessSpec
) -> None:
    said = "inputs and outputs"
    assert said in refused(write_model(card=json.dumps({**card, "latent": ["build"]})))
    assert said in refused(write_model(card=json.dumps({**card, "latent": []})))
    assert said in refused(write_model(spec=replace(spec, shape=(32, 28, 28)).to_json()))
    assert said in refused(write_model(output="picture"))


def test_weights_elsewhere_foreign_operators_and_other_opsets_are_refused(
    write_model: Write,
) -> None:
    assert "another file" in refused(write_model(external=True))
    assert "outside the ONNX standard" in refused(write_model(domain="com.microsoft"))
    assert "operator set 99" in refused(write_model(opset=99))
    assert "operator set 11" in refused(write_model(opset=11))


def test_numbers_that_are_not_finite_are_refused(write_model: Write, spec: PreprocessSpec) -> None:
    skull = np.zeros((2, *spec.shape), dtype=np.float32)
    skull[0, 0, 0, 0] = np.inf
    with pytest.raises(ModelError, match="finite"):
        open_model(write_model()).run(skull)


class SlowSession:
    """Stands for a long run: ends when it is told to, as ONNX Runtime does, or after 20 s."""

    def run(self, names: list[str], feed: dict[str, Any], options: Any) -> None:
        started = time.monotonic()
        while not options.terminate and time.monotonic() - started < 20:
            time.sleep(0.01)
        raise RuntimeError("terminated")


def test_a_running_network_is_stopped_by_cancel(write_model: Write, spec: PreprocessSpec) -> None:
    model = open_model(write_model())
    model._sessions[CPU.provider] = SlowSession()

    def cancel(fraction: float, step: str) -> None:
        raise Cancelled

    started = time.monotonic()
    with pytest.raises(Cancelled):
        model.run(np.zeros((2, *spec.shape), dtype=np.float32), progress=cancel)
    assert time.monotonic() - started < 5


def test_models_are_found_in_the_users_folder_after_those_that_ship(write_model: Write) -> None:
    shipped, own = model_folders()
    own.mkdir(parents=True)
    target = own / "mine.onnx"
    target.write_bytes(write_model().read_bytes())
    found = find_models()
    assert found[-1] == target
    assert all(path.parent == shipped for path in found[:-1])


def test_the_users_own_default_goes_before_the_one_that_ships(
    write_model: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = (tmp_path / "shipped", tmp_path / "own")
    monkeypatch.setattr(network, "model_folders", lambda: folders)
    for folder, name in zip(folders, (network.DEFAULT_NAME, "mine.onnx"), strict=True):
        folder.mkdir()
        (folder / name).write_bytes(write_model().read_bytes())
    assert default_model() == folders[0] / network.DEFAULT_NAME  # mine is there, but not asked for
    (folders[1] / "mine.onnx").rename(folders[1] / network.DEFAULT_NAME)
    assert default_model() == folders[1] / network.DEFAULT_NAME


def test_without_any_model_it_is_said_where_to_put_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "model_folders", lambda: (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(ModelError, match="No model file"):
        default_model()


@pytest.mark.parametrize(
    ("installed", "said"),
    [(set(), r"facegen\[cpu\]"), ({"onnxruntime", "onnxruntime-gpu"}, "pip uninstall")],
)
def test_none_or_both_runtimes_are_refused_with_the_line_to_type(
    installed: set[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_installed", lambda name: name in installed)
    with pytest.raises(UserError, match=said):
        check_runtime()


def test_the_evidence_mode_is_the_cpu_and_cuda_is_never_pretended() -> None:
    import onnxruntime

    assert choose_device("cpu") is CPU
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert choose_device("auto") is CPU
        with pytest.raises(UserError, match="CUDA"):
            choose_device("cuda")
