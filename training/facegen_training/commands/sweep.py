"""``facegen-train sweep``: try many settings, on Slurm or here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegen_inference.errors import UserError
from facegen_training.commands.console import progress_bar
from facegen_training.commands.submit import MACHINE_HELP, machine_of, minutes_of


def sweep(
    config: Annotated[Path, typer.Argument(help="TOML file with [study], [settings], [space].")],
    out: Annotated[Path, typer.Option(help="Folder of the study; gone on with where it exists.")],
    local: Annotated[int, typer.Option(help="Run this many workers here.")] = 0,
    machine: Annotated[str, typer.Option(help=f"Run on Slurm. {MACHINE_HELP}")] = "",
    workers: Annotated[int, typer.Option(help="On Slurm: tasks of the array, one GPU each.")] = 4,
    hours: Annotated[float, typer.Option(help="On Slurm: time limit of one start.")] = 12.0,
    account: Annotated[str, typer.Option(help="On Slurm: account to charge.")] = "",
    qos: Annotated[str, typer.Option(help="On Slurm: queue (quality of service).")] = "",
    image: Annotated[Path | None, typer.Option(help="On Slurm: Apptainer image to run in.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="On Slurm: until all is done.")] = False,
) -> None:
    """Search for good settings: many short fits, a table and charts of what they gave."""
    if bool(local) == bool(machine):
        raise UserError(
            "A sweep runs either here or on Slurm.", "Give --local WORKERS or --machine NAME."
        )
    from facegen_training.cluster.search import read_search
    from facegen_training.cluster.study import start_study
    from facegen_training.cluster.study_page import write_page
    from facegen_training.cluster.sweep import (
        Array,
        run_here,
        run_on_slurm,
        unfinished,
        wait_for,
    )

    study = start_study(read_search(config), out)
    page = write_page(study)
    with progress_bar("trials") as progress:
        if local:
            run_here(study, local, progress)
        else:
            place = machine_of(machine, account, qos)
            jobs = run_on_slurm(study, place, Array(workers, minutes_of(hours, place), image))
            typer.echo(f"Queued as {jobs[0]} to {jobs[-1]}.", err=True)
            if wait:
                wait_for(study, progress)
    left = unfinished(study)
    if left and (local or wait):
        typer.echo(f"{left} trials are not finished; the same command goes on.", err=True)
    typer.echo(str(page))
