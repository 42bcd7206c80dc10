"""The command ``facegen-train``: prepare scans, fit a network, export a model file."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from facegen_inference.errors import UserError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _train() -> None:
    """Train FaceGen's networks."""


@app.command()
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
    from facegen_training.build_atlas import WHOLE_HEAD
    from facegen_training.cases import PARTS, find_cases
    from facegen_training.prepare import prepare as run

    wanted = set(part or PARTS)
    if wanted - set(PARTS):
        raise UserError("There is no such part of the split.", f"Parts: {', '.join(PARTS)}.")

    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task("preparing", total=1.0)
        manifest, failed = run(
            [case for case in find_cases(scans) if case.part in wanted],
            out,
            WHOLE_HEAD if whole_head else PreprocessSpec(),
            workers,
            lambda fraction, _: bar.update(task, completed=fraction),
        )
    for person, reason in failed.items():
        typer.echo(f"{person}: {reason}", err=True)
    typer.echo(str(manifest))


@app.command()
def atlas(
    prepared: Annotated[Path, typer.Argument(help="What prepare --whole-head printed.")],
    out: Annotated[Path, typer.Option(help="Where the averages go.")],
) -> None:
    """Average prepared people: mean skull, mean skin and the demo head."""
    from facegen_training.build_atlas import build_atlas
    from facegen_training.prepare import MANIFEST, read_dataset

    data = read_dataset(prepared / MANIFEST if prepared.is_dir() else prepared)
    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task("averaging", total=1.0)
        written = build_atlas(data, out, lambda done, _: bar.update(task, completed=done))
    for path in written:
        typer.echo(str(path))


@app.command()
def fit(
    manifest: Annotated[Path, typer.Argument(help="What prepare printed.")],
    run: Annotated[Path, typer.Option(help="Folder of the run; resumed where it exists.")],
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
) -> None:
    """Fit the linear part and train the network."""
    from facegen_training.config import read_config
    from facegen_training.fit import fit as train
    from facegen_training.prepare import read_dataset

    default = Path(str(files("facegen_training") / "runs" / "first.toml"))
    settings = read_config(config or default)
    folder = train(read_dataset(manifest), run, settings, _say)
    typer.echo(str(folder))


@app.command()
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

    from facegen_training.calibrate import calibrate, fullness
    from facegen_training.checkpoint import load_linear, newest_checkpoint
    from facegen_training.export import export as write
    from facegen_training.export import make_card, network_of_run, read_held_out
    from facegen_training.prepare import read_dataset

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


@app.command()
def synthesize(
    out: Annotated[Path, typer.Option(help="Where prepared synthetic people go.")],
    people: Annotated[int, typer.Option(help="How many.")] = 12,
    seed: Annotated[int, typer.Option(help="Start of the random numbers.")] = 0,
) -> None:
    """Make prepared people who never were, to try fit and export without scans."""
    from facegen_inference.preprocess import PreprocessSpec
    from facegen_training.synthesize import synthesize as make

    typer.echo(str(make(out, PreprocessSpec(), people, seed)))


def _say(line: dict[str, Any]) -> None:
    if len(line) > 2 and ("error" not in line or int(line["step"]) % 20 == 0):
        typer.echo(json.dumps(line), err=True)


def main() -> None:
    """Run the command; what the user can act on ends with status 2 and one sentence."""
    try:
        app()
    except UserError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_status)
