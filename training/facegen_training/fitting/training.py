"""The state of a run: built or resumed, measured, written to a checkpoint, taken back to one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from facegen_training.fitting.config import Config
from facegen_training.fitting.loader import Loader, Share
from facegen_training.fitting.pictures import face_picture
from facegen_training.fitting.players import Average, Player, set_up
from facegen_training.fitting.record import Record, Say
from facegen_training.fitting.run_folder import start_run
from facegen_training.fitting.start import begin_from, keep_linear, resumed_config
from facegen_training.fitting.stop import Stop
from facegen_training.fitting.watch import Watch
from facegen_training.networks.learner import Learner
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


def begin(fabric: Fabric, data: Dataset, run: Path, config: Config, aids: Aids) -> Training:
    """Build everything as the newest checkpoint has it; write one if there is none."""
    if not data.rows("train"):
        raise UserError(
            "There is no one to learn from.", "Prepare people of whom some are in the part train."
        )
    with fabric.rank_zero_first(local=False):
        start = None if aids.start is None else begin_from(aids.start, data)
        config = resumed_config(run, config) if start is None else start.suit(config)
        settings = start_run(run, data, config, None if start is None else start.record())
        if start is not None:
            keep_linear(start, run)
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
        save(training)
    else:
        take_newest(training)
    if fabric.is_global_zero:
        training.record = Record(run, training.step, config.fit.tensorboard, aids.say)
    return training


@torch.no_grad()
def validate(training: Training) -> None:
    """Measure the running average on the validation people and draw some predicted faces.

    Never the true ones: nobody's own face is written into a run.
    """
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
        picture = face_picture(distance[0, 0].numpy(), spec.spacing_mm)
        training.record.picture(f"validation/{number}, predicted", picture, training.step)


def save(training: Training) -> Path:
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


def take_newest(training: Training) -> None:
    """Take over the newest checkpoint."""
    folder = newest_checkpoint(training.run)
    assert folder is not None
    checkpoint, _ = load_checkpoint(folder)
    for player in training.players.values():
        player.take(checkpoint.weights, checkpoint.optimizer)
    training.average.take(training.face, checkpoint.average)
    training.watch.take(checkpoint.watch)
    training.step = checkpoint.step


def go_back(training: Training) -> None:
    """Go back to the last checkpoint in the middle of a run, with a lower rate from now on."""
    bad, rollbacks = training.watch.bad, training.watch.rollbacks
    take_newest(training)
    training.watch.bad, training.watch.rollbacks = bad, rollbacks
    training.loader.begin_at(training.step)
    if training.record is not None:
        training.record.go_back(training.step)
