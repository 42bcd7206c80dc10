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
        typer.Option(
            help="Manifest of your own cohort, or with --folds of any cohort; "
            "the project's own when left away."
        ),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Key file that your own cohort was prepared with.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model file to score, FILE or NAME=FILE; again for more.  With --folds one that "
            "was trained on everyone: the memory test alone looks at it."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Built-in methods, or none; all of them when left away, with --model or "
            "--folds all but neural."
        ),
    ] = None,
    folds: Annotated[
        bool, typer.Option("--folds", help="Fit all that learns anew in five folds over people.")
    ] = False,
    learn: Annotated[
        list[str] | None,
        typer.Option(
            help="With --folds: a network to fit, NAME=CONFIG.toml; again for more.  "
            "neural by the shipped recipe when left away; none for no network."
        ),
    ] = None,
    only_fold: Annotated[
        list[int] | None,
        typer.Option(help="With --folds: fit and score only this fold, no report; again for more."),
    ] = None,
    fit_only: Annotated[
        bool, typer.Option("--fit-only", help="With --folds: fit, and score nobody.")
    ] = False,
    sharp_mm: Annotated[
        float, typer.Option(help="With --folds: as of facegen-train export.")
    ] = 0.0,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            help="More ways of showing a scan, besides bone-250: bone-150, bone-400, binary, "
            "cropped, no-mandible, facial-bone-20, outer-surface, pose, slices-4, slices-0.5."
        ),
    ] = None,
    condition_method: Annotated[
        list[str] | None,
        typer.Option(help="Methods scored under these conditions; with --folds only neural."),
    ] = None,
    condition_people: Annotated[
        int | None,
        typer.Option(help="With --folds: so many people of each fold under these conditions."),
    ] = None,
    curve: Annotated[
        list[int] | None,
        typer.Option(help="With --folds: a learning curve at so many training people; again."),
    ] = None,
    curve_fold: Annotated[
        list[int] | None, typer.Option(help="Folds of the learning curve; 0 when left away.")
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

    With --folds everyone who can be scored is, each by methods fitted on the others; the files
    fitted lie in OUT/folds, the faces predicted in OUT/faces.
    """
    from facegen_training.evaluation.conditions import CONDITIONS
    from facegen_training.evaluation.protocol import HEADLINE
    from facegen_training.evaluation.run import Plan, Wishes, run_folds, run_part

    conditions = [name for name in dict.fromkeys(condition or []) if name != HEADLINE]
    for name in conditions:
        if name not in CONDITIONS:
            raise UserError(f"There is no condition {name}.", f"Known: {', '.join(CONDITIONS)}.")
    wishes = Wishes(
        scans=scans,
        out=out,
        work=work or out / "scores",
        prepared=prepared,
        key=key,
        methods=None if method is None else [name for name in method if name != "none"],
        conditions=conditions,
        condition_methods=condition_method,
        condition_people=condition_people,
        people=person,
        workers=workers,
        notes=notes.read_text(encoding="utf-8") if notes else "",
    )
    with progress_bar("scoring") as progress:
        if folds:
            remembers = Path(model[0]) if model else None
            plan = Plan(
                learn, only_fold, fit_only, sharp_mm, curve or [], curve_fold or [0], remembers
            )
            written = run_folds(wishes, plan, progress)
        else:
            written = run_part(wishes, part, model or [], progress)
    for path in written:
        typer.echo(str(path))
