"""``facegen-train fit``: train a network, or go on with a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegen_training.fitting.stop import STOPPED, Stop


def fit(
    manifest: Annotated[Path, typer.Argument(help="What prepare printed.")],
    run: Annotated[Path, typer.Option(help="Folder of the run; resumed where it exists.")],
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="Model file (.onnx) or checkpoint folder to begin from (fine-tuning)."),
    ] = None,
    learn_from_all: Annotated[
        bool,
        typer.Option(
            "--everyone",
            help="Leave nobody out, whatever their part: for the model that ships, when its "
            "recipe has been scored in folds.",
        ),
    ] = False,
    time_limit: Annotated[
        float | None, typer.Option(help="Minutes after which to stop with a checkpoint.")
    ] = None,
) -> None:
    """Train a network, or go on with a run that was stopped.

    SIGUSR1, SIGTERM or the time limit end it after the step with a checkpoint and exit status 75:
    the same command goes on from there, to the same weights.
    """
    stop = Stop(None if time_limit is None else 60 * time_limit)
    stop.listen()  # before torch is read, which takes seconds: a signal would end the process

    import os
    import sys

    from facegen_training.cohort.dataset import read_dataset
    from facegen_training.cohort.folds import everyone
    from facegen_training.commands.console import run_bar
    from facegen_training.fitting.config import read_config, shipped_recipe
    from facegen_training.fitting.fit import fit as train
    from facegen_training.fitting.launch import RankLost
    from facegen_training.fitting.training import Aids

    settings = read_config(config or shipped_recipe())
    data = read_dataset(manifest)
    if learn_from_all:
        data = everyone(data)
    try:
        with run_bar(settings.fit.steps) as say:
            folder = train(data, run, settings, Aids(say, stop, start))
    except RankLost as lost:
        typer.echo(str(lost), err=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(lost.exit_status)  # torch's threads wait for the lost rank and abort a clean exit
    started_by_fabric = int(os.environ.get("LOCAL_RANK", 0)) > 0  # which ends all if one fails
    if stop.acted and not started_by_fabric:
        typer.echo(f"Stopped at {folder}; the same command goes on from there.", err=True)
        raise typer.Exit(STOPPED)
    typer.echo(str(folder))
