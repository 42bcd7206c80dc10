"""Tables of the report about other ways of showing a scan: how the error and the spread change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facegen_training.evaluation.protocol import HEADLINE
from facegen_training.evaluation.tables import (
    Row,
    average,
    chosen,
    interval,
    methods_in,
    regions_in,
    table,
)


def condition_table(rows: list[Row]) -> str:
    """Return the mean distance for each way of reducing the scan to bone.

    Each cell is over the people scored under that condition; so that rows can be compared, the
    headline's mean over the same people stands behind it.
    """
    conditions = list(dict.fromkeys(r["condition"] for r in rows))
    body = []
    for condition in conditions:
        cells = []
        for method in methods_in(rows):
            of = chosen(rows, method=method, condition=condition)
            people = {r["person"] for r in of}
            same = [
                r for r in chosen(rows, method=method, condition=HEADLINE) if r["person"] in people
            ]
            refused = sum(
                "failed" in r and r["condition"] == condition and r["method"] == method
                for r in rows
            )
            text = f"{average(of, 'closest', 'mean'):.2f} ({len(of)})" if of else "–"
            if condition != HEADLINE and of:
                text += f", headline {average(same, 'closest', 'mean'):.2f}"
            cells.append(text + (f", {refused} refused" if refused else ""))
        body.append([condition, *cells])
    return table(["input", *(f"{m}, mm (people)" for m in methods_in(rows))], body)


def other_conditions(rows: Sequence[Row]) -> list[str]:
    """Return the conditions that were scored besides the headline's, in their order."""
    return [c for c in dict.fromkeys(r["condition"] for r in rows) if c != HEADLINE]


def growth(rows: list[Row], method: str, condition: str, region: str = "") -> list[float]:
    """Return by how many mm each person's mean error grows under a condition.

    Parameters
    ----------
    rows
        Scores.
    method, condition
        Which.
    region
        In one region only; over the whole face when empty.
    """
    return [now - before for before, now in _pairs(rows, method, condition, region, False)]


def spread_ratio(rows: list[Row], method: str, condition: str, region: str) -> list[float]:
    """Return each person's mean predicted spread in a region, over that of the headline."""
    return [now / before for before, now in _pairs(rows, method, condition, region, True)]


def _pairs(
    rows: list[Row], method: str, condition: str, region: str, spread: bool
) -> list[tuple[float, float]]:
    """Return (headline, condition) of everyone scored under both."""
    found: list[dict[str, float]] = []
    for name in (HEADLINE, condition):
        values = {}
        for row in chosen(rows, method=method, condition=name):
            value = _value(row, region, spread)
            if value is not None:
                values[row["person"]] = value
        found.append(values)
    before, now = found
    return [(before[person], now[person]) for person in now if person in before]


def _value(row: Row, region: str, spread: bool) -> float | None:
    if spread:
        return dict(row.get("spread", {})).get(region)
    if not region:
        return float(row["closest"]["mean"])
    return float(row["regions"][region]["mean"]) if region in row["regions"] else None


def growth_table(rows: list[Row], method: str) -> str:
    """Return how the mean error of one method grows under each condition, by region."""
    regions = regions_in(rows)
    body = []
    for condition in other_conditions(rows):
        whole = growth(rows, method, condition)
        if not whole:
            continue
        mean, low, high = interval(whole)
        cells = [
            f"{np.mean(values):+.2f}" if (values := growth(rows, method, condition, name)) else "–"
            for name in regions
        ]
        shown = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]" if len(whole) > 1 else f"{mean:+.2f}"
        body.append([condition, str(len(whole)), shown, *cells])
    head = ["input", "people", "whole face, mm [95 %]", *regions]
    return table(head, body) if body else ""


def spread_table(rows: list[Row], method: str) -> str:
    """Return how the predicted spread of one method changes under each condition, by region."""
    regions = regions_in(rows)
    body = []
    for condition in other_conditions(rows):
        cells = [
            f"{np.median(values):.2f}"
            if (values := spread_ratio(rows, method, condition, name))
            else "–"
            for name in regions
        ]
        if set(cells) != {"–"}:
            body.append([condition, *cells])
    return table(["input", *regions], body) if body else ""
