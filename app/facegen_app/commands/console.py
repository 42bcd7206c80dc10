"""How the command line speaks: results on stdout, sentences and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from facegen_inference.progress import Progress, silent


def say(text: str = "") -> None:
    """Print a line of the result."""
    sys.stdout.write(f"{text}\n")


def say_data(data: object) -> None:
    """Print data as JSON."""
    say(json.dumps(data, indent=1, ensure_ascii=False, default=str))


def warn(text: str) -> None:
    """Print a sentence beside the result."""
    sys.stderr.write(f"{text}\n")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Give a progress that draws a bar on a terminal and nothing anywhere else."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=1.0)

        def report(fraction: float, step: str) -> None:
            bars.update(task, completed=fraction, description=step)

        yield report


def table(rows: list[tuple[str, ...]], indent: int = 2) -> str:
    """Return rows as text in columns; columns that hold numbers everywhere are right-aligned."""
    if not rows:
        return ""
    columns = list(zip(*rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    right = [all(_is_number(cell) for cell in column) for column in columns]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, right, strict=True)
        ]
        lines.append(" " * indent + "  ".join(cells).rstrip())
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return cell.split(" ")[0].replace(".", "", 1).replace("-", "", 1).isdigit()


def times_table(timings: dict[str, float]) -> str:
    """Return where the time went, the whole last."""
    whole = sum(timings.values())
    rows = [
        (step, f"{seconds:.1f} s", f"{100 * seconds / whole:.0f} %" if whole else "")
        for step, seconds in timings.items()
    ]
    return table([*rows, ("in all", f"{whole:.1f} s", "100 %")])
