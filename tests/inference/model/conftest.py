"""A model file of two convolutions, written by hand: these tests run where no ONNX package is."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facegen_inference.preprocess import PreprocessSpec

SPEC = PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0)
CARD: dict[str, Any] = {
    "name": "eight millimetres",
    "version": "0.1.0",
    "training_population": {"people": 1, "description": "none", "counts": {}},
    "held_out": [],
    "held_out_note": "",
    "calibration": {"factor50": 1.0, "factor90": 1.5, "people": 0, "note": ""},
    "latent": ["build", "other"],
    "intended_use": "tests",
    "limits": ["not a model of anyone"],
    "licence": "Apache-2.0",
    "sources": [{"name": "none", "licence": "none", "attribution": "none"}],
    "manifest_sha256": "0" * 64,
}


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name: str, shape: list[int], values: list[float], *, external: bool = False) -> bytes:
    data = b"".join(number(1, n) for n in shape) + number(2, 1) + chunk(8, name)
    if external:
        return data + chunk(13, chunk(1, "location") + chunk(2, "weights.bin")) + number(14, 1)
    return data + chunk(9, struct.pack(f"<{len(values)}f", *values))


def node(kind: str, inputs: list[str], output: str, domain: str = "") -> bytes:
    data = b"".join(chunk(1, name) for name in inputs) + chunk(2, output) + chunk(4, kind)
    return data + (chunk(7, domain) if domain else b"")


def value(name: str, shape: list[int]) -> bytes:
    dims = b"".join(chunk(1, number(1, n)) for n in shape)
    return chunk(1, name) + chunk(2, chunk(1, number(1, 1) + chunk(2, dims)))


def model_bytes(
    spec: str | None = None,
    card: str | None = None,
    *,
    shape: tuple[int, int, int] = SPEC.shape,
    opset: int = 20,
    domain: str = "",
    external: bool = False,
    output: str = "distance_mm",
) -> bytes:
    """Skin 12 mm outside bone, 4 mm more per unit of the first latent; spread 2 mm."""
    grid = [1, 1, *shape]
    nodes = [
        node("Conv", ["skull", "pick", "depth"], "plain", domain),
        node("MatMul", ["latent", "axes"], "moved"),
        node("Add", ["plain", "moved"], output),
        node("Conv", ["skull", "nothing", "two"], "spread_mm"),
    ]
    tensors = [
        tensor("pick", [1, 2, 1, 1, 1], [1.0, 0.0], external=external),
        tensor("depth", [1], [-12.0]),
        tensor("axes", [2, 1], [-4.0, 0.0]),
        tensor("nothing", [1, 2, 1, 1, 1], [0.0, 0.0]),
        tensor("two", [1], [2.0]),
    ]
    graph = b"".join(chunk(1, n) for n in nodes) + chunk(2, "tiny")
    graph += b"".join(chunk(5, t) for t in tensors)
    graph += chunk(11, value("skull", [1, 2, *shape])) + chunk(11, value("latent", [1, 2]))
    graph += chunk(12, value(output, grid)) + chunk(12, value("spread_mm", grid))
    texts = {
        "facegen_spec": SPEC.to_json() if spec is None else spec,
        "facegen_card": json.dumps(CARD) if card is None else card,
    }
    return (
        number(1, 8)
        + chunk(7, graph)
        + chunk(8, chunk(1, "") + number(2, opset))
        + b"".join(chunk(14, chunk(1, k) + chunk(2, v)) for k, v in texts.items() if v)
    )


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a model file; takes the options of `model_bytes`."""

    def write(**options: Any) -> Path:
        path = tmp_path / "tiny.onnx"
        path.write_bytes(model_bytes(**options))
        return path

    return write


@pytest.fixture
def card() -> dict[str, Any]:
    return dict(CARD)


@pytest.fixture
def spec() -> PreprocessSpec:
    return SPEC
