"""Save and load a run: weights and averaged weights (safetensors), optimiser, a JSON beside them.

A checkpoint is a folder that appears all at once; the two newest are kept.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor

from facegen_inference.errors import UserError
from facegen_training.networks.linear import LinearFit, LinearPart

CHECKPOINT_VERSION = 1
_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """One moment of a run.

    Attributes
    ----------
    step
        Steps done.
    weights, average
        State of the network and its running average.
    optimizer
        Its ``state_dict``.
    """

    step: int
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]


def save_checkpoint(run: Path, checkpoint: Checkpoint, settings: dict[str, Any]) -> Path:
    """Write a checkpoint under a temporary name and rename it; return its folder."""
    name = f"checkpoint-{checkpoint.step:07d}"
    part = run / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for file, weights in (("weights", checkpoint.weights), ("average", checkpoint.average)):
        tensors = {key: value.contiguous().cpu() for key, value in weights.items()}
        save_file(tensors, str(part / f"{file}.safetensors"))
    torch.save(checkpoint.optimizer, part / "optimizer.pt")
    card = {"version": CHECKPOINT_VERSION, "step": checkpoint.step, **settings}
    (part / "checkpoint.json").write_text(json.dumps(card, indent=1, sort_keys=True))
    final = run / name
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    for old in sorted(run.glob("checkpoint-???????"))[:-_KEPT]:
        shutil.rmtree(old)
    return final


def newest_checkpoint(run: Path) -> Path | None:
    """Return the newest checkpoint's folder, or None."""
    found = sorted(run.glob("checkpoint-???????"))
    return found[-1] if found else None


def load_checkpoint(folder: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """Read a checkpoint and the settings beside it.

    Raises
    ------
    UserError
        When it is of another version or incomplete.
    """
    try:
        settings = json.loads((folder / "checkpoint.json").read_text())
        if settings["version"] != CHECKPOINT_VERSION:
            raise UserError(
                f"{folder.name} has checkpoint version {settings['version']}.",
                f"This program reads version {CHECKPOINT_VERSION}.",
            )
        optimizer = torch.load(folder / "optimizer.pt", weights_only=True)
        return Checkpoint(
            step=int(settings["step"]),
            weights=load_file(str(folder / "weights.safetensors")),
            average=load_file(str(folder / "average.safetensors")),
            optimizer=optimizer,
        ), settings
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{folder.name} is not a complete checkpoint.",
            "Resume from an older one.",
            reason=error,
        ) from error


def _part_arrays(part: LinearPart, prefix: str) -> dict[str, Any]:
    return {f"{prefix}.read": part.read, f"{prefix}.write": part.write}


def save_linear(path: Path, fit: LinearFit) -> None:
    """Write a linear fit as safetensors, with its scalars in the file's metadata."""
    arrays: dict[str, Any] = {
        "mean_bone": fit.whole.mean_bone,
        "mean_skin": fit.whole.mean_skin,
        "features": fit.whole.features,
        "latent": fit.latent,
        "spread": fit.spread,
        **_part_arrays(fit.whole, "whole"),
    }
    for n, part in enumerate(fit.folds):
        arrays.update(_part_arrays(part, f"fold{n}"))
    arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    notes = {
        "influence_mm": fit.whole.influence_mm,
        "folds": len(fit.folds),
        "fold_of": fit.fold_of,
        "ridge": fit.ridge,
        "error_mm": fit.error_mm,
    }
    temporary = path.with_name(path.name + ".part")
    save_arrays(arrays, str(temporary))
    temporary.replace(path)
    path.with_suffix(".json").write_text(json.dumps(notes, indent=1), encoding="utf-8")


def load_linear(path: Path) -> LinearFit:
    """Read what `save_linear` wrote."""
    arrays = load_arrays(str(path))
    notes = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))

    def part(prefix: str) -> LinearPart:
        return LinearPart(
            mean_bone=arrays["mean_bone"],
            mean_skin=arrays["mean_skin"],
            features=arrays["features"],
            influence_mm=notes["influence_mm"],
            read=arrays[f"{prefix}.read"],
            write=arrays[f"{prefix}.write"],
        )

    return LinearFit(
        whole=part("whole"),
        folds=tuple(part(f"fold{n}") for n in range(notes["folds"])),
        fold_of={int(person): fold for person, fold in notes["fold_of"].items()},
        latent=arrays["latent"],
        spread=arrays["spread"],
        ridge=notes["ridge"],
        error_mm={float(key): value for key, value in notes["error_mm"].items()},
    )
