"""What a failure looks like on the command line: a sentence, or a report about a bug."""

from __future__ import annotations

import tempfile
from pathlib import Path

from facegen_app.commands.console import say_data, warn

DONE, BUG, USER, STOPPED = 0, 1, 2, 130


def show(error: BaseException, command: str, *, as_json: bool) -> int:
    """Show what happened and what to do; return the exit status.

    With `as_json` the same is printed as data on stdout.
    """
    from facegen_app.errors import trouble_of
    from facegen_inference.errors import UserError

    if isinstance(error, UserError):
        if as_json:
            say_data(error.as_data())
        warn(str(error))
        return error.exit_status
    trouble = trouble_of(error)
    status, kind, advice = USER, type(error).__name__, trouble.advice
    if trouble.report:
        status, kind = BUG, "Bug"
        advice += f" It is in {write_report(trouble.report, command)}."
    if as_json:
        say_data({"error": kind, "message": trouble.message, "advice": advice, "details": {}})
    warn(f"{trouble.message} {advice}".strip())
    return status


def write_report(report: str, command: str) -> Path:
    """Write a bug report to a new file and return its path."""
    from platformdirs import user_log_path

    for parent in (user_log_path("facegen", appauthor=False), Path(tempfile.gettempdir())):
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="bug-", dir=parent))
            path = folder / "report.txt"
            path.write_text(f"facegen {command}\n{report}\n", encoding="utf-8")
        except OSError:
            continue
        return path
    warn(report)
    return Path("the text above")
