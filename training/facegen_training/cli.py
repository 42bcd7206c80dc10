"""The command ``facegen-train``: from a lab's own head CTs to one model file.

This module must stay quick to import: every command imports what it needs when it runs.
"""

from __future__ import annotations

import sys

import typer

from facegen_inference.errors import UserError
from facegen_training.commands.atlas import atlas
from facegen_training.commands.benchmark import benchmark
from facegen_training.commands.evaluate import evaluate
from facegen_training.commands.export import export
from facegen_training.commands.fit import fit
from facegen_training.commands.plan import plan
from facegen_training.commands.prepare import prepare
from facegen_training.commands.submit import submit
from facegen_training.commands.sweep import sweep
from facegen_training.commands.synthesize import synthesize
from facegen_training.commands.template import template

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # or what stands in square brackets would vanish from the help
)


@app.callback()
def _train() -> None:
    """Train FaceGen's networks."""


_COMMANDS = (
    prepare,
    synthesize,
    atlas,
    template,
    fit,
    submit,
    sweep,
    evaluate,
    export,
    plan,
    benchmark,
)
for command in _COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command; what the user can act on ends with status 2 and one sentence."""
    try:
        app()
    except UserError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_status)
