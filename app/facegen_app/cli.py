"""The ``facegen`` command: which word starts what.

This module must stay quick to import: every command imports what it needs when it runs, and Qt
only when a window is asked for.
"""

from __future__ import annotations

import signal
import sys
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from facegen_app.commands import failures
from facegen_inference.errors import UserError
from facegen_inference.progress import Cancelled


class DefaultWindow(TyperGroup):
    """A group whose first word may be a path: then the window opens on it.

    It is also the one place where errors become sentences and exit statuses.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember whether errors are wanted as data, then parse."""
        ctx.meta["as_json"] = "--json" in args
        ctx.meta["command"] = next((word for word in args if word in self.commands), "window")
        return list(super().parse_args(ctx, args))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take a first word that is no command as something to open."""
        word = args[0]
        if word not in self.commands:
            if not Path(word).exists() and Path(word).suffix != ".facegen":
                raise UserError(
                    f"There is neither a command nor a file called {word}.", self._advice(word)
                )
            args = ["window", *args]
        return super().resolve_command(ctx, args)

    def _advice(self, word: str) -> str:
        names = [name for name, command in self.commands.items() if not command.hidden]
        close = get_close_matches(word, names, n=1)
        return f"Did you mean {close[0]}?" if close else "facegen --help lists the commands."

    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn what goes wrong into a sentence and an exit status."""
        try:
            return super().invoke(ctx)
        except (Cancelled, KeyboardInterrupt):
            status = failures.STOPPED
        except Exception as error:
            if isinstance(error, typer.Exit | typer.Abort | BrokenPipeError):
                raise  # the last: the reader had enough of the output, which Click ends quietly
            if hasattr(error, "format_message"):  # the parser's own sentence about usage
                if not ctx.meta["as_json"]:
                    raise
                error = UserError(error.format_message(), "facegen --help explains the commands.")
            status = failures.show(error, ctx.meta["command"], as_json=ctx.meta["as_json"])
        raise typer.Exit(status)


app = typer.Typer(
    cls=DefaultWindow,
    add_completion=False,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From the CT of a skull to the face that belongs on it. "
    "Without a command, the window opens, on SCAN or CASE where one is named: facegen SCAN, or "
    "facegen CASE.facegen, which is made where it is not there.",
    epilog="Exit status: 0 done; 2 something the user can mend, said in one sentence; 1 a bug.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from facegen_inference.provenance import program_version

        typer.echo(f"facegen {program_version()}")
        raise typer.Exit


@app.callback()
def start(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Open the window where no command is named."""
    if ctx.invoked_subcommand is None:
        open_window(None)


@app.command("window", hidden=True)
def open_window(
    scan: Annotated[Path | None, typer.Argument(help="What to open.")] = None,
) -> None:
    """Open the window, on a scan where one is named."""
    from facegen_app.commands.window import window

    window(scan)


def _add_commands() -> None:
    from facegen_app.commands import compare, demo, inspect, models, reconstruct, verify

    for module in (demo, inspect, reconstruct, compare, verify, models):
        app.command(module.NAME)(module.command)


_add_commands()


def _stop(number: int, frame: FrameType | None) -> None:
    """Let a polite request to end clean up as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; the console entry ``facegen``."""
    signal.signal(signal.SIGTERM, _stop)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    app()


if __name__ == "__main__":
    main()
