"""Where programmes come from: plans that come along, files like theirs, settings of a run."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

from facegen_inference.errors import UserError
from facegen_training.fitting.config import read_config
from facegen_training.planning.programme import Programme


def known_presets() -> list[str]:
    """Return the names of the plans that come with the package."""
    folder = files("facegen_training.planning") / "presets"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")


def read_preset(name: str) -> Programme:
    """Read one of `known_presets`, or a TOML file like theirs.

    Raises
    ------
    UserError
        When there is none, or a key is unknown or of the wrong kind.
    """
    try:
        if name in known_presets():
            folder = files("facegen_training.planning") / "presets"
            text = (folder / f"{name}.toml").read_text(encoding="utf-8")
        else:
            text = Path(name).read_text(encoding="utf-8")
        data = tomllib.loads(text)
        unknown = sorted(set(data) - {f.name for f in fields(Programme)} | {"config"} & set(data))
        if unknown:
            raise ValueError(f"unknown input {unknown[0]}")
        z, y, x = data.pop("size")
        return Programme(size=(int(z), int(y), int(x)), **data)
    except FileNotFoundError as error:
        raise UserError(
            f"There is neither a preset nor a file called {name}.",
            f"Presets: {', '.join(known_presets())}.",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{name} is not a plan: {error}.", f"Known: {', '.join(known_presets())}."
        ) from error


def programme_of_run(path: Path, people: int, jobs: int, gpus: int) -> Programme:
    """Return what a configuration of ``facegen-train fit`` asks for.

    Parameters
    ----------
    path
        TOML file.
    people
        Prepared scans, for the disk.
    jobs
        How often it is trained, e.g. trials of a sweep.
    gpus
        Of each job: every one of them takes ``batch * accumulate`` samples a step.
    """
    config = read_config(path)
    fit = config.fit
    return Programme(
        title=f"{config.name}, as {path.name} has it",
        network="pix2pix3d-fit" if config.network == "pix2pix3d" else config.network,
        size=(128, 104, 96),
        jobs=jobs,
        volumes=fit.batch * fit.accumulate * gpus,
        epochs=fit.steps,
        precision=fit.precision,
        recompute=fit.checkpoint_activations,
        batch=fit.batch,
        people=people,
        config=config,
    )
