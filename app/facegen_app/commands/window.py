"""``facegen``, ``facegen SCAN`` and ``facegen CASE.facegen``: the window."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import typer

from facegen_inference.errors import UserError


def window(path: Path | None, *, demo: bool = False) -> None:
    """Open the window and leave with its exit status when it is closed.

    Raises
    ------
    UserError
        When the window's toolkit is not installed, or `path` is not there.
    """
    if path is not None and not path.exists() and path.suffix != ".facegen":
        raise UserError(f"There is no file or folder {path}.", "Check the name.")
    if find_spec("PySide6") is None:
        raise UserError(
            "The window needs PySide6, which is not installed.",
            'Type: pip install "facegen[app]"; facegen reconstruct works without it.',
        )
    from facegen_app.main import run_window

    raise typer.Exit(run_window(path, demo))
