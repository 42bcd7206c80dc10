"""``facegen-train export``: one model file from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    manifest: Annotated[Path, typer.Argument(help="What prepare printed for it.")],
    out: Annotated[Path, typer.Argument(help="Model file to write (.onnx).")],
    name: Annotated[str, typer.Option(help="Name on the card.")] = "FaceGen face field",
    model_version: Annotated[str, typer.Option(help="Version on the card.")] = "0.1.0",
    held_out: Annotated[
        Path | None, typer.Option(help='JSON: {"note": text, "rows": [error table]}.')
    ] = None,
    sharp_mm: Annotated[
        float,
        typer.Option(help="How much deeper the skin comes out on sharp scans, mm (see the card)."),
    ] = 0.0,
    ship: Annotated[
        bool, typer.Option("--ship", help="Refuse anything that may not be published.")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Store weights in half precision.")] = False,
) -> None:
    """Write one ONNX file with preprocessing and card, compared with the network.

    The comparison is made at the size that ships and refuses a relative difference above 1e-4
    (with --half: more than 0.05 mm anywhere).
    """
    from facegen_training.cohort.dataset import read_dataset
    from facegen_training.cohort.folds import people_of_run
    from facegen_training.export import Wishes, export_run, read_held_out
    from facegen_training.fitting.run_folder import read_run

    table, note = read_held_out(held_out)
    wishes = Wishes(name, model_version, table, note, sharp_mm, ship, half)
    data, settings = read_dataset(manifest), read_run(run)
    if settings is not None:  # else export_run says that there is no run
        data = people_of_run(data, settings["manifest_sha256"])
    parity = export_run(data, run, out, wishes)
    typer.echo(
        f"{out}: differs from the network by {parity.relative:.1e}, at most {parity.max_mm:.1e} mm"
    )
