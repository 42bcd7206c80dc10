"""Save and load a moment of a run: weights, averaged weights, optimisers, a JSON beside them.

A checkpoint is a folder that appears all at once; the two newest are kept.  All tensors are whole,
whatever number of ranks wrote them, and lie in safetensors files: nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from facegen_inference.errors import UserError

CHECKPOINT_VERSION = 2
_KEPT = 2
_NAME = "checkpoint-"


@dataclass(frozen=True)
class Checkpoint:
    """One moment of a run.

    Attributes
    ----------
    step
        Steps done; with the seed it is the state of everything random and of the sampler.
    weights
        ``player.tensor`` of every player.
    average
        ``player.tensor`` of the running average of the player that makes faces.
    optimizer
        ``player.parameter.moment`` of every player's optimiser.
    watch
        State of `facegen_training.fitting.watch.Watch`.
    """

    step: int
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    watch: dict[str, float]


def save_checkpoint(run: Path, checkpoint: Checkpoint, settings: dict[str, Any]) -> Path:
    """Write a checkpoint under a temporary name, make sure it is on the disk, and rename it.

    Returns
    -------
    Its folder.

    Raises
    ------
    UserError
        When the disk is full or may not be written to; older checkpoints are untouched.
    """
    final = run / f"{_NAME}{checkpoint.step:07d}"
    part = run / f"{final.name}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name in ("weights", "average", "optimizer"):
            tensors = {key: value.contiguous() for key, value in getattr(checkpoint, name).items()}
            save_file(tensors, str(part / f"{name}.safetensors"))
        card = {
            **settings,
            "version": CHECKPOINT_VERSION,
            "step": checkpoint.step,
            "watch": checkpoint.watch,
        }
        text = json.dumps(card, indent=1, sort_keys=True)
        (part / "checkpoint.json").write_text(text, encoding="utf-8")
        for file in part.iterdir():
            _to_disk(file)
        _to_disk(part)
        _discard(final)
        part.rename(final)
        _to_disk(run)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise UserError(
            f"The checkpoint of step {checkpoint.step} could not be written.",
            "Make room on the disk and start again: the run goes on from its last checkpoint.",
            reason=error,
        ) from error
    for old in _found(run)[:-_KEPT]:
        _discard(old)
    return final


def _to_disk(path: Path) -> None:
    """Wait until a file or a folder's list of names is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _discard(folder: Path) -> None:
    """Take a checkpoint away so that half of one is never taken for a whole one."""
    if folder.exists():
        leaving = folder.with_name(f"{folder.name}.old")
        shutil.rmtree(leaving, ignore_errors=True)
        folder.rename(leaving)
        shutil.rmtree(leaving)


def sweep_up(run: Path) -> None:
    """Remove what a killed run left half written or half removed."""
    for pattern in (f"{_NAME}*.part", f"{_NAME}*.old"):
        for folder in run.glob(pattern):
            shutil.rmtree(folder)


def _found(run: Path) -> list[Path]:
    return sorted(run.glob(f"{_NAME}???????"))


def newest_checkpoint(run: Path) -> Path | None:
    """Return the newest checkpoint's folder, or None."""
    found = _found(run)
    return found[-1] if found else None


def step_of(folder: Path) -> int:
    """Return the steps done at a checkpoint, from its folder's name."""
    return int(folder.name.removeprefix(_NAME))


def load_checkpoint(folder: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """Read a checkpoint and the settings beside it; an older version is upgraded.

    Raises
    ------
    UserError
        When it is of a newer version or incomplete.
    """
    try:
        settings = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        if settings["version"] == 1:
            return upgrade_checkpoint_1(folder, settings), settings
        if settings["version"] != CHECKPOINT_VERSION:
            raise UserError(
                f"{folder.name} has checkpoint version {settings['version']}.",
                f"This program reads versions up to {CHECKPOINT_VERSION}.",
            )
        return Checkpoint(
            step=int(settings["step"]),
            weights=load_file(str(folder / "weights.safetensors")),
            average=load_file(str(folder / "average.safetensors")),
            optimizer=load_file(str(folder / "optimizer.safetensors")),
            watch=dict(settings["watch"]),
        ), settings
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise UserError(
            f"{folder.name} is not a complete checkpoint.",
            "Remove it to resume from an older one.",
            reason=error,
        ) from error


def upgrade_checkpoint_1(folder: Path, settings: dict[str, Any]) -> Checkpoint:
    """Read a checkpoint of FaceGen 0.1, which knew one network and pickled its optimiser.

    The linear part was among the weights, and lies in the run's folder anyway; the optimiser
    numbered the correction's parameters in their order.
    """
    weights = load_file(str(folder / "weights.safetensors"))
    average = load_file(str(folder / "average.safetensors"))
    ours = [key for key in weights if key.startswith("correction.")]
    state = torch.load(folder / "optimizer.pt", weights_only=True)["state"]
    order = sorted(ours, key=_order_1)
    return Checkpoint(
        step=int(settings["step"]),
        weights={key: weights[key] for key in ours},
        average={key: average[key] for key in ours},
        optimizer=dict(_moments_1(order, state)),
        watch={},
    )


def _order_1(name: str) -> tuple[int, list[int], int]:
    """Place a parameter as version 1's network listed it: down, up, last; weight before bias."""
    parts = name.split(".")[1:]
    return (
        ("down", "up", "last").index(parts[0]),
        [int(part) for part in parts if part.isdigit()],
        ("scale", "weight", "bias").index(parts[-1]),
    )


def _moments_1(order: list[str], state: dict[int, dict[str, Any]]) -> Iterator[tuple[str, Tensor]]:
    for number, name in enumerate(order):
        for moment, value in state.get(number, {}).items():
            yield f"{name}.{moment}", torch.as_tensor(value)
