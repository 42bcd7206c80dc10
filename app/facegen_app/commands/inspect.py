"""``facegen inspect SCAN``: what is there, what would be taken, what would be refused and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegen_app.commands.console import say, say_data
from facegen_inference.errors import UserError

NAME = "inspect"


def command(
    scan: Annotated[
        Path, typer.Argument(metavar="SCAN", help="Folder, DICOM file, archive, volume or mesh.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as data.")] = False,
) -> None:
    """Show the series found, whether their geometry holds, and what is set aside and why."""
    from facegen_inference.scan import inspect_scan

    inspection = inspect_scan(scan)
    if as_json:
        say_data(inspection.as_data())
    else:
        for series in inspection.series:
            say(_described(series.as_data()))
        if inspection.set_aside:
            say("Set aside:")
        for name, reason in inspection.set_aside:
            say(f"  {name}: {reason}")
    if not any(series.usable for series in inspection.series):
        raise typer.Exit(UserError.exit_status)


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
