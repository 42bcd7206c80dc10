"""The training loop: one for every learner, on one rank or on many.

What is random at a step follows from the seed, the step and the rank alone, so that a run that was
stopped or killed and then resumed gives the same weights as one that ran through.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric

from facegen_inference.errors import UserError
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.checkpoint import (
    Checkpoint,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
    step_of,
    sweep_up,
)
from facegen_training.fitting.config import Config, FitConfig
from facegen_training.fitting.launch import end_ranks, launch, lost_ranks_named, numerics
from facegen_training.fitting.loader import Loader, Share
from facegen_training.fitting.pictures import face_picture
from facegen_training.fitting.players import Average, Player, set_up
from facegen_training.fitting.record import Record, Say, memory_mib
from facegen_training.fitting.run_folder import start_run
from facegen_training.fitting.start import begin_from, resumed_config
from facegen_training.fitting.stop import Stop
from facegen_training.fitting.watch import Watch
from facegen_training.networks.learner import Batch, Learner
from facegen_training.networks.registry import build_learner


@dataclass(frozen=True)
class Aids:
    """What a run may be given besides its settings.

    Attributes
    ----------
    say
        Told, on rank 0, each line of ``steps.jsonl``.
    stop
        Whether to stop early; see `facegen_training.fitting.stop`.
    start
        Model file or checkpoint folder to begin from instead of from nothing.
    """

    say: Say | None = None
    stop: Stop = field(default_factory=Stop)
    start: Path | None = None


@dataclass
class Training:
    """A run in progress on this rank."""

    fabric: Fabric
    data: Dataset
    run: Path
    config: Config
    settings: dict[str, Any]
    learner: Learner
    players: dict[str, Player]
    average: Average
    watch: Watch
    loader: Loader
    record: Record | None
    step: int = 0

    @property
    def face(self) -> Player:
        """The player that makes faces."""
        return self.players[self.learner.face]


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
    training = _set_up(fabric, data, run, config, aids)
    try:
        folder = _train(training, aids.stop)
    finally:
        training.loader.close()
        if training.record is not None:
            training.record.close()
    fabric.barrier()
    return folder


def _set_up(fabric: Fabric, data: Dataset, run: Path, config: Config, aids: Aids) -> Training:
    """Build everything as the newest checkpoint has it; write one if there is none."""
    with fabric.rank_zero_first(local=False):
        start = None if aids.start is None else begin_from(aids.start, data, run)
        config = resumed_config(run, config) if start is None else start.suit(config)
        settings = start_run(run, data, config, None if start is None else start.record())
        torch.manual_seed(config.fit.seed)
        learner = build_learner(data, config, run)
        if fabric.is_global_zero:
            sweep_up(run)
    newest = newest_checkpoint(run)
    if start is not None and newest is None:
        start.fill(learner.players)
    average = Average(learner.players[learner.face])
    rows = data.rows("train")
    share = Share(config.fit, fabric.global_rank, fabric.world_size, rows)
    loader = Loader(learner.sample, share, pin=fabric.device.type == "cuda")
    loader.begin_at(0 if newest is None else step_of(newest))  # before a GPU is touched
    players = {name: set_up(fabric, name, raw, config.fit) for name, raw in learner.players.items()}
    average.share_out(players[learner.face], fabric.device)
    training = Training(
        fabric, data, run, config, settings, learner, players, average,
        Watch(config.fit), loader, None,
    )  # fmt: skip
    if newest is None:
        _save(training)
    else:
        _go_back(training)
    if fabric.is_global_zero:
        training.record = Record(run, training.step, config.fit.tensorboard, aids.say)
    return training


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
            _return(training)
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
            _validate(training)
        if done or stopping or training.step % config.checkpoint_every == 0:
            started = time.perf_counter()
            folder = _save(training)
            stop.took("checkpoint", time.perf_counter() - started)
        if stopping and not done:
            stop.acted = True
            break
    assert folder is not None
    return folder if training.fabric.is_global_zero else training.run / folder.name


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


@torch.no_grad()
def _validate(training: Training) -> None:
    """Measure the running average on the validation people and draw some of them."""
    face = training.average.gather(training.face)
    figures = training.learner.validate(face)
    if not figures or training.record is None:
        return
    training.record.line({"step": training.step, **figures})
    rows = training.data.rows("validation")[: training.config.fit.pictures]
    if not rows or not training.config.fit.tensorboard:
        return
    network, spec = training.learner.network(face), training.data.spec
    for number, row in enumerate(rows):
        fields = training.data.fields(row)
        distance, _ = network(fields[None, :2], torch.zeros(1, network.latent_size))
        both = [face_picture(f.numpy(), spec.spacing_mm) for f in (distance[0, 0], fields[2])]
        name = f"validation/{number}, predicted above true"
        training.record.picture(name, np.concatenate(both), training.step)


def _save(training: Training) -> Path:
    """Write a checkpoint; every rank takes part, rank 0 writes, all know whether it succeeded."""
    weights: dict[str, torch.Tensor] = {}
    moments: dict[str, torch.Tensor] = {}
    for player in training.players.values():
        weights.update(player.weights())
        moments.update(player.moments())
    face = training.average.gather(training.face).state_dict()
    average = {f"{training.face.name}.{k}": v.cpu().clone() for k, v in face.items()}
    checkpoint = Checkpoint(training.step, weights, average, moments, training.watch.state())
    folder, problem = training.run, None
    if training.fabric.is_global_zero:
        try:
            folder = save_checkpoint(training.run, checkpoint, training.settings)
        except UserError as error:
            problem = error
    name: str = training.fabric.broadcast("" if problem else folder.name)
    if problem is not None:
        raise problem
    if not name:
        raise UserError("Rank 0 could not write a checkpoint.", "See what rank 0 says.")
    return training.run / name


def _go_back(training: Training) -> None:
    """Take over the newest checkpoint."""
    folder = newest_checkpoint(training.run)
    assert folder is not None
    checkpoint, _ = load_checkpoint(folder)
    for player in training.players.values():
        player.take(checkpoint.weights, checkpoint.optimizer)
    training.average.take(training.face, checkpoint.average)
    training.watch.take(checkpoint.watch)
    training.step = checkpoint.step


def _return(training: Training) -> None:
    """Go back to the last checkpoint in the middle of a run, with a lower rate from now on."""
    bad, rollbacks = training.watch.bad, training.watch.rollbacks
    _go_back(training)
    training.watch.bad, training.watch.rollbacks = bad, rollbacks
    training.loader.begin_at(training.step)
    if training.record is not None:
        training.record.go_back(training.step)
