"""From a checkpoint to one checked ONNX file with its preprocessing and its card inside.

The file appears only after it was opened as the application opens it and gave what the network in
memory gives.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from facegen_inference.card import (
    CARD_KEY,
    SPEC_KEY,
    Calibration,
    ErrorRow,
    ModelCard,
    Population,
)
from facegen_inference.errors import UserError
from facegen_inference.intended_use import INTENDED_USE, LIMITS
from facegen_inference.network import open_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import Dataset
from facegen_training.cohort.sources import cleared_sources
from facegen_training.fitting.checkpoint import load_checkpoint, load_linear
from facegen_training.fitting.config import config_from_data
from facegen_training.fitting.fit import build_network
from facegen_training.networks.sdf import SkullToFace

OPSET = 20
PARITY_MEAN_MM = 1e-3
PARITY_MAX_MM = 0.05
POPULATION = {
    "OpenKBP": "Adults planned for radiotherapy of head and neck cancer, CT voxels of 3.8 to "
    "5.4 mm, often without the vertex.",
    "Visible Human Female": "A woman of 59, CT voxels of 1 mm.",
    "synthetic": "Egg-shaped heads that never were.",
}
LATENT_NAMES = ("build, thin to heavy", "second direction", "third direction")


@dataclass(frozen=True)
class Parity:
    """How far the file's answers are from the network's in memory, mm."""

    mean_mm: float
    max_mm: float


def network_of_run(data: Dataset, checkpoint: Path) -> SkullToFace:
    """Return the averaged network of a checkpoint folder, ready to use."""
    saved, settings = load_checkpoint(checkpoint)
    config = config_from_data(settings["config"])
    linear = load_linear(checkpoint.parent / "linear.safetensors")
    network = build_network(data, linear, config)
    network.load_state_dict(saved.average)
    return network.eval()


def read_held_out(path: Path | None) -> tuple[tuple[ErrorRow, ...], str]:
    """Read the error table for the card: ``{"note": text, "rows": [...]}``.

    Raises
    ------
    UserError
        When the file is not such a table.
    """
    if path is None:
        return (), "Not measured on held-out people."
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return tuple(ErrorRow.model_validate(row) for row in data["rows"]), str(data["note"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path.name} is not an error table.",
            'Give {"note": text, "rows": [{"method": ..., "people": ..., "mean_mm": ...}]}.',
            reason=error,
        ) from error


def make_card(
    data: Dataset,
    network: SkullToFace,
    name: str,
    version: str,
    ship: bool,
    held_out: tuple[ErrorRow, ...],
    held_out_note: str,
    calibration: Calibration,
) -> ModelCard:
    """Return the card of a network trained on these people.

    Raises
    ------
    UserError
        When it is to ship and a source is not cleared, or it has not been measured.
    """
    if ship and not held_out:
        raise UserError(
            "A model that ships must say how good it is.",
            "Evaluate it on the test people first and give the table with --held-out.",
        )
    train = [data.people[row] for row in data.rows("train")]
    counts = Counter(person.source for person in train)
    return ModelCard(
        name=name,
        version=version,
        training_population=Population(
            people=len(train),
            description=" ".join(POPULATION.get(name, f"{name}: not described.") for name in counts)
            + " Sex, age and build are not labelled.",
            counts=dict(counts),
        ),
        held_out=held_out,
        held_out_note=held_out_note,
        calibration=calibration,
        latent=LATENT_NAMES[: len(network.latent_fields)],
        intended_use=INTENDED_USE,
        limits=(
            *LIMITS,
            "Learned from coarse scans: smooth shape and tissue depth only; nose tip, lips and "
            "eyelids are near their mean.",
        ),
        licence="Apache-2.0",
        sources=cleared_sources((person.source for person in train), ship),
        manifest_sha256=data.manifest_sha256,
    )


def export(network: SkullToFace, card: ModelCard, examples: np.ndarray, out: Path) -> Parity:
    """Write the model file.

    Parameters
    ----------
    network
        Trained.
    card
        What the file says of itself.
    examples
        (n, 2, Z, Y, X) float32 network inputs to compare on.
    out
        File to write; replaced only when the comparison holds.

    Raises
    ------
    UserError
        When the file's answers differ from the network's by more than `PARITY_MEAN_MM` on
        average or `PARITY_MAX_MM` anywhere; no file is left.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    try:
        _write(network, card, part)
        parity = compare(network, part, examples)
        if parity.mean_mm > PARITY_MEAN_MM or parity.max_mm > PARITY_MAX_MM:
            raise UserError(
                "The exported file does not give what the network gives "
                f"(mean {parity.mean_mm:.2g} mm, worst {parity.max_mm:.2g} mm).",
                "Nothing was written; try other versions of torch or ONNX Runtime.",
            )
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return parity


def _write(network: SkullToFace, card: ModelCard, path: Path) -> None:
    spec: PreprocessSpec = network.spec
    skull = torch.zeros(1, len(spec.channels), *spec.shape)
    latent = torch.zeros(1, len(network.latent_fields))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            network,
            (skull, latent),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=["skull", "latent"],
            output_names=["distance_mm", "spread_mm"],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _forget_where(model)
    onnx.helper.set_model_props(model, {SPEC_KEY: spec.to_json(), CARD_KEY: card.to_json()})
    onnx.save(model, str(path))


def _forget_where(model: onnx.ModelProto) -> None:
    """Take out the exporter's notes: they name folders of the machine it ran on."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")


@torch.no_grad()
def compare(network: SkullToFace, path: Path, examples: np.ndarray) -> Parity:
    """Return how far a model file's answers are from the network's, over distance and spread."""
    model = open_model(path)
    random = np.random.default_rng(0)
    means, worst = [], 0.0
    for skull in examples:
        latent = random.normal(size=model.latent_size).astype(np.float32)
        mine = network(torch.from_numpy(skull)[None], torch.from_numpy(latent)[None])
        theirs = model.run(skull, latent)
        for a, b in zip(mine, theirs, strict=True):
            miss = np.abs(a[0, 0].numpy() - b)
            means.append(float(miss.mean()))
            worst = max(worst, float(miss.max()))
    return Parity(max(means), worst)
