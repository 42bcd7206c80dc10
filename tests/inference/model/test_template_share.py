"""A template in a model file: averaged with the network, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facegen_inference.atlas import load_atlas
from facegen_inference.errors import ModelError
from facegen_inference.network import default_model, open_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.template import lay, skin_fields
from facegen_inference.template_model import read_template, shipped_template
from facegen_inference.template_registration import BoneField
from facegen_inference.template_share import read_template_share, write_template_share


@pytest.fixture(scope="module")
def text() -> str:
    return write_template_share(0.5, shipped_template().read_bytes())


def test_the_average_lies_between_network_and_template(text: str) -> None:
    spec = read_template().spec
    share = read_template_share(text, spec)
    k, j, i = spec.shape
    bone = load_atlas().bone[:k, :j, :i].clip(-30, 30)  # the mean skull, on a grid that goes on
    grid = np.stack([bone, np.ones_like(bone)])
    network = np.full(spec.shape, 7.0, dtype=np.float32)
    moved = share.moved(grid, network)
    assert moved is not None
    laid = lay(share.template, BoneField(bone, grid[1], spec.grid))
    skin, _ = skin_fields(share.template, laid, np.zeros(len(share.template.other_modes)))
    np.testing.assert_allclose(network + moved, (network + skin) / 2, atol=1e-4)


def test_without_bone_the_template_has_no_say(text: str) -> None:
    spec = read_template().spec
    nothing = np.stack([np.full(spec.shape, 30.0), np.ones(spec.shape)]).astype(np.float32)
    assert read_template_share(text, spec).moved(nothing, nothing[0]) is None


def test_what_is_no_template_of_this_model_is_refused(text: str) -> None:
    spec = read_template().spec
    with pytest.raises(ModelError, match="another grid"):
        read_template_share(text, PreprocessSpec(shape=(64, 52, 48), spacing_mm=4.0))
    stored = json.loads(text)
    for change in ({"share": 1.5}, {"template_version": 2}, {"packed": "AAAA"}, {"more": 1}):
        with pytest.raises(ModelError, match="cannot be read"):
            read_template_share(json.dumps({**stored, **change}), spec)


def test_a_file_with_a_template_is_opened_with_it(text: str, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(default_model()))
    kept = {one.key: one.value for one in model.metadata_props}
    onnx.helper.set_model_props(model, {**kept, "facegen_template": text})
    path = tmp_path / "averaged.onnx"
    onnx.save(model, str(path))
    share = open_model(path).template
    assert share is not None
    assert share.share == 0.5
