"""Fine-tuning: begin a run from a model file or from a checkpoint instead of from nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from facegen_inference.card import ModelCard
from facegen_inference.errors import UserError
from facegen_inference.network import open_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.provenance import sha256_of
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.checkpoint import load_checkpoint
from facegen_training.fitting.config import Config, NetConfig, WindowedConfig, config_from_data
from facegen_training.fitting.run_folder import UNKNOWN, config_of_run, read_run
from facegen_training.networks.linear import LinearFit, LinearPart
from facegen_training.networks.linear_file import LINEAR, load_linear, save_linear
from facegen_training.networks.windowed import WindowedFit
from facegen_training.networks.windowed_part import (
    WINDOWED,
    load_windowed,
    read_windowed,
    save_windowed,
)

TRAINING_KEY = "facegen_training"
"""Metadata of a model file that says how it was trained: network, settings, where it began."""
_SDF_INFLUENCE_MM = 12.0  # of every model whose file does not say


@dataclass(frozen=True)
class Begin:
    """Where a run begins.

    Attributes
    ----------
    name, sha256
        Of the model file, or of the checkpoint's averaged weights.
    network, net
        What it is, and the size of its correction (of ``sdf``).
    offset_mm
        What the model adds to its distances.
    sources
        Whose data its weights were learned from.
    weights
        ``player.tensor`` of what it has.
    linear
        The linear part that goes with the weights, which has seen none of this run's people or
        left each out once; None where it is to be fitted anew.
    windowed, windows
        The windowed ridge that goes with them, likewise, and its settings.
    """

    name: str
    sha256: str
    network: str
    net: NetConfig
    offset_mm: float
    sources: tuple[str, ...]
    weights: dict[str, Tensor]
    linear: LinearFit | None = None
    windowed: WindowedFit | None = None
    windows: WindowedConfig = field(default_factory=WindowedConfig)

    def record(self) -> dict[str, Any]:
        """Return what the run keeps of it."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "offset_mm": self.offset_mm,
            "sources": list(self.sources),
        }

    def suit(self, config: Config) -> Config:
        """Return the configuration with the model's own size.

        Raises
        ------
        UserError
            When it names another network.
        """
        if config.network != self.network:
            raise UserError(
                f"{self.name} is a network {self.network}, not {config.network}.",
                f'Set network = "{self.network}" or start from another model.',
            )
        if self.network != "sdf":
            return config
        return replace(config, net=self.net, windowed=self.windows)

    def fill(self, players: Mapping[str, nn.Module]) -> None:
        """Copy the weights into the players; one of which it has none stays new.

        Raises
        ------
        UserError
            When its weights are not those of the players.
        """
        for player, network in players.items():
            state = network.state_dict()
            mine = {key: self.weights.get(f"{player}.{key}") for key in state}
            if all(values is None for values in mine.values()) and len(players) > 1:
                continue
            for key, target in state.items():
                values = mine[key]
                if values is None or values.shape != target.shape:
                    raise UserError(
                        f"{self.name} does not hold the weights of this run's network.",
                        "Give the settings it was trained with, or start from its checkpoint.",
                        missing=f"{player}.{key}",
                    )
                target.copy_(values)


def keep_linear(begin: Begin, run: Path) -> None:
    """Put the linear parts that a run begins from into its folder, unless they are there."""
    if begin.windowed is not None and not (run / WINDOWED).exists():
        save_windowed(run / WINDOWED, begin.windowed)
    if begin.linear is not None and not (run / LINEAR).exists():
        save_linear(run / LINEAR, begin.linear)


def begin_from(path: Path, data: Dataset) -> Begin:
    """Read a model file (.onnx) or a checkpoint folder; nothing is unpickled.

    A model file's linear part is taken to have seen none of these people.  A checkpoint's is kept
    for the very people it was fitted on, folds and all; for others, who may be among them, it is
    fitted anew.

    Raises
    ------
    UserError
        When it is neither, or was made for another preprocessing.
    """
    begin, spec = _of_checkpoint(path, data) if path.is_dir() else _of_model(path)
    if spec != data.spec:
        raise UserError(
            f"{path.name} was trained with another preprocessing than these people's.",
            "Prepare them with that model's own: facegen-train prepare --spec MODEL.",
        )
    return begin


def resumed_config(run: Path, config: Config) -> Config:
    """Return the configuration for a run that began from a model: with that model's size."""
    before = read_run(run)
    if before is None or before["start"] is None:
        return config
    own = config_of_run(before)
    return replace(config, net=own.net, windowed=own.windowed)


def _of_checkpoint(folder: Path, data: Dataset) -> tuple[Begin, PreprocessSpec]:
    checkpoint, settings = load_checkpoint(folder)
    config = config_of_run(settings)
    linear, windowed = None, None
    path = folder.parent / LINEAR
    if path.exists() and settings["manifest_sha256"] == data.manifest_sha256:
        linear = load_linear(path)
        if (folder.parent / WINDOWED).exists():
            windowed = load_windowed(folder.parent / WINDOWED)
    offset = (settings.get("start") or {}).get("offset_mm", 0.0)
    begin = Begin(
        name=folder.name,
        sha256=sha256_of(folder / "average.safetensors"),
        network=config.network,
        net=config.net,
        offset_mm=offset,
        sources=tuple(settings.get("sources", [UNKNOWN])),
        weights={**checkpoint.weights, **checkpoint.average},
        linear=linear,
        windowed=windowed,
        windows=config.windowed,
    )
    return begin, PreprocessSpec.from_json(settings["spec"])


def training_notes(path: Path) -> dict[str, Any]:
    """Return what a model file says of its training; empty where it says nothing."""
    graph = onnx.load(str(path), load_external_data=False)
    texts = {item.key: item.value for item in graph.metadata_props}
    return dict(json.loads(texts.get(TRAINING_KEY, "{}")))


def _of_model(path: Path) -> tuple[Begin, PreprocessSpec]:
    model = open_model(path)
    graph = onnx.load(str(path))
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    arrays = {name.removesuffix(HALF): values for name, values in arrays.items()}
    texts = {item.key: item.value for item in graph.metadata_props}
    trained = json.loads(texts.get(TRAINING_KEY, "{}"))
    network = trained.get("network", "sdf")
    weights = {
        name: torch.from_numpy(np.array(values, dtype=np.float32))
        for name, values in arrays.items()
        if values.dtype in (np.float16, np.float32)
    }
    linear, windowed, net = None, None, NetConfig()
    windows = config_from_data({"windowed": trained.get("config", {}).get("windowed", {})}).windowed
    if network == "sdf":
        try:
            net = _size(weights)
            linear = _linear(arrays, trained.get("influence_mm", _SDF_INFLUENCE_MM))
            if windows.share:
                windowed = read_windowed(arrays, windows.influence_mm)
        except KeyError as error:
            raise UserError(
                f"{path.name} does not hold the weights of a signed-distance network by name.",
                "Start from a model that facegen-train export wrote, or from its checkpoint.",
                missing=error,
            ) from error
    begin = Begin(
        name=path.name,
        sha256=model.sha256,
        network=network,
        net=net,
        offset_mm=trained.get("offset_mm", _offset(arrays, model.card.calibration.offset_mm)),
        sources=_sources(model.card),
        weights=weights,
        linear=linear,
        windowed=windowed,
        windows=windows,
    )
    return begin, model.spec


def _sources(card: ModelCard) -> tuple[str, ...]:
    """Return whose data a model was learned from, as its card says."""
    named = {source.name for source in card.sources} | set(card.training_population.counts)
    return tuple(sorted(named)) or (UNKNOWN,)


HALF = ".half"
"""End of the name of a weight that is stored in half precision and cast when the file is opened."""


def _size(weights: Mapping[str, Tensor]) -> NetConfig:
    """Return width and levels of the correction, from the shapes of its weights."""
    levels = {name.split(".")[2] for name in weights if name.startswith("correction.down.")}
    return NetConfig(int(weights["correction.last.weight"].shape[1]), len(levels))


def _linear(arrays: Mapping[str, Any], influence_mm: float) -> LinearFit:
    """Return the linear part in a graph's buffers; it has no folds: it saw none of these people."""
    single = {
        name: np.asarray(arrays[name], dtype=np.float32)
        for name in ("mean_bone", "mean_skin", "read", "write", "latent_fields", "spread_field")
    }
    part = LinearPart(
        mean_bone=single["mean_bone"],
        mean_skin=single["mean_skin"],
        features=np.asarray(arrays["features"], dtype=np.int64),
        influence_mm=influence_mm,
        read=single["read"],
        write=single["write"],
    )
    return LinearFit(
        whole=part,
        folds=(),
        fold_of={},
        latent=single["latent_fields"],
        spread=single["spread_field"],
        ridge=0.0,
        error_mm={},
    )


def _offset(arrays: Mapping[str, Any], on_card: float) -> float:
    """Return the offset of a file of FaceGen 0.1: the number in the graph that its card rounds."""
    for values in arrays.values():
        if values.size == 1 and abs(float(values.reshape(-1)[0]) - on_card) <= 5.1e-4:
            return float(values.reshape(-1)[0])
    return on_card


def digest_of(record: Mapping[str, Any] | None) -> str:
    """Return what a card says of where a model began; empty when from nothing."""
    if record is None:
        return ""
    return f" Fine-tuned from {record['name']} (SHA-256 {record['sha256']})."
