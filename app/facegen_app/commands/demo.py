"""``facegen demo``: the whole line on a synthetic head that the program makes itself."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from facegen_app.commands.console import progress_bar
from facegen_inference.errors import UserError

NAME = "demo"


def command(
    headless: Annotated[bool, typer.Option("--headless", help="Without the window.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the results.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as data.")] = False,
) -> None:
    """Make a synthetic DICOM series (no one's head) and reconstruct its face.

    With --headless the results go to DIR, the series too, under scan/.
    """
    if headless:
        if out is None:
            raise UserError("The headless demo needs a folder.", "Name one with --out DIR.")
        _headless(out, overwrite=overwrite, as_json=as_json)
        return
    if out is not None:
        raise UserError("--out goes with --headless.", "Add --headless, or leave --out away.")
    from facegen_app.commands.window import window

    window(None, demo=True)


def _headless(out: Path, *, overwrite: bool, as_json: bool) -> None:
    """Write the series, work it through and print what came of it."""
    from facegen_app.casework.case_data import CaseData
    from facegen_app.casework.destination import check_destination
    from facegen_app.casework.export import Wanted
    from facegen_app.casework.job import Job
    from facegen_app.commands.reconstruct import run_and_show
    from facegen_inference.demo_head import make_demo_scan
    from facegen_inference.provenance import timed
    from facegen_inference.reconstruct import Request, check_model

    request = Request(purpose="validation")
    check_destination(out, overwrite=overwrite)
    check_model(request)
    case = CaseData(case_number="DEMO", item="synthetic head made by the program")
    wanted = Wanted(report=True, case=case, embed_scan=True)
    with tempfile.TemporaryDirectory(prefix="facegen-demo-") as folder:
        scan = Path(folder) / "scan"
        scan.mkdir()
        timings: dict[str, float] = {}
        with timed(timings, "making the demo scan"), progress_bar() as progress:
            make_demo_scan(scan, progress)
        wanted = replace(wanted, timings=timings)
        run_and_show(Job(scan, out, request, overwrite=overwrite, wanted=wanted), as_json=as_json)
