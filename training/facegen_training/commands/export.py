"""``facegen-train export``: one model file from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegen_inference.errors import UserError


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
    import numpy as np

    from facegen_training.cohort.dataset import read_dataset
    from facegen_training.export import export as write
    from facegen_training.export import make_card, read_held_out, trained_of_run
    from facegen_training.fitting.calibrate import calibrate, fullness
    from facegen_training.fitting.checkpoint import newest_checkpoint

    data = read_dataset(manifest)
    checkpoint = newest_checkpoint(run)
    if checkpoint is None:
        raise UserError("The run has no checkpoint yet.", "Run facegen-train fit first.")
    trained = trained_of_run(data, checkpoint)
    table, note = read_held_out(held_out)
    trained.network.offset_mm += fullness(data, trained.learner, trained.network)
    bands = calibrate(data, trained.learner, trained.network, sharp_mm)
    card = make_card(data, trained, name, model_version, ship, table, note, bands)
    rows = [*data.rows("validation"), *data.rows("train")][:2]
    examples = np.stack([data.fields(row)[:2].numpy() for row in rows])
    parity = write(trained, card, examples, out, half)
    typer.echo(
        f"{out}: differs from the network by {parity.relative:.1e}, at most {parity.max_mm:.1e} mm"
    )
