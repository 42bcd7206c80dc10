"""``facegen verify CASE``: whether a case or a folder of results is still what it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facegen_app.commands.console import progress_bar, say, say_data, warn
from facegen_inference.errors import UserError

if TYPE_CHECKING:
    from facegen_app.casework.verify import Checked
    from facegen_app.casework.verify_case import CaseVerdict

NAME = "verify"


def command(
    case: Annotated[
        Path,
        typer.Argument(
            metavar="CASE", help="Case file, or the folder that facegen reconstruct wrote."
        ),
    ],
    seal: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write down what the case is now, to be kept elsewhere."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare with what --seal wrote then.")
    ] = None,
    role: Annotated[
        str, typer.Option(metavar="TEXT", help="Your role in the laboratory, for --seal.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it as data.")] = False,
) -> None:
    """Check every byte of a case, its log, its meshes and pictures, and the scan it was made from.

    Of a folder of results, all files and the scan are compared with the hashes in result.json.
    Whoever can rewrite a case wholly can seal it anew: keep what --seal writes, or the printed
    SHA-256, elsewhere.
    """
    from facegen_app.casework.verify_case import is_case

    if is_case(case):
        _verify_case(case, seal, against, role, as_json=as_json)
    elif seal is not None or against is not None:
        raise UserError(f"{case} is no case file.", "--seal and --against are for case files.")
    else:
        _verify_result(case, as_json=as_json)


def _verify_case(
    case: Path, seal: Path | None, against: Path | None, role: str, *, as_json: bool
) -> None:
    from facegen_app.casework.audit_log import this_user
    from facegen_app.casework.seal_statement import compare_with_statement, write_statement
    from facegen_app.casework.verify_case import verify_case

    with progress_bar() as progress:
        verdict = verify_case(case, progress)
    if against is not None:
        compare_with_statement(case, verdict, against)
    if as_json:
        say_data(verdict.as_data())
    else:
        _state(verdict)
    if verdict.faults:
        warn(
            f"The case {case.name} is not what it was. Do not rely on it before each point above "
            "is explained; compare with a backup."
        )
        raise typer.Exit(UserError.exit_status)
    if seal is not None:
        write_statement(verdict, this_user(role), seal)


def _state(verdict: CaseVerdict) -> None:
    """Print what was found of a case, to be kept with it."""
    say(f"Case {verdict.name}, {verdict.bytes} bytes.")
    if verdict.sha256:
        say(f"SHA-256 of the file: {verdict.sha256}")
    if verdict.last_sha256:
        say(f"Log: {verdict.rows} rows; the hash of the last: {verdict.last_sha256}")
    if verdict.seal == "sealed":
        say("Every byte is as it was when FaceGen last closed the case.")
    _count(verdict.checked, {"output": "stored meshes and pictures", "input": "files of the scan"})
    for sentence in verdict.notes:
        say(f"Note: {sentence}")
    for sentence in verdict.faults:
        say(f"Fault: {sentence}")
    if verdict.unchanged:
        say("Nothing speaks against the case.")


def _verify_result(result: Path, *, as_json: bool) -> None:
    from facegen_app.casework.verify import verify_result

    with progress_bar() as progress:
        checked = list(verify_result(result, progress))
    wrong = [file for file in checked if file.state != "unchanged"]
    if as_json:
        say_data({"unchanged": not wrong, "files": [file.as_data() for file in checked]})
    else:
        for file in wrong:
            say(f"{file.state}: {file.kind} {file.name}")
        _count(checked, {"output": "output files", "input": "input files"})
    if wrong:
        warn(
            f"{len(wrong)} files of {result} are not what they were. "
            "Do not rely on this result; reconstruct again from the original scan."
        )
        raise typer.Exit(UserError.exit_status)


def _count(checked: list[Checked], words: dict[str, str]) -> None:
    for kind, name in words.items():
        these = [file for file in checked if file.kind == kind]
        good = sum(file.state == "unchanged" for file in these)
        say(f"{good} of {len(these)} {name} are unchanged.")
