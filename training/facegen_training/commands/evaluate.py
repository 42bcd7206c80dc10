"""``facegen-train evaluate``: score methods on people left out, and write the validation report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegen_inference.errors import UserError
from facegen_training.commands.console import progress_bar


def evaluate(
    scans: Annotated[
        Path, typer.Argument(help="The scans: the folder or list that prepare was given.")
    ],
    out: Annotated[Path, typer.Option(help="Where validation.md and its plots go.")],
    prepared: Annotated[
        Path | None,
        typer.Option(help="Manifest of your own cohort; the project's when left away."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Key file that your own cohort was prepared with.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model file to score, FILE or NAME=FILE; again for more."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Built-in methods; without --model all, with it those not learned."),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            help="More ways of reducing the scan to bone, besides bone-250: bone-150, "
            "bone-400, binary, cropped."
        ),
    ] = None,
    part: Annotated[str, typer.Option(help="Part of the split: test or validation.")] = "test",
    person: Annotated[list[str] | None, typer.Option(help="Only these people.")] = None,
    work: Annotated[
        Path | None, typer.Option(help="Where scores are kept; OUT/scores when left away.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 for one a core.")] = 0,
    notes: Annotated[
        Path | None, typer.Option(help="Markdown to put at the end of the report.")
    ] = None,
) -> None:
    """Score methods on people left out, from bone alone, as the workstation would be used.

    Goes on where it was stopped.  Writes OUT/validation.md, plots and figures per person; for the
    whole part test also OUT/held-out.json, for facegen-train export --held-out.
    """
    from facegen_inference.methods import METHODS
    from facegen_training.cohort.pool import cores
    from facegen_training.evaluation.floors import measure_floors
    from facegen_training.evaluation.held_out import write_held_out
    from facegen_training.evaluation.people import people_to_score
    from facegen_training.evaluation.protocol import CONDITIONS, HEADLINE
    from facegen_training.evaluation.report import Study, write_report
    from facegen_training.evaluation.score import LEARNED, contenders, mean_face, score_people

    conditions = list(dict.fromkeys([HEADLINE, *(condition or [])]))
    for name in conditions:
        if name not in CONDITIONS:
            raise UserError(f"There is no condition {name}.", f"Known: {', '.join(CONDITIONS)}.")
    builtin = [name for name in METHODS if not (model and name == LEARNED)]
    compared = contenders(method or builtin, model or [])
    cases = people_to_score(scans, part, person, (prepared, key) if prepared else None)
    folder = work or out / "scores"
    with progress_bar("scoring") as progress:
        rows = score_people(cases, conditions, compared, folder, workers or cores(), progress)
    study = Study(
        rows=rows,
        floors=measure_floors(cases, folder),
        models={one.name: one.key["model"] for one in compared if "model" in one.key},
        notes=notes.read_text(encoding="utf-8") if notes else "",
        part=part,
    )
    typer.echo(str(write_report(study, mean_face(), out)))
    if part == "test" and not person:
        for path in write_held_out(rows, [one.name for one in compared if one.model], out):
            typer.echo(str(path))
