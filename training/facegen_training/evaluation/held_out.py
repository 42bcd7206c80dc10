"""The error table that a model's card carries, from the scores of people left out."""

from __future__ import annotations

from pathlib import Path

from facegen_inference.card import ErrorRow
from facegen_inference.errors import UserError
from facegen_training.cohort.dataset import write_json
from facegen_training.evaluation import tables
from facegen_training.evaluation.protocol import HEADLINE
from facegen_training.evaluation.tables import Row


def held_out_rows(rows: list[Row]) -> tuple[ErrorRow, ...]:
    """Return one line a method: the kind of scan with most people, averages over people.

    Raises
    ------
    UserError
        When nobody could be scored.
    """
    headline = [r for r in tables.by_person(rows) if r["condition"] == HEADLINE]
    kinds = [tables.of_kind(headline, coarse) for coarse in (True, False)]
    group = max(kinds, key=len)
    if not group:
        raise UserError(
            "Nobody could be scored, so there is no error table.",
            "See the reasons under 'Not scored' in validation.md.",
        )
    found = []
    for method in tables.methods_in(group):
        of = tables.chosen(group, method=method)
        figures = {k: round(tables.average(of, "closest", k), 2) for k in ("mean", "median", "p95")}
        found.append(
            ErrorRow(
                method=method,
                people=len(of),
                mean_mm=figures["mean"],
                median_mm=figures["median"],
                p95_mm=figures["p95"],
                below_2mm_percent=round(tables.average(of, "closest", "below_2_mm"), 2),
                below_2_5mm_percent=round(tables.average(of, "closest", "below_2_5_mm"), 2),
            )
        )
    return tuple(found)


def write_held_out(rows: list[Row], learned: list[str], out: Path, folds: int = 0) -> list[Path]:
    """Write what ``facegen-train export --held-out`` reads, and return the paths.

    One file a learned method, ``held-out.json`` or, of several, ``held-out-NAME.json``: with its
    own figures and the built-in methods', so that no card shows another model's.

    Parameters
    ----------
    rows
        Every score.
    learned
        Names of the learned methods.
    out
        Folder.
    folds
        Number of folds in which everything was fitted anew; 0 where one model was scored.
    """
    table = held_out_rows(rows)
    people = max(row.people for row in table)
    everyone = len({r["person"] for r in rows if "failed" not in r})
    others = f" {everyone - people} more, on another kind of scan, do not count here."
    who = f"{people} people never used in training"
    if folds:
        who = (
            f"{people} people in {folds} folds, each by a model of the same recipe that never saw "
            "them (this file is the recipe on everyone cleared)"
        )
    note = (
        f"{who}, from bone alone (level 250 HU), both-way "
        "closest distances over the predicted face region, mean over people."
        + (others if everyone > people else "")
    )
    written = []
    for name in learned:
        mine = [row for row in table if row.method == name or row.method not in learned]
        path = out / ("held-out.json" if len(learned) == 1 else f"held-out-{name}.json")
        write_json(path, {"note": note, "rows": [row.model_dump(mode="json") for row in mine]})
        written.append(path)
    return written
