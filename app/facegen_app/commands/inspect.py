"""``facegen inspect SCAN``: what is there, what would be taken, what would be refused and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from facegen_app.commands.console import say, say_data
from facegen_inference.errors import ScanError

if TYPE_CHECKING:
    from facegen_inference.series import Inspection

NAME = "inspect"


def command(
    scan: Annotated[
        Path, typer.Argument(metavar="SCAN", help="Folder, DICOM file, archive, volume or mesh.")
    ],
    units: Annotated[
        Literal["mm", "cm", "m"] | None, typer.Option(help="Units of a file that does not say.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as data.")] = False,
) -> None:
    """Show the series found, whether their geometry holds, and what is set aside and why."""
    from facegen_inference.scan import inspect_scan

    inspection = inspect_scan(scan, units=units)
    if as_json:
        say_data(inspection.as_data())
    else:
        for series in inspection.series:
            say(_described(series.as_data()))
        aside = _beside_the_series(inspection)
        if aside:
            say("Set aside:")
        for name, reason in aside:
            say(f"  {name}: {reason}")
    if any(series.usable for series in inspection.series):
        return
    if as_json:
        raise typer.Exit(ScanError.exit_status)
    raise ScanError(
        f"There is no scan in {scan} that can be used.",
        "Choose the CT of a skull, or a mesh of one.",
    )


def _beside_the_series(inspection: Inspection) -> list[tuple[str, str]]:
    """Return what was set aside without the refused series, which have lines of their own."""
    refused = tuple(f"({series.uid})" for series in inspection.series if not series.usable)
    return [row for row in inspection.set_aside if not row[0].endswith(refused)]


def _described(series: dict[str, object]) -> str:
    """Return a series as a few lines: what it is, its size, and what follows from it."""
    shape, spacing = series["shape"], series["spacing_mm"]
    assert isinstance(shape, list)
    assert isinstance(spacing, list)
    size = " × ".join(str(n) for n in shape)
    if spacing:
        size += " voxels of " + " × ".join(f"{s:.2f}" for s in spacing) + " mm"
    if series["proposed"]:
        verdict = "proposed: this one is taken when none is named"
    elif series["usable"]:
        verdict = "usable: name it with --series"
    else:
        verdict = f"refused: {series['reason']}"
    named = " ".join(str(series[key]) for key in ("modality", "description") if series[key])
    lines = [f"{named or series['kind']}", f"  --series {series['uid']}", f"  {verdict}"]
    if size:
        lines.insert(2, f"  {size} (slices, rows, columns)")
    warnings = series["warnings"]
    assert isinstance(warnings, list)
    lines += [f"  note: {warning}" for warning in warnings]
    return "\n".join(lines)
