"""``facegen-train fit``: train a network, or go on with a run."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer


def fit(
    manifest: Annotated[Path, typer.Argument(help="What prepare printed.")],
    run: Annotated[Path, typer.Option(help="Folder of the run; resumed where it exists.")],
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
) -> None:
    """Fit the linear part and train the network."""
    from facegen_training.cohort.dataset import read_dataset
    from facegen_training.fitting.config import read_config
    from facegen_training.fitting.fit import fit as train

    default = Path(str(files("facegen_training") / "runs" / "first.toml"))
    settings = read_config(config or default)
    folder = train(read_dataset(manifest), run, settings, _say)
    typer.echo(str(folder))


def _say(line: dict[str, Any]) -> None:
    if len(line) > 2 and ("error" not in line or int(line["step"]) % 20 == 0):
        typer.echo(json.dumps(line), err=True)
