"""What every command shows while it works: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TextColumn

from facegen_inference.progress import Progress


@contextmanager
def progress_bar(name: str) -> Iterator[Progress]:
    """Yield a ``progress(fraction, step)`` that moves a bar on the terminal's standard error."""
    console = Console(stderr=True)
    with Bar(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda fraction, _: bar.update(task, completed=fraction)


@contextmanager
def run_bar(steps: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield what takes the lines of ``steps.jsonl``: a bar on a terminal with the last figures.

    Elsewhere it shows nothing: the file has everything.
    """
    console = Console(stderr=True)
    columns = (*Bar.get_default_columns(), TextColumn("{task.fields[figures]}"))
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("fit", total=steps, figures="")

        def show(line: dict[str, Any]) -> None:
            figures = {k: v for k, v in line.items() if k.endswith("_mm")}
            said = "  ".join(f"{key} {value:.2f}" for key, value in figures.items())
            bar.update(task, completed=line["step"], figures=said)

        yield show
