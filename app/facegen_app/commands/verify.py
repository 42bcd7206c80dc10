"""``facegen verify RESULT``: whether inputs and outputs are still what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegen_app.commands.console import progress_bar, say, say_data, warn
from facegen_inference.errors import UserError

NAME = "verify"


def command(
    result: Annotated[
        Path, typer.Argument(metavar="RESULT", help="Folder that facegen reconstruct wrote.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as data.")] = False,
) -> None:
    """Compare all files of a result, and the scan it was made from, with their recorded hashes.

    The hashes stand in result.json; keep a copy of it (or the printed report) elsewhere to show
    that result.json itself is unchanged.
    """
    from facegen_app.casework.verify import verify_result

    with progress_bar() as progress:
        checked = verify_result(result, progress)
    wrong = [file for file in checked if file.state != "unchanged"]
    if as_json:
        say_data({"unchanged": not wrong, "files": [file.as_data() for file in checked]})
    else:
        for file in wrong:
            say(f"{file.state}: {file.kind} {file.name}")
        for kind in ("output", "input"):
            these = [file for file in checked if file.kind == kind]
            good = sum(file.state == "unchanged" for file in these)
            say(f"{good} of {len(these)} {kind} files are unchanged.")
    if wrong:
        warn(
            f"{len(wrong)} files of {result} are not what they were. "
            "Do not rely on this result; reconstruct again from the original scan."
        )
        raise typer.Exit(UserError.exit_status)
