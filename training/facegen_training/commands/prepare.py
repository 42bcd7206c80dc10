"""``facegen-train prepare``: preprocess every person once."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facegen_inference.errors import UserError
from facegen_training.commands.console import progress_bar

if TYPE_CHECKING:
    from facegen_inference.preprocess import PreprocessSpec


def prepare(
    cohort: Annotated[
        Path | None,
        typer.Argument(help="Folder of scans (searched), or a list of them (.csv, .toml)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where prepared people go.")] = None,
    spec: Annotated[
        str,
        typer.Option(help="Input grid: default, whole-head, a model (.onnx) or a spec (.json)."),
    ] = "default",
    workers: Annotated[int, typer.Option(help="Processes; 0 for one a core.")] = 0,
    source: Annotated[str, typer.Option(help="Where the scans come from.")] = "own data",
    validation: Annotated[float, typer.Option(help="Share of people who validate.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of people who test.")] = 0.2,
    key: Annotated[
        Path | None,
        typer.Option(help="Key file for pseudonyms and encryption, made where missing."),
    ] = None,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Encrypt what is prepared.")] = False,
    retain_until: Annotated[
        str | None, typer.Option(help="Last day (YYYY-MM-DD) on which it may be used.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Where the contact sheet goes.")] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what is no longer in the cohort.")
    ] = False,
    wipe: Annotated[
        Path | None, typer.Option(help="Wipe what was prepared in this folder, and record it.")
    ] = None,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="The project's own cohort, as split.toml names it.")
    ] = False,
    part: Annotated[
        list[str] | None, typer.Option(help="With --shipped: parts of the split; else all.")
    ] = None,
    whole_head: Annotated[
        bool, typer.Option("--whole-head", help="The same as --spec whole-head.")
    ] = False,
) -> None:
    """Preprocess every person once, under pseudonyms, and write manifest and contact sheet."""
    if wipe is not None:
        _wipe(wipe, key)
        return
    if cohort is None or out is None:
        raise UserError("There is nothing to prepare.", "Say what and where: COHORT --out FOLDER.")
    if workers < 0:
        raise UserError("There cannot be fewer than no workers.", "Give --workers 0 for all cores.")
    grid = _spec("whole-head" if whole_head else spec)
    if shipped:
        _shipped(cohort, out, grid, workers, part)
        return
    if part:
        raise UserError(
            "--part goes with --shipped only.", "Name parts in the list, or take all people."
        )
    from facegen_training.cohort.key import check_apart, find_key, read_key, read_or_make_key
    from facegen_training.cohort.leftovers import prune as remove
    from facegen_training.cohort.pool import cores
    from facegen_training.cohort.prepare_cohort import Wishes, prepare_cohort
    from facegen_training.cohort.split import Fractions

    wishes = Wishes(
        grid, source, Fractions(validation, test), encrypt, _date(retain_until),
        workers or cores(), sheet,
    )  # fmt: skip
    check_apart(find_key(key), out)
    with progress_bar("preparing") as progress:
        result = prepare_cohort(cohort, out, lambda: read_or_make_key(key, out), wishes, progress)
    owner = read_key(key)
    for scan, reason in sorted(result.failed.items()):
        typer.echo(f"{scan}: {reason}", err=True)
    for warning in result.warnings:
        typer.echo(warning, err=True)
    if result.left and prune:
        removed = remove(result.left, owner)
        typer.echo(f"{removed.files} files of scans outside the cohort were removed.", err=True)
    elif result.left:
        typer.echo(
            f"{len(result.left)} files belong to scans that are no longer in the cohort; "
            "--prune removes them.",
            err=True,
        )
    typer.echo(f"Contact sheet: {result.sheet}", err=True)
    typer.echo(f"Names: {owner.names}", err=True)
    typer.echo(str(result.manifest))


def _wipe(folder: Path, key: Path | None) -> None:
    from facegen_training.cohort.wipe import wipe_prepared

    done = wipe_prepared(folder, key)
    for one in done:
        typer.echo(f"Wiped {one.wiped.files} files, {one.wiped.bytes} bytes.")
    typer.echo("The list of names beside the key stays.", err=True)
    missing = [f"{one.missing_sheet} of {one.folder}" for one in done if one.missing_sheet]
    if missing:
        raise UserError(
            f"A contact sheet, which shows faces, was not found: {', '.join(missing)}. "
            "Everything else was wiped.",
            "Name the cohort's key file with --key and wipe again: the sheet, or the note of where "
            "it lies, is beside the key.",
        )


def _shipped(
    scans: Path, out: Path, grid: PreprocessSpec, workers: int, part: list[str] | None
) -> None:
    """Prepare the project's own cohort."""
    from facegen_training.cohort.cases import PARTS, find_cases
    from facegen_training.cohort.pool import cores
    from facegen_training.cohort.prepare import prepare as run

    wanted = set(part or PARTS)
    if wanted - set(PARTS):
        raise UserError("There is no such part of the split.", f"Parts: {', '.join(PARTS)}.")
    cases = [case for case in find_cases(scans) if case.part in wanted]
    with progress_bar("preparing") as progress:
        manifest, failed = run(cases, out, grid, workers or cores(), progress)
    for person, reason in failed.items():
        typer.echo(f"{person}: {reason}", err=True)
    typer.echo(str(manifest))


def _date(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise UserError("--retain-until is no date.", "Write it as 2031-12-31.") from error
    if day < date.today():
        raise UserError("--retain-until lies in the past.", "Give a day to come.")
    return day


def _spec(name: str) -> PreprocessSpec:
    """Return the input grid that a name or file stands for."""
    from facegen_inference.preprocess import PreprocessSpec

    if name == "default":
        return PreprocessSpec()
    if name == "whole-head":
        from facegen_training.atlas.build_atlas import WHOLE_HEAD

        return WHOLE_HEAD
    path = Path(name)
    if path.suffix.lower() == ".onnx":
        from facegen_inference.network import open_model

        return open_model(path).spec
    try:
        return PreprocessSpec.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            "The input grid cannot be read.",
            "Give --spec default, whole-head, a model (.onnx) or a spec (.json).",
        ) from error
