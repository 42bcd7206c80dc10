"""The training loop: one for every learner, on one rank or on many.

What is random at a step follows from the seed, the step and the rank alone, so that a run that was
stopped or killed and then resumed gives the same weights as one that ran through.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric

from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.checkpoint import newest_checkpoint
from facegen_training.fitting.config import Config, FitConfig
from facegen_training.fitting.launch import end_ranks, launch, lost_ranks_named, numerics
from facegen_training.fitting.record import memory_mib
from facegen_training.fitting.run_folder import only_one
from facegen_training.fitting.stop import Stop
from facegen_training.fitting.training import Aids, Training, begin, go_back, save, validate
from facegen_training.networks.learner import Batch


def fit(data: Dataset, run: Path, config: Config, aids: Aids | None = None) -> Path:
    """Train a network, resuming where the run folder already holds a checkpoint.

    Parameters
    ----------
    data
        Prepared people; the part ``train`` is learned from, ``validation`` only watched.
    run
        Folder of the run: settings, linear part, checkpoints, ``steps.jsonl``.
    config
        Settings; must be those the run was started with.
    aids
        Who is told, what may stop it, where it begins.

    Returns
    -------
    The last checkpoint's folder; of the last step unless ``aids.stop`` has ``acted``.

    Raises
    ------
    UserError
        For other settings than the run's, no one to learn from, a full disk, a gradient that
        stays infinite, a lost rank.
    """
    aids = aids or Aids()
    with numerics(config.fit):
        fabric = launch(config.fit)
        with lost_ranks_named(fabric):
            folder = _fit(fabric, data, run, config, aids)
        end_ranks()
    if aids.stop.acted and fabric.is_global_zero:
        aids.stop.on_stop()
    return folder


def _fit(fabric: Fabric, data: Dataset, run: Path, config: Config, aids: Aids) -> Path:
    training = begin(fabric, data, run, config, aids)
    try:
        with only_one(run) if fabric.is_global_zero else nullcontext():
            folder = _train(training, aids.stop)
    finally:
        training.loader.close()
        if training.record is not None:
            training.record.close()
    fabric.barrier()
    return folder


def _train(training: Training, stop: Stop) -> Path:
    """Take steps until the last one, or until asked to stop; return the last checkpoint."""
    config, record = training.config.fit, training.record
    folder = newest_checkpoint(training.run)
    while training.step < config.steps:
        started = time.perf_counter()
        batches = [training.fabric.to_device(batch) for batch in training.loader.step()]
        rate = config.learning_rate * training.watch.rate * schedule(config, training.step)
        figures, finite = _learn(training, batches, rate)
        if training.watch.saw(finite):
            go_back(training)
            continue
        training.step += 1
        seconds = time.perf_counter() - started
        stop.took("step", seconds)
        figures, stopping = _agreed(training.fabric, figures, stop.due)
        done = training.step == config.steps
        if record is not None:
            waiting = training.loader.waited / seconds
            record.line(_line(training, figures, finite, rate, seconds, waiting))
        if done or training.step % config.validate_every == 0:
            validate(training)
        if done or stopping or training.step % config.checkpoint_every == 0:
            started = time.perf_counter()
            folder = save(training)
            stop.took("checkpoint", time.perf_counter() - started)
        if stopping and not done:
            stop.acted = True
            break
    assert folder is not None
    return folder


def _learn(training: Training, batches: list[Batch], rate: float) -> tuple[dict[str, float], bool]:
    """Let every player move once; return figures and whether all gradients were finite."""
    fabric, config = training.fabric, training.config.fit
    seed = np.random.SeedSequence([config.seed, 4, training.step, fabric.global_rank])
    torch.manual_seed(int(seed.generate_state(1)[0]))
    figures: dict[str, float] = {}
    lengths = []
    for player in training.players.values():
        for other in training.players.values():
            other.freeze(other is not player)
        networks = {
            name: other.wrapped if other is player else other.raw
            for name, other in training.players.items()
        }
        for number, batch in enumerate(batches, start=1):
            waits = fabric.world_size > 1 and number < len(batches)
            with fabric.no_backward_sync(player.wrapped) if waits else nullcontext():
                with fabric.autocast():
                    cost, found = training.learner.cost(player.name, networks, batch)
                fabric.backward(cost / len(batches))
            for name, value in found.items():
                figures[name] = figures.get(name, 0.0) + value / len(batches)
        lengths.append(player.move(config, rate))
        figures[f"gradient_{player.name}"] = lengths[-1]
    finite = all(math.isfinite(length) for length in lengths)
    if finite:
        training.average.follow(training.face, config.average, training.step)
    return figures, finite


def schedule(config: FitConfig, step: int) -> float:
    """Return the factor on the learning rate: up over the warm-up, down as a cosine."""
    warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    return warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def _agreed(fabric: Fabric, figures: dict[str, float], stop: bool) -> tuple[dict[str, float], bool]:
    """Return the mean of the figures over ranks, and whether any rank wants to stop."""
    if fabric.world_size == 1:
        return figures, stop
    values = torch.tensor([float(stop), *figures.values()], device=fabric.device)
    wish, *means = torch.as_tensor(fabric.all_reduce(values, reduce_op="mean")).tolist()
    return dict(zip(figures, means, strict=True)), wish > 0


def _line(
    training: Training,
    figures: dict[str, float],
    finite: bool,
    rate: float,
    seconds: float,
    waiting: float,
) -> dict[str, Any]:
    """Return the line of a step; a figure that is not finite is left out."""
    return {
        "step": training.step,
        **{name: value for name, value in figures.items() if math.isfinite(value)},
        **({} if finite else {"skipped": 1}),
        "rate": rate,
        "seconds": round(seconds, 5),
        "waiting": round(waiting, 4),
        "memory_mib": memory_mib(training.fabric.device),
    }
