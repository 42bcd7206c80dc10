"""``facegen-train benchmark``: how fast this machine trains, and with how much memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from facegen_training.planning.workloads import Shape


def benchmark(
    out: Annotated[Path, typer.Option(help="Folder for benchmark.json, .png, calibration.json.")],
    networks: Annotated[
        str, typer.Option(help="Of pix2pix3d, pix2pix3d-fit, sdf, depthmap-cgan.")
    ] = "pix2pix3d,sdf,depthmap-cgan",
    precisions: Annotated[
        str, typer.Option(help="Of fp32, tf32 (GPU only), bf16.")
    ] = "fp32,tf32,bf16",
    sizes: Annotated[
        str, typer.Option(help="Like 104x512x512,128x104x96; what fits the machine if left out.")
    ] = "",
    seconds: Annotated[float, typer.Option(help="For each case, after warming up.")] = 10.0,
    batch: Annotated[int, typer.Option(help="Samples a step.")] = 1,
    data: Annotated[
        Path | None, typer.Option(help="Manifest of prepared people; generated batches without.")
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--checkpointed", help="Compute activations again on the way back.")
    ] = False,
    channels_last: Annotated[bool, typer.Option("--channels-last")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile.")] = False,
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
) -> None:
    """Time training steps over networks, precisions and sizes."""
    import torch

    from facegen_inference.errors import UserError
    from facegen_training.commands.console import progress_bar
    from facegen_training.planning.benchmark import Grid, run_grid, write_results

    cuda = torch.cuda.is_available()
    if device not in ("auto", "cuda", "cpu") or (device == "cuda" and not cuda):
        raise UserError(f"There is no device {device!r} here.", "Use --device cpu.")
    people = None
    if data is not None:
        from facegen_training.cohort.dataset import read_dataset

        people = read_dataset(data)
    grid = Grid(
        networks=_words(networks),
        precisions=_precisions(precisions),
        sizes=tuple(_size(word) for word in _words(sizes)),
        batch=batch,
        recompute=recompute,
        channels_last=channels_last,
        compile=compiled,
        seconds=seconds,
    )
    where = torch.device("cuda" if cuda and device != "cpu" else "cpu")
    with progress_bar("benchmark") as progress:
        result = run_grid(grid, where, people, progress)
    written = write_results(result, out)
    _show(result)
    if len(written) < 3:
        typer.echo("There is no matplotlib here: no plot was drawn.", err=True)
    for path in written:
        typer.echo(str(path))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _precisions(text: str) -> tuple[str, ...]:
    from facegen_inference.errors import UserError

    known = ("fp32", "tf32", "bf16")
    for word in _words(text):
        if word not in known:
            raise UserError(f"No precision {word!r}.", f"Known: {', '.join(known)}.")
    return _words(text)


def _size(text: str) -> Shape:
    from facegen_inference.errors import UserError

    numbers = text.lower().split("x")
    if len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
        raise UserError(f"{text!r} is not a size.", "Write slices x rows x columns: 104x512x512.")
    z, y, x = (int(number) for number in numbers)
    return z, y, x


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    machine = result["machine"]
    table = Table(
        title=f"{machine.get('gpu', machine['processor'])}, {machine['threads']} CPU threads",
        title_justify="left",
        show_edge=False,
    )
    for name in ("network", "size", "settings", "data"):
        table.add_column(name)
    for name in ("s a step", "samples/s", "GFLOP/s", "peak GB", "estimate GB", "waits for data"):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        words = (row["network"], row["size"], row["settings"], row["data"])
        if "left_out" in row:
            table.add_row(*words, row["left_out"])
            continue
        table.add_row(
            *words,
            f"{row['seconds']:.3g}",
            f"{row['samples_per_s']:.3g}",
            f"{1000 * row['tflop_per_s']:,.0f}",
            f"{row['peak_bytes'] / 1e9:.2f}",
            f"{row['estimated_bytes'] / 1e9:.2f}",
            f"{row['wait_share']:.1%}",
        )
    console = Console(highlight=False)
    Console(highlight=False, width=console.width if console.is_terminal else 132).print(table)
