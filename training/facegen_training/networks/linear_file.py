"""The linear part of a run on disk: arrays as safetensors, its scalars as JSON beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from facegen_training.networks.linear import LinearFit, LinearPart

LINEAR = "linear.safetensors"
"""Name of the file in a run's folder."""


def _part_arrays(part: LinearPart, prefix: str) -> dict[str, Any]:
    return {f"{prefix}.read": part.read, f"{prefix}.write": part.write}


def save_linear(path: Path, fit: LinearFit) -> None:
    """Write a linear fit; the arrays appear last, so that whoever sees them finds all."""
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
    path.with_suffix(".json").write_text(json.dumps(notes, indent=1), encoding="utf-8")
    temporary = path.with_name(path.name + ".part")
    save_file(arrays, str(temporary))
    temporary.replace(path)


def load_linear(path: Path) -> LinearFit:
    """Read what `save_linear` wrote."""
    arrays = load_file(str(path))
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
