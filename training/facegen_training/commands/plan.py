"""``facegen-train plan``: what a training programme costs on a machine, before it is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from facegen_training.planning.calibration import Calibration
    from facegen_training.planning.programme import Outlook, Programme
    from facegen_training.planning.tables import Column


def plan(
    config: Annotated[
        Path | None, typer.Argument(help="Settings of facegen-train fit (TOML).")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A plan that comes along (deck, shipped), or a file of one.")
    ] = None,
    machine: Annotated[
        str, typer.Option(help="mn5, a100, h100, h200, generic, or a file like theirs.")
    ] = "mn5",
    calibration: Annotated[
        Path | None, typer.Option(help="Measured steps, from facegen-train benchmark.")
    ] = None,
    gpus: Annotated[int, typer.Option(help="GPUs of one job; 0 takes a whole node.")] = 0,
    jobs: Annotated[int, typer.Option(help="How often CONFIG is trained.")] = 1,
    people: Annotated[int, typer.Option(help="Prepared scans of CONFIG, for the disk.")] = 100,
    budget_hours: Annotated[float, typer.Option(help="Hours that may be spent.")] = 32000,
    budget_unit: Annotated[str, typer.Option(help="Whose hours: gpu or node.")] = "gpu",
    budget_jobs: Annotated[int, typer.Option(help="Starts in the queue that may be.")] = 2000,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the job script and the disk it needs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print data.")] = False,
) -> None:
    """Count FLOPs, estimate memory, and lay a programme out on a machine."""
    from facegen_inference.errors import UserError
    from facegen_training.planning.advice import Budget, stated_memory, tension, what_does_not_fit
    from facegen_training.planning.calibration import read_calibration
    from facegen_training.planning.machines import read_machine
    from facegen_training.planning.tables import budget_line, figures

    if budget_unit not in ("gpu", "node") or min(budget_hours, budget_jobs) <= 0:
        raise UserError("A budget is a number of gpu or node hours, and of jobs.", "Correct it.")
    where = read_machine(machine)
    measured = read_calibration(calibration) if calibration else None
    count = gpus or where.gpus
    programme = _programme(config, preset, jobs, people, count)
    columns = _columns(programme, where.name, machine, count, measured)
    outlook = columns[0].outlook
    budget = Budget(budget_hours, budget_jobs, budget_unit)
    misfits = what_does_not_fit(outlook, budget, measured)
    said = [stated_memory(programme, outlook), tension(programme, outlook)]
    script = _script(outlook, config) if dry_run else ""
    if as_json:
        data = {
            "title": programme.title,
            "ways": {column.name: figures(column.outlook) for column in columns},
            "does_not_fit": misfits,
            "notes": [line for line in said if line],
            **({"script": script} if dry_run else {}),
        }
        typer.echo(json.dumps(data, indent=1))
        return
    rows = [budget_line(outlook, budget), *(misfits or ["Everything fits."]), *said]
    _show(columns, programme.title, where.name, [row for row in rows if row])
    if dry_run:
        _show_script(outlook, script)


def _programme(
    config: Path | None, preset: str | None, jobs: int, people: int, gpus: int
) -> Programme:
    from facegen_inference.errors import UserError
    from facegen_training.planning.read_programme import programme_of_run, read_preset

    if (config is None) == (preset is None):
        raise UserError("Give either a configuration or --preset.", "For example --preset deck.")
    if config is not None:
        return programme_of_run(config, people, jobs, gpus)
    assert preset is not None
    return read_preset(preset)


def _columns(
    programme: Programme, name: str, machine: str, gpus: int, measured: Calibration | None
) -> list[Column]:
    """Return the programme as it is; as we would run it; and as many passes of our network."""
    from facegen_training.planning.machines import read_machine
    from facegen_training.planning.programme import (
        look_ahead,
        with_our_network,
        with_our_settings,
    )
    from facegen_training.planning.tables import Column

    ways = [("as planned", programme)]
    ours = with_our_settings(programme)
    if (ours.precision, ours.recompute) != (programme.precision, programme.recompute):
        ways.append(("bf16, checkpointed", ours))
    if programme.network == "pix2pix3d":
        ways.append(("our network (sdf)", with_our_network(programme)))
    where = read_machine(machine)
    return [Column(words, look_ahead(way, where, gpus, measured)) for words, way in ways]


def _show(columns: list[Column], title: str, machine: str, lines: list[str]) -> None:
    from rich.console import Console

    from facegen_training.planning.tables import plan_table

    console = Console(highlight=False, soft_wrap=False)
    width = console.width if console.is_terminal else 132
    console = Console(highlight=False, width=width)
    console.print(plan_table(f"{title} — {machine}", columns))
    console.print()
    for line in lines:
        console.print(line, markup=False)
    outlook = columns[0].outlook
    console.print(
        f"The rate is {outlook.rate.known} ({_source(outlook)}); small networks reach less of a "
        "GPU's peak, so measure with facegen-train benchmark and give --calibration. The allowance "
        "for memory inside operators is that of a CPU.",
        markup=False,
    )


def _source(outlook: Outlook) -> str:
    precision = outlook.programme.precision
    return outlook.machine.sources["bf16" if precision == "bf16-weights" else precision]


def _script(outlook: Outlook, config: Path | None) -> str:
    """Return the batch script of the programme."""
    from facegen_training.cluster.slurm import Job, batch_script

    queue, many = outlook.queue, outlook.programme.jobs > 1
    run = Path("runs") / ("run-{task}" if many else "run")
    settings = str(config) if config else "settings.toml"
    job = Job(
        name="facegen",
        command=(
            *("facegen-train", "fit", "prepared/manifest.json"),
            *("--run", str(run), "--config", settings),
        ),
        folder=Path("runs"),
        minutes=max(1, round(queue.limit_hours * 60)),
        nodes=queue.nodes,
        gpus=queue.gpus,
        array=(outlook.programme.jobs if many else 0, queue.at_once if many else 0),
        stage=Path("prepared"),
        restarts=max(queue.starts * 2, 10),
    )
    return batch_script(job, outlook.machine)


def _show_script(outlook: Outlook, script: str) -> None:
    from facegen_training.planning.programme import CHECKPOINTS_KEPT
    from facegen_training.planning.tables import disk_bytes

    plan = outlook.programme
    typer.echo()
    typer.echo(script)
    typer.echo(
        f"# Disk: prepared scans {plan.data_bytes / 1e9:,.1f} GB (once more on each node while a "
        f"job runs); {plan.jobs} jobs × {CHECKPOINTS_KEPT} checkpoints × "
        f"{plan.checkpoint_bytes / 1e9:,.2f} GB; together {disk_bytes(outlook) / 1e9:,.1f} GB."
    )
    if plan.network == "pix2pix3d":
        typer.echo(
            "# The full-volume network is here to be planned and benchmarked; fit trains networks "
            "on the input grid (network = sdf, pix2pix3d or depthmap-cgan in settings.toml)."
        )
