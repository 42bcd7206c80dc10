"""What every command shows while it works: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress as Bar

from facegen_inference.progress import Progress


@contextmanager
def progress_bar(name: str) -> Iterator[Progress]:
    """Yield a ``progress(fraction, step)`` that moves a bar on the terminal's standard error."""
    console = Console(stderr=True)
    with Bar(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda fraction, _: bar.update(task, completed=fraction)
