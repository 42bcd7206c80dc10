"""``facegen-train atlas``: average prepared people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegen_training.commands.console import progress_bar


def atlas(
    prepared: Annotated[Path, typer.Argument(help="What prepare --whole-head printed.")],
    out: Annotated[Path, typer.Option(help="Where the averages go.")],
) -> None:
    """Average prepared people: mean skull, mean skin and the demo head."""
    from facegen_training.atlas.build_atlas import build_atlas
    from facegen_training.cohort.dataset import MANIFEST, read_dataset

    data = read_dataset(prepared / MANIFEST if prepared.is_dir() else prepared)
    with progress_bar("averaging") as progress:
        written = build_atlas(data, out, progress)
    for path in written:
        typer.echo(str(path))
