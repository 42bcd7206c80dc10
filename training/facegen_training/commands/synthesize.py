"""``facegen-train synthesize``: CT heads with no patient in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from facegen_inference.errors import UserError
from facegen_training.commands.console import progress_bar

PRESETS = ("512x512x102", "256x256x102", "128x128x128")


def synthesize(
    out: Annotated[Path, typer.Option(help="Folder for the cohort; a run is resumed in it.")],
    preset: Annotated[
        str | None, typer.Option(help=f"Size of a scan: {', '.join(PRESETS)}.")
    ] = None,
    people: Annotated[int, typer.Option(help="How many.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed makes the same people.")] = 0,
    size: Annotated[str | None, typer.Option(help="Any other size: ROWSxCOLUMNSxSLICES.")] = None,
    spacing: Annotated[
        str | None,
        typer.Option(help="Voxels in mm, BETWEEN-SLICESxPIXEL; else the head fills the scan."),
    ] = None,
    format: Annotated[str, typer.Option(help="dicom or nifti.")] = "dicom",
    workers: Annotated[
        int | None, typer.Option(help="Processes; all cores when left away.")
    ] = None,
) -> None:
    """Make a cohort of CT heads from a statistical model; prepare takes its cohort.csv."""
    from facegen_training.cohort.pool import cores
    from facegen_training.synthesis.scanner import ScanSize
    from facegen_training.synthesis.write_cohort import Cohort
    from facegen_training.synthesis.write_cohort import synthesize as run

    if preset is not None and size is not None:
        raise UserError("Both a preset and a size are given.", "Give one of the two.")
    if preset is not None and preset not in PRESETS:
        raise UserError(
            f"There is no preset called {preset}.",
            f"Choose one of {', '.join(PRESETS)}, or give --size.",
        )
    if format not in ("dicom", "nifti"):
        raise UserError(f"Scans cannot be written as {format}.", "Choose dicom or nifti.")
    rows, columns, slices = (int(n) for n in _numbers(size or preset or PRESETS[1], 3, r"\d+"))
    step = _numbers(spacing, 2, r"\d+(?:\.\d+)?") if spacing else None
    cohort = Cohort(
        seed,
        ScanSize(rows, columns, slices, (step[0], step[1]) if step else None),
        "nifti" if format == "nifti" else "dicom",
    )
    with progress_bar("synthesizing") as progress:
        written = run(cohort, people, out, workers or cores(), progress)
    typer.echo(str(written))


def _numbers(text: str, count: int, number: str) -> list[float]:
    """Return numbers above zero between which x stands."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != count or not all(re.fullmatch(number, p) and float(p) > 0 for p in parts):
        example = "512x512x102" if count == 3 else "2.5x0.5"
        raise UserError(f"{text} is no size.", f"Give {count} numbers, as in {example}.")
    return [float(p) for p in parts]
