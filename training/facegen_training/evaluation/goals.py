"""What the project set itself to reach before it measured, beside what was reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facegen_training.evaluation.calibration_tables import coverage, spread_ranks
from facegen_training.evaluation.condition_tables import growth, spread_ratio
from facegen_training.evaluation.contenders import LEARNED
from facegen_training.evaluation.protocol import HEADLINE
from facegen_training.evaluation.tables import (
    Row,
    average,
    chosen,
    of_kind,
    paired,
    percent_lower,
    table,
)

UPPER, LOWER = ("brow", "orbits", "nose"), ("chin", "jaw line")
"""Regions above the mandible, and those that hang on it alone."""
GROWTH_MM = {
    "outer-surface": 0.2,
    "facial-bone-20": 0.5,
    "pose": 0.3,
    "slices-4": 0.3,
    "slices-0.5": 0.3,
}
"""By how much the mean error may grow."""

Line = tuple[str, str, bool]
"""What was wanted, what was measured, whether it is reached."""


def goals(rows: list[Row], learned: str = LEARNED) -> list[Line]:
    """Return every goal that the scores can speak to.

    Parameters
    ----------
    rows
        One row a person, condition, method and kind of scan.
    learned
        The method that the goals are of.
    """
    coarse = of_kind(rows, coarse=True) or of_kind(rows, coarse=False)
    of = chosen(coarse, method=learned, condition=HEADLINE)
    if not of:
        return []
    mean, near = average(of, "closest", "mean"), average(of, "closest", "below_2_5_mm")
    lines: list[Line] = [
        ("mean distance at most 2.0 mm", f"{mean:.2f} mm", mean <= 2.0),
        ("at least 72 % of the face below 2.5 mm", f"{near:.0f} %", near >= 72),
    ]
    for other, least in (("tissue-depth", 25.0), ("template", 10.0)):
        pairs = paired(coarse, learned, other)
        if len(pairs) > 1:
            share, low, high = percent_lower(pairs)
            lines.append(
                (
                    f"mean error at least {least:.0f} % lower than {other}, interval above zero",
                    f"{share:.1f} % [{low:.1f}, {high:.1f}]",
                    share >= least and low > 0,
                )
            )
    for percent, low, high in (("90", 87.0, 93.0), ("50", 46.0, 54.0)):
        inside = coverage(coarse, learned, percent)
        if inside:
            share = float(np.mean(inside))
            wanted = f"{percent} % band holds {low:.0f} to {high:.0f} % of the true skin"
            lines.append((wanted, f"{share:.1f} %", low <= share <= high))
    ranks = spread_ranks(coarse, learned)
    if ranks:
        middle = float(np.median(ranks))
        lines.append(
            ("rank correlation of spread and error at least 0.3", f"{middle:.2f}", middle >= 0.3)
        )
    return [*lines, *_damaged(coarse, of_kind(rows, coarse=False), learned)]


def _damaged(coarse: list[Row], sharp: list[Row], learned: str) -> list[Line]:
    """Return the goals about damage, pose and slices."""
    lines: list[Line] = []
    upper = [growth(coarse, learned, "no-mandible", region) for region in UPPER]
    if any(upper):
        grown = float(np.mean([np.mean(values) for values in upper if values]))
        wanted = f"without mandible {_listed(UPPER)} grow by at most 0.3 mm"
        lines.append((wanted, f"{grown:+.2f} mm", grown <= 0.3))
    lower = [spread_ratio(coarse, learned, "no-mandible", region) for region in LOWER]
    if any(lower):
        ratio = float(np.mean([np.median(values) for values in lower if values]))
        wanted = f"without mandible the spread of {_listed(LOWER)} at least doubles"
        lines.append((wanted, f"{ratio:.2f} times", ratio >= 2))
    for condition, most in GROWTH_MM.items():
        grown_by = growth(sharp if condition == "slices-0.5" else coarse, learned, condition)
        if grown_by:
            mean = float(np.mean(grown_by))
            wanted = f"{condition}: mean error grows by at most {most} mm"
            lines.append((wanted, f"{mean:+.2f} mm ({len(grown_by)} people)", mean <= most))
    return lines


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}"


def goals_table(lines: Sequence[Line]) -> str:
    """Return the goals as a table."""
    body = [[wanted, reached, "yes" if kept else "no"] for wanted, reached, kept in lines]
    return table(["goal", "measured", "reached"], body)
