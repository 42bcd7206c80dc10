"""Tables of the report about the predicted spread: whether it holds what it promises, and where."""

from __future__ import annotations

import numpy as np

from facegen_training.evaluation.protocol import HEADLINE
from facegen_training.evaluation.tables import (
    Row,
    chosen,
    interval,
    methods_in,
    regions_in,
    table,
)

BANDS = ("50", "90")


def coverage(rows: list[Row], method: str, percent: str, region: str = "") -> list[float]:
    """Return each person's share of the true skin within a band along normals, percent."""
    of = chosen(rows, method=method, condition=HEADLINE)
    if region:
        inside = [r.get("region_coverage", {}).get(region, {}).get(percent) for r in of]
    else:
        inside = [r["band_coverage"].get(percent) for r in of]
    return [float(value) for value in inside if value is not None]


def spread_ranks(rows: list[Row], method: str) -> list[float]:
    """Return each person's rank correlation of spread and true distance."""
    of = chosen(rows, method=method, condition=HEADLINE)
    return [float(r["spread_rank"]) for r in of if r.get("spread_rank") is not None]


def calibration_table(rows: list[Row]) -> str:
    """Return coverage of the bands and rank correlation of the spread, by method."""
    body = []
    for method in methods_in(rows):
        cells = []
        for percent in BANDS:
            values = coverage(rows, method, percent)
            mean, low, high = interval(values)
            cells.append(
                f"{mean:.1f} [{low:.1f}, {high:.1f}]" if len(values) > 1 else _one(values, ".1f")
            )
        ranks = spread_ranks(rows, method)
        cells.append(f"{np.median(ranks):.2f}" if ranks else "–")
        body.append([method, *cells])
    head = ["method", *(f"in {p} % band, % [95 %]" for p in BANDS)]
    return table([*head, "rank correlation of spread and error, median"], body)


def region_coverage_table(rows: list[Row]) -> str:
    """Return coverage of both bands in each region, by method."""
    there = methods_in(rows)
    body = []
    for name in regions_in(rows):
        cells = []
        for method in there:
            both = [coverage(rows, method, percent, name) for percent in BANDS]
            cells.append(" / ".join(f"{np.mean(v):.0f}" if v else "–" for v in both))
        body.append([name, *cells])
    return table(["region, % in 50 % / 90 % band", *there], body)


def _one(values: list[float], form: str) -> str:
    return format(values[0], form) if values else "–"
