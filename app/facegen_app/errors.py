"""From an exception to what is shown: a sentence and advice, or a report of a bug.

The report names versions and where in the program it happened.  It leaves out everything that
could name a person: paths, and the messages of exceptions that may quote the scan.
"""

from __future__ import annotations

import platform
import sys
import traceback
from dataclasses import dataclass

from facegen_inference.errors import OutputError, UserError
from facegen_inference.provenance import package_versions, program_version

_SPEAKS_OF_CODE = (
    TypeError,
    AttributeError,
    NameError,
    AssertionError,
    ImportError,
    NotImplementedError,
    IndexError,
)
"""Exceptions whose text speaks of the program, not of the data."""


_PLACING = (
    "Choose a point under Landmarks, press Place, and click where it belongs on the skull; "
    "or accept it where it was found."
)


@dataclass(frozen=True)
class Trouble:
    """What the user is told.

    Attributes
    ----------
    message
        What happened.
    advice
        What to do next.
    report
        Text for a bug report; empty where the user can help themselves.
    """

    message: str
    advice: str
    report: str = ""


def trouble_of(error: BaseException) -> Trouble:
    """Return what the user is told of an error."""
    if isinstance(error, UserError):
        return Trouble(error.message, _for_the_window(error))
    if isinstance(error, MemoryError):
        return Trouble(
            "There is not enough memory for this scan.",
            "Close other programs, or open a scan with fewer or larger voxels.",
        )
    return Trouble(
        "Something went wrong inside FaceGen. The scan and the case are unchanged.",
        "Please send the report to the developers; it holds no patient data.",
        bug_report(error),
    )


def _for_the_window(error: UserError) -> str:
    """Return the advice without words of the command line, which mean nothing here."""
    advice = error.advice
    if "--landmarks" in advice:
        advice = f"{advice.replace(' (--landmarks FILE)', '')} {_PLACING}"
    if "--" not in advice:
        return advice
    if isinstance(error, OutputError):
        return "Choose another folder, or free some space on the disk."
    return " ".join(part for part in advice.split(". ") if "--" not in part)


def bug_report(error: BaseException) -> str:
    """Return versions and the way through the program, without paths or patient data."""
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    lines = [
        f"FaceGen {program_version()}",
        f"Python {sys.version.split()[0]}, {platform.system()} {platform.release()}",
        versions,
        "",
    ]
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    for link in reversed(chain):
        for step in traceback.extract_tb(link.__traceback__):
            lines.append(f"  {_module(step.filename)}:{step.lineno} {step.name}")
        text = str(link) if isinstance(link, _SPEAKS_OF_CODE) else "(message left out)"
        lines.append(f"{type(link).__name__}: {text}")
    return "\n".join(lines)


def _module(filename: str) -> str:
    """Return a source file's name from its package on, without the folders of this machine."""
    parts = filename.replace("\\", "/").split("/")
    for start in ("facegen_app", "facegen_inference", "site-packages"):
        if start in parts:
            return "/".join(parts[parts.index(start) :])
    return parts[-1]
