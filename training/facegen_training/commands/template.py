"""``facegen-train template``: fit the statistical template of the method of that name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegen_training.commands.console import progress_bar


def template(
    prepared: Annotated[Path, typer.Argument(help="The manifest that prepare printed.")],
    out: Annotated[Path, typer.Argument(help="File to write, .npz.")],
    of_all: Annotated[
        bool, typer.Option("--everyone", help="Also the people who test, who are else left out.")
    ] = False,
    key: Annotated[Path | None, typer.Option(help="Key file of an encrypted cohort.")] = None,
) -> None:
    """Fit the template method on prepared people: shape of skull, depth of skin."""
    from facegen_training.cohort.dataset import MANIFEST, read_dataset
    from facegen_training.cohort.folds import everyone
    from facegen_training.template.fit_template import fit_template

    data = read_dataset(prepared / MANIFEST if prepared.is_dir() else prepared, key)
    if of_all:
        data = everyone(data)
    rows = [row for part in ("train", "validation") for row in data.rows(part)]
    with progress_bar("fitting the template") as progress:
        written = fit_template(data, rows, out, progress)
    typer.echo(str(written))
