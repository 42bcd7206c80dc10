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
) -> None:
    """Write one ONNX file with preprocessing and card, compared with the network."""
    import numpy as np

    from facegen_training.cohort.dataset import read_dataset
    from facegen_training.export import export as write
    from facegen_training.export import make_card, network_of_run, read_held_out
    from facegen_training.fitting.calibrate import calibrate, fullness
    from facegen_training.fitting.checkpoint import load_linear, newest_checkpoint

    data = read_dataset(manifest)
    checkpoint = newest_checkpoint(run)
    if checkpoint is None:
        raise UserError("The run has no checkpoint yet.", "Run facegen-train fit first.")
    network = network_of_run(data, checkpoint)
    table, note = read_held_out(held_out)
    network.offset_mm = fullness(data, network)
    bands = calibrate(data, network, load_linear(run / "linear.safetensors"), sharp_mm)
    card = make_card(data, network, name, model_version, ship, table, note, bands)
    rows = [*data.rows("validation"), *data.rows("train")][:2]
    examples = np.stack([data.fields(row)[:2].numpy() for row in rows])
    parity = write(network, card, examples, out)
    typer.echo(f"{out}: differs from the network by {parity.mean_mm:.1e} mm on average")
