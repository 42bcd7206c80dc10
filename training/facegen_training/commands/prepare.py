"""``facegen-train prepare``: preprocess every person once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegen_inference.errors import UserError
from facegen_training.commands.console import progress_bar


def prepare(
    scans: Annotated[Path, typer.Argument(help="Folder of the scans named in split.toml.")],
    out: Annotated[Path, typer.Option(help="Where prepared arrays go.")],
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    part: Annotated[
        list[str] | None, typer.Option(help="Parts of the split; all when left away.")
    ] = None,
    whole_head: Annotated[
        bool, typer.Option("--whole-head", help="On the atlas's grid, not the model's.")
    ] = False,
) -> None:
    """Preprocess every person once."""
    from facegen_inference.preprocess import PreprocessSpec
    from facegen_training.atlas.build_atlas import WHOLE_HEAD
    from facegen_training.cohort.cases import PARTS, find_cases
    from facegen_training.cohort.prepare import prepare as run

    wanted = set(part or PARTS)
    if wanted - set(PARTS):
        raise UserError("There is no such part of the split.", f"Parts: {', '.join(PARTS)}.")
    with progress_bar("preparing") as progress:
        manifest, failed = run(
            [case for case in find_cases(scans) if case.part in wanted],
            out,
            WHOLE_HEAD if whole_head else PreprocessSpec(),
            workers,
            progress,
        )
    for person, reason in failed.items():
        typer.echo(f"{person}: {reason}", err=True)
    typer.echo(str(manifest))
