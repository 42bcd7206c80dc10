"""The training loop: first the linear prediction, then the network that corrects it.

What is random at a step depends on the seed and the step alone, so that a run that was stopped
and resumed gives the same weights as one that ran through.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor

from facegen_inference.errors import UserError
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import Sample, coarse_points, plain_sample, random_sample
from facegen_training.fitting.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_linear,
    newest_checkpoint,
    save_checkpoint,
    save_linear,
)
from facegen_training.fitting.config import Config
from facegen_training.fitting.losses import (
    distance_error,
    face_weight,
    near_skin,
    spread_likelihood,
    surface_miss,
)
from facegen_training.networks.linear import Copies, LinearFit, fit_linear
from facegen_training.networks.sdf import SkullToFace, linear_prediction

Say = Callable[[dict[str, Any]], None]


def fit(data: Dataset, run: Path, config: Config, say: Say | None = None) -> Path:
    """Train a network, resuming where the run folder already holds a checkpoint.

    Parameters
    ----------
    data
        Prepared people; the part ``train`` is learned from, ``validation`` only watched.
    run
        Folder of the run: settings, linear part, checkpoints, ``steps.jsonl``.
    config
        Settings; must be those the run was started with.
    say
        Told each line of ``steps.jsonl`` as well.

    Returns
    -------
    The last checkpoint's folder.
    """
    if config.fit.threads:
        torch.set_num_threads(config.fit.threads)
    settings = _start_run(run, data, config)
    write = _log(run / "steps.jsonl", say)
    linear = _linear_part(data, run, config, write)
    fabric = Fabric(accelerator="cpu", devices=1)
    torch.manual_seed(config.fit.seed)
    network = build_network(data, linear, config)
    average = deepcopy(network)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.fit.learning_rate, weight_decay=config.fit.weight_decay
    )
    begin = _resume(run, network, average, optimizer)
    face = face_weight(coarse_points(data.spec))
    train = data.rows("train")
    model, optimizer = fabric.setup(network, optimizer, move_to_device=True)
    model.mark_forward_method("coarse")
    folder = newest_checkpoint(run)
    for step in range(begin, config.fit.steps):
        started = time.perf_counter()
        _set_rate(optimizer, config, step)
        optimizer.zero_grad()
        terms = []
        for sample, start in _batch(data, linear, train, config, step):
            cost, named = _cost(model, sample, start, face, config)
            fabric.backward(cost / config.fit.batch)
            terms.append(named)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        _follow(average, network, config.fit.average, step)
        line = {name: float(np.mean([t[name] for t in terms])) for name in terms[0]}
        write({"step": step + 1, **line, "seconds": time.perf_counter() - started})
        done = step + 1 == config.fit.steps
        if done or (step + 1) % config.fit.validate_every == 0:
            write({"step": step + 1, **validate(data, average, linear, face)})
        if done or (step + 1) % config.fit.checkpoint_every == 0:
            folder = save_checkpoint(
                run,
                Checkpoint(
                    step + 1, network.state_dict(), average.state_dict(), optimizer.state_dict()
                ),
                settings,
            )
    assert folder is not None
    return folder


def build_network(data: Dataset, linear: LinearFit, config: Config) -> SkullToFace:
    """Return a fresh network that holds the linear part."""
    whole = linear.whole
    network = SkullToFace(
        data.spec, config.net, len(whole.features), len(whole.read), len(linear.latent)
    )
    network.load_linear(linear)
    return network


def _start_run(run: Path, data: Dataset, config: Config) -> dict[str, Any]:
    """Make the run folder, or check that it was started with the same settings and data."""
    settings = {
        "config": config.as_data(),
        "spec": data.spec.to_json(),
        "manifest_sha256": data.manifest_sha256,
    }
    run.mkdir(parents=True, exist_ok=True)
    file = run / "run.json"
    text = json.dumps(settings, indent=1, sort_keys=True)
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise UserError(
            "This run was started with other settings or other data.",
            "Give another run folder, or the settings in its run.json.",
        )
    file.write_text(text, encoding="utf-8")
    return settings


def _log(path: Path, say: Say | None) -> Say:
    def write(line: dict[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if say is not None:
            say(line)

    return write


def _linear_part(data: Dataset, run: Path, config: Config, write: Say) -> LinearFit:
    path = run / "linear.safetensors"
    if not path.exists():
        started = time.perf_counter()
        weight = face_weight(coarse_points(data.spec)).reshape(-1).numpy()
        linear = fit_linear(linear_copies(data, config), weight, config.linear)
        save_linear(path, linear)
        errors = {str(key): value for key, value in linear.error_mm.items()}
        write({"linear": errors, "seconds": time.perf_counter() - started})
    return load_linear(path)


def linear_copies(data: Dataset, config: Config) -> Copies:
    """Return augmented copies of the training people; the first of each is as it was scanned."""
    rows = []
    people = []
    for row in data.rows("train"):
        fields = data.fields(row)
        for copy in range(config.linear.copies):
            random = np.random.default_rng([config.fit.seed, 1, row, copy])
            if copy == 0:
                sample = plain_sample(fields, data.spec)
            else:
                sample = random_sample(fields, data.spec, config.augment, random)
            rows.append([t.reshape(-1).numpy() for t in vars(sample).values()])
            people.append(row)
    bone, observed, skin, valid = (np.stack(column) for column in zip(*rows, strict=True))
    return Copies(bone, observed, skin, valid, np.array(people))


def _batch(
    data: Dataset, linear: LinearFit, train: list[int], config: Config, step: int
) -> list[tuple[Sample, Tensor]]:
    """Return samples with the linear prediction that never saw their person."""
    random = np.random.default_rng([config.fit.seed, 2, step])
    batch = []
    for row in random.choice(train, config.fit.batch, replace=len(train) < config.fit.batch):
        sample = random_sample(data.fields(int(row)), data.spec, config.augment, random)
        unseen = linear.folds[linear.fold_of[int(row)]]
        batch.append((sample, linear_prediction(unseen, sample.bone, sample.observed)))
    return batch


def _cost(
    model: Any, sample: Sample, start: Tensor, face: Tensor, config: Config
) -> tuple[Tensor, dict[str, float]]:
    weight = near_skin(sample, face, config.fit.band_mm)
    distance, spread = model.coarse(sample.bone, sample.observed, start)
    error = distance_error(distance, sample, weight)
    likelihood = spread_likelihood(distance, spread, sample, weight)
    return error + config.fit.spread_weight * likelihood, {
        "error": error.item(),
        "likelihood": likelihood.item(),
        "miss_mm": surface_miss(distance, sample, face).item(),
        "linear_miss_mm": surface_miss(start, sample, face).item(),
    }


@torch.no_grad()
def validate(
    data: Dataset, network: SkullToFace, linear: LinearFit, face: Tensor
) -> dict[str, float]:
    """Return the mean miss near the true skin of the validation people, mm, and of the start."""
    misses = []
    for row in data.rows("validation"):
        sample = plain_sample(data.fields(row), data.spec)
        start = linear_prediction(linear.whole, sample.bone, sample.observed)
        distance, _ = network.coarse(sample.bone, sample.observed, start)
        mean = linear_mean(linear, sample)
        misses.append([float(surface_miss(f, sample, face)) for f in (distance, start, mean)])
    if not misses:
        return {}
    net, line, mean_face = np.mean(misses, axis=0)
    return {
        "validation_mm": float(net),
        "validation_linear_mm": float(line),
        "validation_mean_face_mm": float(mean_face),
    }


def linear_mean(linear: LinearFit, sample: Sample) -> Tensor:
    """Return the mean skin's distance in the shape of a sample, mm."""
    return torch.from_numpy(linear.whole.mean_skin).reshape(sample.skin.shape)


def _set_rate(optimizer: Any, config: Config, step: int) -> None:
    warm = min(1.0, (step + 1) / max(config.fit.warmup_steps, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.fit.steps))
    for group in optimizer.param_groups:
        group["lr"] = config.fit.learning_rate * warm * cosine


@torch.no_grad()
def _follow(average: SkullToFace, network: SkullToFace, decay: float, step: int) -> None:
    """Let the average follow; quickly at the beginning."""
    keep = min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - keep)


def _resume(run: Path, network: SkullToFace, average: SkullToFace, optimizer: Any) -> int:
    """Take over the newest checkpoint; return the step to go on from."""
    folder = newest_checkpoint(run)
    if folder is None:
        return 0
    checkpoint, _ = load_checkpoint(folder)
    network.load_state_dict(checkpoint.weights)
    average.load_state_dict(checkpoint.average)
    optimizer.load_state_dict(checkpoint.optimizer)
    return checkpoint.step
