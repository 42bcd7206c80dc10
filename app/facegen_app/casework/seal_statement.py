"""What stands outside a case against whoever could rewrite all of it: its digest, written down.

A statement is a small file, or the line printed in a report.  Kept where the case is not, it
shows that the case is still the same file, or that at least the log up to then is.
"""

from __future__ import annotations

import datetime
import json
from contextlib import closing
from pathlib import Path

from facegen_app.casework.audit_log import Who, read_entry
from facegen_app.casework.case_connection import connect
from facegen_app.casework.case_errors import CaseError, named
from facegen_app.casework.verify_case import CaseVerdict
from facegen_inference.errors import OutputError
from facegen_inference.provenance import program_version

FORMAT = "facegen seal"
FORMAT_VERSION = 1


def write_statement(verdict: CaseVerdict, who: Who, path: Path) -> None:
    """Write down what a case is now.

    Raises
    ------
    CaseError
        When the case has faults: nothing is to be attested then.
    OutputError
        When there is a file already, or it cannot be written.
    """
    if not verdict.unchanged:
        raise CaseError(
            f"The case {verdict.name} has faults and is not sealed.", verdict.faults[0]
        )  # fmt: skip
    data = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "case": verdict.case,
        "name": verdict.name,
        "bytes": verdict.bytes,
        "sha256": verdict.sha256,
        "log_rows": verdict.rows,
        "log_sha256": verdict.last_sha256,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "user": who.user,
        "role": who.role,
        "program": program_version(),
    }
    try:
        with path.open("x", encoding="utf-8") as stream:
            json.dump(data, stream, indent=1, ensure_ascii=False)
            stream.write("\n")
    except FileExistsError as error:
        raise OutputError(
            f"There is a file {path} already.", "Choose another name with --seal.", reason=error
        ) from error
    except OSError as error:
        raise OutputError(
            f"The seal cannot be written to {path}.", "Choose another folder.", reason=error
        ) from error


def compare_with_statement(case: Path, verdict: CaseVerdict, path: Path) -> None:
    """Add to a verdict what a statement says against the case, or for a part of it.

    Raises
    ------
    CaseError
        When the file is no statement.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT or int(data["format_version"]) > FORMAT_VERSION:
            raise ValueError(data["format"])
        sha256, rows, last = data["sha256"], int(data["log_rows"]), data["log_sha256"]
        written = str(data["written"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CaseError(
            f"{path.name} is not a seal of a FaceGen case.",
            "Name a file that facegen verify --seal has written.",
            reason=error,
        ) from error
    if verdict.sha256 == sha256:
        verdict.notes.append(f"The case is the file that was sealed on {written}.")
    elif 0 < rows <= verdict.rows and _hash_of_row(case, rows) == last:
        verdict.faults.append(
            f"The case is not the file that was sealed on {written}: it has been worked on. "
            f"Its log up to row {rows} is the one sealed then."
        )
    else:
        verdict.faults.append(
            f"The case is not the one that was sealed on {written}, and its log is another."
        )


def _hash_of_row(case: Path, number: int) -> str:
    with named(case), closing(connect(case, "ro")) as connection:
        return read_entry(connection, number).sha256
