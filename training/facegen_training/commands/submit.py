"""``facegen-train submit``: hand a command to Slurm, with checkpoint and requeue at its limit."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facegen_inference.errors import UserError

if TYPE_CHECKING:
    from facegen_training.planning.machines import Machine

MACHINE_HELP = "A preset's name or a TOML file; see facegen-train plan --help."


def submit(
    words: Annotated[
        list[str],
        typer.Argument(help="After --: a command as facegen-train takes it.", metavar="COMMAND"),
    ],
    machine: Annotated[str, typer.Option(help=MACHINE_HELP)],
    logs: Annotated[
        Path | None, typer.Option(help="Folder for Slurm's output; for fit its run's.")
    ] = None,
    hours: Annotated[float, typer.Option(help="Time limit of one start.")] = 12.0,
    gpus: Annotated[int, typer.Option(help="GPUs on each node; fit runs one process on each.")] = 1,
    nodes: Annotated[int, typer.Option(help="Nodes.")] = 1,
    array: Annotated[
        str, typer.Option(help="Tasks, or TASKS%AT_ONCE; {task} in a word is the task's number.")
    ] = "",
    account: Annotated[str, typer.Option(help="Account to charge.")] = "",
    qos: Annotated[str, typer.Option(help="Queue (quality of service).")] = "",
    image: Annotated[Path | None, typer.Option(help="Apptainer image to run in.")] = None,
    stage: Annotated[
        bool, typer.Option(help="Copy fit's prepared people to the node's own disk first.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the script only.")] = False,
) -> None:
    """Submit a command to Slurm; what stops at its time limit is queued again and goes on."""
    from facegen_training.cluster.slurm import Job, batch_script
    from facegen_training.cluster.slurm import submit as hand_over

    place = machine_of(machine, account, qos)
    tasks = _array(array)
    manifest, run = _fit_words(words, tasks[0]) if words[0] == "fit" else (None, None)
    folder = logs or (None if run is None else _common(run))
    if folder is None:
        raise UserError("There is no folder for Slurm's output.", "Give one with --logs.")
    job = Job(
        name=f"facegen-{words[0]}",
        command=("facegen-train", *words),
        folder=folder,
        minutes=minutes_of(hours, place),
        nodes=nodes,
        gpus=gpus,
        ranks=manifest is not None,
        array=tasks,
        stage=manifest.parent if manifest and stage and place.scratch else None,
        run=run,
        image=image,
        programs=None if image else Path(sys.executable).parent,
    )
    text = batch_script(job, place)
    if dry_run:
        typer.echo(text, nl=False)
        return
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "job.sh"
    script.write_text(text, encoding="utf-8")
    typer.echo(f"Job {hand_over(script)} is queued; its output goes to {folder}.")


def machine_of(name: str, account: str, qos: str) -> Machine:
    """Return a machine with the account and queue that were given, or else its own."""
    from facegen_training.planning.machines import read_machine

    machine = read_machine(name)
    return replace(machine, account=account or machine.account, qos=qos or machine.qos)


def minutes_of(hours: float, machine: Machine) -> int:
    """Return a time limit in minutes, at least one.

    Raises
    ------
    UserError
        When the machine allows no job so long.
    """
    if hours > machine.hours:
        raise UserError(
            f"{machine.name} allows {machine.hours:g} h at most.",
            "Give less with --hours: what is not finished is queued again and goes on.",
        )
    return max(1, math.ceil(hours * 60))


def _fit_words(words: list[str], tasks: int) -> tuple[Path, Path]:
    """Return manifest and run of a fit; in its words the manifest's path becomes absolute.

    Raises
    ------
    UserError
        When one of the two is not given, or there is no such manifest.
    """
    place, run = _manifest_place(words), _option(words, "--run")
    if place is None or run is None:
        missing = "manifest" if place is None else "folder for its run (--run)"
        raise UserError(
            f"The fit to submit has no {missing}.", "Write -- fit MANIFEST --run FOLDER ..."
        )
    manifest = Path(words[place]).absolute()
    for task in range(max(tasks, 1)):
        path = Path(str(manifest).replace("{task}", str(task))) if tasks else manifest
        if not path.is_file():
            raise UserError(f"There is no manifest {path}.", "Give the file that prepare printed.")
    words[place] = str(manifest)
    return manifest, run


def _manifest_place(words: list[str]) -> int | None:
    """Return which word of a fit is neither an option nor an option's value."""
    from facegen_training.commands.fit import fit

    app = typer.Typer()
    app.command()(fit)
    options = [p for p in typer.main.get_command(app).params if p.param_type_name == "option"]
    with_value = {
        name for option in options if not getattr(option, "is_flag", False) for name in option.opts
    }
    n = 1
    while n < len(words):
        if words[n] == "--":
            return n + 1 if n + 1 < len(words) else None
        if not words[n].startswith("-"):
            return n
        n += 2 if words[n] in with_value else 1
    return None


def _common(run: Path) -> Path:
    """Return the folder of a run, or of an array's runs: what stands before ``{task}``."""
    parts = run.parts
    varying = [n for n, part in enumerate(parts) if "{task}" in part]
    return Path(*parts[: varying[0]]) if varying else run


def _option(words: list[str], name: str) -> Path | None:
    """Return the folder given to an option of the submitted command."""
    for n, word in enumerate(words):
        if word == name and n + 1 < len(words):
            return Path(words[n + 1])
        if word.startswith(f"{name}="):
            return Path(word.partition("=")[2])
    return None


def _array(text: str) -> tuple[int, int]:
    count, _, at_once = text.partition("%")
    try:
        return int(count or 0), int(at_once or 0)
    except ValueError as error:
        raise UserError(
            f"{text!r} is not a number of tasks.", "Write 92, or 92%8 for eight at once."
        ) from error
