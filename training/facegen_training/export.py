"""From a checkpoint to one checked ONNX file with its preprocessing and its card inside.

The file appears only after it was opened as the application opens it and gave what the network in
memory gives.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
from facegen_inference.familiarity_file import FAMILIARITY_KEY, Familiarity
from facegen_inference.intended_use import INTENDED_USE, LIMITS
from facegen_inference.network import open_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.template_share import TEMPLATE_KEY, write_template_share
from facegen_training.cohort.dataset import Dataset
from facegen_training.cohort.sources import cleared_sources
from facegen_training.fitting.calibrate import calibrate, fullness
from facegen_training.fitting.checkpoint import load_checkpoint, newest_checkpoint
from facegen_training.fitting.familiarity import fit_familiarity
from facegen_training.fitting.run_folder import config_of_run
from facegen_training.fitting.spread_map import correct_spread
from facegen_training.fitting.start import HALF, TRAINING_KEY, digest_of
from facegen_training.half_precision import store_in_half
from facegen_training.networks.learner import FaceNetwork, Learner
from facegen_training.networks.registry import build_learner
from facegen_training.template.fit_template import fit_template

OPSET = 20
PARITY = 1e-4
"""Largest relative difference (`Parity.relative`) of a file in single precision."""
PARITY_MAX_MM = 0.05
"""Largest difference anywhere, of any file: what DESIGN allows between machines and devices.  It
is the only bound where weights are stored in half precision, whose own rounding is 5e-4."""
POPULATION = {
    "OpenKBP": "Adults planned for radiotherapy of head and neck cancer, CT voxels of 3.8 to "
    "5.4 mm, often without the vertex.",
    "Visible Human Female": "A woman of 59, CT voxels of 1 mm.",
    "synthetic": "Heads of a statistical model, of nobody.",
}
COARSE = (
    "Learned from coarse scans: smooth shape and tissue depth only; nose tip, lips and "
    "eyelids are near their mean."
)
LATENT_NAMES = ("build, thin to heavy", "second direction", "third direction")


@dataclass(frozen=True)
class Parity:
    """How far the file's answers are from the network's in memory, at the size that ships.

    Attributes
    ----------
    mean_mm, max_mm
        Of distance and spread, whichever is worse.
    relative
        Root mean square of the difference over that of the network's answer, likewise.
    """

    mean_mm: float
    max_mm: float
    relative: float

    def holds(self, half: bool) -> bool:
        """Whether the file may be kept."""
        return self.max_mm <= PARITY_MAX_MM and (half or self.relative <= PARITY)


@dataclass(frozen=True)
class Trained:
    """What a checkpoint holds, ready to be exported.

    Attributes
    ----------
    learner
        As the run had it.
    network
        The graph with the averaged weights; its offset is that of the model it began from.
    settings
        What the run was started with; see `facegen_training.fitting.run_folder`.
    familiarity
        What the file is to hold of the training people's skulls, or None.
    left_out
        How many of the prepared people it has not learned from.
    template
        What the file is to hold of a template; see `facegen_inference.template_share`.
    """

    learner: Learner
    network: FaceNetwork
    settings: dict[str, Any]
    familiarity: Familiarity | None = None
    left_out: int | None = None
    template: str | None = None

    def notes(self) -> dict[str, Any]:
        """Return what the file says of its training, for whoever goes on from it."""
        config = self.settings["config"]
        return {
            "network": config["network"],
            "config": config,
            "offset_mm": self.network.offset_mm,
            "influence_mm": getattr(self.network, "influence_mm", None),
            "start": self.settings.get("start"),
            "left_out": self.left_out,
        }


def trained_of_run(data: Dataset, checkpoint: Path) -> Trained:
    """Return what a checkpoint folder holds, with the averaged weights."""
    saved, settings = load_checkpoint(checkpoint)
    learner = build_learner(data, config_of_run(settings), checkpoint.parent)
    face = learner.players[learner.face]
    prefix = f"{learner.face}."
    face.load_state_dict({key.removeprefix(prefix): v for key, v in saved.average.items()})
    network = learner.network(face)
    network.offset_mm = (settings.get("start") or {}).get("offset_mm", 0.0)
    return Trained(learner, network, settings)


@dataclass(frozen=True)
class Wishes:
    """How a model is to be exported.

    Attributes
    ----------
    name, version
        On the card.
    held_out, note
        Error table for the card, and a sentence about it; see `read_held_out`.
    sharp_mm
        See `facegen_inference.card.Calibration`.
    ship
        Refuse anything that may not be published.
    half
        Store weights in half precision.
    """

    name: str = "FaceGen face field"
    version: str = "0.1.0"
    held_out: tuple[ErrorRow, ...] = ()
    note: str = "Not measured on held-out people."
    sharp_mm: float = 0.0
    ship: bool = False
    half: bool = False


def export_run(data: Dataset, run: Path, out: Path, wishes: Wishes | None = None) -> Parity:
    """Write the model file of a run's newest checkpoint, calibrated on people it never saw.

    Parameters
    ----------
    data
        The run's people.
    run
        Its folder.
    out
        File to write.
    wishes
        What the card is to say, and how weights are stored.

    Raises
    ------
    UserError
        When the run has no checkpoint, or as `make_card` and `export`.
    """
    wishes = wishes or Wishes()
    checkpoint = newest_checkpoint(run)
    if checkpoint is None:
        raise UserError("The run has no checkpoint yet.", "Run facegen-train fit first.")
    trained = trained_of_run(data, checkpoint)
    trained.network.offset_mm += fullness(data, trained.learner, trained.network)
    correct_spread(data, trained.learner, trained.network)
    bands = calibrate(data, trained.learner, trained.network, wishes.sharp_mm)
    card = make_card(
        data, trained, wishes.name, wishes.version, wishes.ship, wishes.held_out, wishes.note, bands
    )
    rows = [*data.rows("validation"), *data.rows("train")][:2]
    examples = np.stack([data.fields(row)[:2].numpy() for row in rows])
    left_out = len(data.people) - len(data.rows("train"))
    trained = replace(
        trained,
        familiarity=fit_familiarity(data),
        left_out=left_out,
        template=template_of(data, config_of_run(trained.settings).template.share),
    )
    return export(trained, card, examples, out, wishes.half)


def template_of(data: Dataset, share: float) -> str | None:
    """Return a template of the training people for the file's metadata; None for a share of 0."""
    if not share:
        return None
    with TemporaryDirectory() as folder:
        path = fit_template(data, data.rows("train"), Path(folder) / "template.npz")
        return write_template_share(share, path.read_bytes())


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
    trained: Trained,
    name: str,
    version: str,
    ship: bool,
    held_out: tuple[ErrorRow, ...],
    held_out_note: str,
    calibration: Calibration,
) -> ModelCard:
    """Return the card of a network trained on these people; it names a model it began from.

    Raises
    ------
    UserError
        When it is to ship and a source is not cleared, one of the model it began from included,
        or it has not been measured.
    """
    if ship and not held_out:
        raise UserError(
            "A model that ships must say how good it is.",
            "Evaluate it on the test people first and give the table with --held-out.",
        )
    people = [data.people[row] for row in data.rows("train")]
    counts = Counter(person.source for person in people)
    return ModelCard(
        name=name,
        version=version,
        training_population=Population(
            people=len(people),
            description=" ".join(POPULATION.get(name, f"{name}: not described.") for name in counts)
            + " Sex, age and build are not labelled."
            + digest_of(trained.settings.get("start")),
            counts=dict(counts),
        ),
        held_out=held_out,
        held_out_note=held_out_note,
        calibration=calibration,
        latent=latent_names(trained.network.latent_size),
        intended_use=INTENDED_USE,
        limits=(
            *LIMITS,
            *([COARSE] if "OpenKBP" in trained.settings["sources"] else []),
        ),
        licence="Apache-2.0",
        sources=cleared_sources(trained.settings["sources"], ship),
        manifest_sha256=data.manifest_sha256,
    )


def latent_names(count: int) -> tuple[str, ...]:
    """Return what the card calls the latent axes."""
    more = (f"direction {n + 1}" for n in range(len(LATENT_NAMES), count))
    return (*LATENT_NAMES[:count], *more)


def export(
    trained: Trained, card: ModelCard, examples: np.ndarray, out: Path, half: bool = False
) -> Parity:
    """Write the model file.

    Parameters
    ----------
    trained
        Network and what it was trained with.
    card
        What the file says of itself.
    examples
        (n, 2, Z, Y, X) float32 network inputs to compare on.
    out
        File to write; replaced only when the comparison holds.
    half
        Store weights in half precision; the file is computed in single precision all the same.

    Raises
    ------
    UserError
        When the file's answers differ from the network's by more than `PARITY` in the root mean
        square (in single precision) or `PARITY_MAX_MM` anywhere; no file is left.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    try:
        _write(trained, card, part, half)
        parity = compare(trained.network, part, examples)
        if not parity.holds(half):
            raise UserError(
                "The exported file does not give what the network gives "
                f"(relative {parity.relative:.2g}, worst {parity.max_mm:.2g} mm).",
                "Nothing was written; "
                + (
                    "export it without --half."
                    if half
                    else "try other versions of torch or ONNX Runtime."
                ),
            )
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return parity


def _write(trained: Trained, card: ModelCard, path: Path, half: bool) -> None:
    network = trained.network
    spec: PreprocessSpec = network.spec
    skull = torch.zeros(1, len(spec.channels), *spec.shape)
    latent = torch.zeros(1, network.latent_size)
    assert isinstance(network, torch.nn.Module)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, we do not
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
    if half:
        store_in_half(model, {name for name, _ in network.named_parameters()})
    _keep_by_name(model, network.state_dict())
    texts = {
        SPEC_KEY: spec.to_json(),
        CARD_KEY: card.to_json(),
        TRAINING_KEY: json.dumps(trained.notes(), sort_keys=True),
    }
    if trained.familiarity is not None:
        texts[FAMILIARITY_KEY] = trained.familiarity.to_json()
    if trained.template is not None:
        texts[TEMPLATE_KEY] = trained.template
    onnx.helper.set_model_props(model, texts)
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


def _keep_by_name(model: onnx.ModelProto, state: dict[str, torch.Tensor]) -> None:
    """Put back the small tensors that the exporter folded away: fine-tuning reads them by name."""
    there = {tensor.name.removesuffix(HALF) for tensor in model.graph.initializer}
    for name, values in state.items():
        if name not in there:
            model.graph.initializer.append(onnx.numpy_helper.from_array(values.numpy(), name))


@torch.no_grad()
def compare(network: FaceNetwork, path: Path, examples: np.ndarray) -> Parity:
    """Return how far a model file's answers are from the network's, over distance and spread."""
    model = open_model(path)
    random = np.random.default_rng(0)
    found = []
    for skull in examples:
        latent = random.normal(size=model.latent_size).astype(np.float32)
        mine = network(torch.from_numpy(skull)[None], torch.from_numpy(latent)[None])
        theirs = model.run(skull, latent)
        for a, b in zip(mine, theirs, strict=True):
            wanted = a[0, 0].double().numpy()
            miss = np.abs(wanted - b)
            size = np.sqrt((wanted**2).mean())
            found.append((miss.mean(), miss.max(), np.sqrt((miss**2).mean()) / size))
    mean, worst, relative = (float(value) for value in np.max(found, axis=0))  # NaN stays
    return Parity(mean, worst, relative)
