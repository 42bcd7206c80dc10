"""``facegen reconstruct SCAN --out DIR``: from a scan, or a list of scans, to results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from facegen_app.commands import failures
from facegen_app.commands.console import progress_bar, say, say_data, times_table, warn
from facegen_inference.errors import UserError
from facegen_inference.progress import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegen_app.casework.case_list import Entry, Outcome
    from facegen_app.casework.job import Done, Job
    from facegen_inference.skull import Skull

NAME = "reconstruct"


class BugInScanError(UserError):
    """A bug met on one scan of a list; the others go on."""

    exit_status = failures.BUG


def command(
    scan: Annotated[
        Path,
        typer.Argument(
            metavar="SCAN",
            help="Folder, DICOM file, archive, NIfTI/NRRD/MHA, skull mesh, or a .txt list of them.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")],
    series: Annotated[str | None, typer.Option(metavar="UID", help="Series to take.")] = None,
    units: Annotated[
        Literal["mm", "cm", "m"] | None, typer.Option(help="Units of a mesh file.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Model file of the method neural or template."),
    ] = None,
    method: Annotated[
        Literal["neural", "template", "tissue-depth", "mean-face"], typer.Option(help="How.")
    ] = "neural",
    landmarks: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Landmarks placed by the examiner.")
    ] = None,
    depth_table: Annotated[
        str | None, typer.Option(metavar="NAME", help="Tissue-depth table.")
    ] = None,
    purpose: Annotated[
        Literal["casework", "validation"], typer.Option(help="Logged with the result.")
    ] = "casework",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results.")] = False,
    sex: Annotated[Literal["female", "male", "unknown"], typer.Option()] = "unknown",
    age: Annotated[float | None, typer.Option(metavar="YEARS")] = None,
    build: Annotated[Literal["thin", "average", "heavy", "unknown"], typer.Option()] = "unknown",
    variants: Annotated[int, typer.Option(metavar="N", help="How many alternatives.")] = 3,
    seed: Annotated[int, typer.Option(metavar="N", help="Start of random numbers.")] = 0,
    device: Annotated[Literal["auto", "cuda", "cpu"], typer.Option(help="Where.")] = "auto",
    report: Annotated[bool, typer.Option("--report", help="Write report.pdf too.")] = False,
    case_number: Annotated[str, typer.Option(metavar="TEXT", help="For the report.")] = "",
    item: Annotated[str, typer.Option(metavar="TEXT", help="For the report.")] = "",
    examiner: Annotated[str, typer.Option(metavar="TEXT", help="For the report.")] = "",
    laboratory: Annotated[str, typer.Option(metavar="TEXT", help="For the report.")] = "",
    case: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Store the run in this case (NAME.facegen) too."),
    ] = None,
    role: Annotated[
        str, typer.Option(metavar="TEXT", help="Your role in the laboratory, for the case's log.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it as data.")] = False,
) -> None:
    """Reconstruct the face on a skull and write meshes, pictures and result.json to DIR.

    With a list of scans, each goes to a folder of its own in DIR; what is done is skipped.
    """
    from facegen_app.casework.case_data import CaseData
    from facegen_app.casework.case_list import is_list
    from facegen_app.casework.export import Wanted
    from facegen_app.casework.job import Job
    from facegen_inference.face import Profile
    from facegen_inference.reconstruct import Request, check_request

    if model is not None and method not in ("neural", "template"):
        raise UserError(
            f"The method {method} uses no model file.",
            "Leave --model out, or choose --method neural or template.",
        )
    if depth_table is not None and method != "tissue-depth":
        raise UserError(
            f"The method {method} uses no depth table.",
            "Leave --depth-table out, or choose --method tissue-depth.",
        )
    request = Request(
        method=method,
        profile=Profile(sex, age, build),
        variants=variants,
        seed=seed,
        device=device,
        model=model if method == "neural" else None,
        template=model if method == "template" else None,
        depth_table=depth_table,
        purpose=purpose,
    )
    check_request(request)
    facts = CaseData(case_number, item, examiner, laboratory)
    wanted = Wanted(report=report, case=facts, landmarks_file=landmarks)
    job = Job(scan, out, request, series, units, overwrite, wanted)
    if is_list(scan):
        if case is not None:
            raise UserError(
                "A list of scans cannot go into one case.",
                "Leave --case out, or reconstruct each scan by itself.",
            )
        _run_list(job, as_json=as_json)
    elif case is None:
        run_and_show(job, as_json=as_json)
    else:
        _run_into_case(job, case, role, as_json=as_json)


def run_and_show(
    job: Job, *, as_json: bool, store: Callable[[Done], dict[str, str]] | None = None
) -> None:
    """Run one job with a progress bar and print what came of it and where the time went.

    `store` keeps it elsewhere too, and says where: ``case`` and ``run``.
    """
    from facegen_app.casework.job import run_job

    with progress_bar() as progress:
        done = run_job(job, progress)
    stored = {} if store is None else store(done)
    if as_json:
        say_data({**_summary(done), **stored})
        return
    say(f"Face written to {job.out / 'face.ply'}.")
    if stored:
        say(f"Stored in the case {stored['case']} as run {stored['run']}.")
    say(f"Method: {done.face.method}, on {done.face.device}.")
    for sentence in _warnings(done):
        say(f"Warning: {sentence}")
    for sentence in (*missing_parts(done.prepared.skull), *_notes(done)):
        if sentence not in done.face.warnings:
            say(f"Note: {sentence}")
    say("Where the time went:")
    say(times_table(done.timings))


def _run_into_case(job: Job, case: Path, role: str, *, as_json: bool) -> None:
    """Run one job and store it in a case, which nobody else can change meanwhile."""
    from facegen_app.casework.audit_log import this_user
    from facegen_app.casework.case_record import Finished, recording

    with recording(case, this_user(role)) as record:

        def store(done: Done) -> dict[str, str]:
            return {"case": str(case), "run": record(Finished(job, done))}

        run_and_show(job, as_json=as_json, store=store)


def missing_parts(skull: Skull) -> list[str]:
    """Return what of the skull is not surely there, a sentence for each state."""
    by_state: dict[str, list[str]] = {}
    for name, presence in skull.parts.items():
        if presence != "present":
            by_state.setdefault(str(presence), []).append(name)
    return [f"Of the skull, {state}: {', '.join(names)}." for state, names in by_state.items()]


def _warnings(done: Done) -> list[str]:
    return [*done.prepared.scan.warnings, *done.face.warnings]


def _notes(done: Done) -> list[str]:
    return [*done.prepared.skull.notes, *done.face.notes]


def _summary(done: Done) -> dict[str, object]:
    return {
        "result": str(done.result),
        "method": done.face.method,
        "device": done.face.device,
        "warnings": _warnings(done),
        "parts": {name: str(state) for name, state in done.prepared.skull.parts.items()},
        "notes": _notes(done),
        "timings": done.timings,
    }


def _run_list(job: Job, *, as_json: bool) -> None:
    """Work through a list; end with status 2 where a scan failed, 1 where a bug was met."""
    from facegen_app.casework.case_list import read_list, work_through

    if job.wanted.landmarks_file is not None or job.series is not None:
        raise UserError(
            "A list of scans cannot share one landmarks file or series.",
            "Leave --landmarks and --series out, or reconstruct that scan by itself.",
        )
    entries = read_list(job.scan)
    tell = _tell_nothing if as_json else _tell
    outcomes = work_through(
        entries, job.out, job.request, _worker(job), tell, report=job.wanted.report
    )
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    if as_json:
        say_data({"scans": [outcome.as_data() for outcome in outcomes]})
    else:
        counts = dict.fromkeys(("done", "skipped", "failed"), 0)
        for outcome in outcomes:
            counts[outcome.state] += 1
        say(", ".join(f"{count} {state}" for state, count in counts.items()) + ".")
    for outcome in failed:
        warn(f"{outcome.entry.scan}: {outcome.error}")
    if failed:
        raise typer.Exit(min(o.error.exit_status for o in failed if o.error is not None))


def _worker(job: Job) -> Callable[[Entry, Path], None]:
    """Return what does one scan of a list; bugs are reported and the list goes on."""
    from facegen_app.casework.job import run_job
    from facegen_app.errors import trouble_of

    def work(entry: Entry, folder: Path) -> None:
        one = replace(job, scan=entry.scan, out=folder)
        try:
            with progress_bar() as progress:
                run_job(one, progress)
        except (UserError, Cancelled):
            raise
        except Exception as error:
            trouble = trouble_of(error)
            if not trouble.report:
                raise UserError(trouble.message, trouble.advice) from error
            report = failures.write_report(trouble.report, NAME)
            raise BugInScanError(trouble.message, f"{trouble.advice} It is in {report}.") from error

    return work


def _tell(outcome: Outcome) -> None:
    say(f"{outcome.state:8} {outcome.entry.name}")


def _tell_nothing(outcome: Outcome) -> None:
    """Say nothing: the data come at the end."""
