"""Tables of the validation report in Markdown, from one small result per person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from facegen_inference.face_region import REGION_NAMES
from facegen_inference.skin import SKIN_LEVEL_HU
from facegen_training.evaluation.contenders import in_order
from facegen_training.evaluation.protocol import COARSE_VOXEL_MM, HEADLINE

Row = dict[str, Any]
RESAMPLES = 4000
LANDMARKS = ("pronasale", "subnasale", "pogonion")


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and 95 % bootstrap interval over people (4000 resamples, fixed seed)."""
    v = np.asarray(values, dtype=float)
    if len(v) == 0:
        return (float("nan"),) * 3
    picks = np.random.default_rng(0).integers(0, len(v), (RESAMPLES, len(v)))
    low, high = np.percentile(v[picks].mean(axis=1), [2.5, 97.5])
    return float(v.mean()), float(low), float(high)


def is_coarse(row: Row) -> bool:
    """Tell whether a scored person's scan is coarse; see `COARSE_VOXEL_MM`."""
    return bool(max(row["voxel_mm"]) > COARSE_VOXEL_MM)


def by_person(rows: list[Row]) -> list[Row]:
    """Return one row for each person, condition, method and kind of scan.

    Several scans of one person are averaged first, so that people weigh the same; failures stay.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        scan = row.get("scan") if "failed" in row else is_coarse(row)
        key = (row["person"], row["condition"], row["method"], "failed" in row, scan)
        groups.setdefault(key, []).append(row)
    return [group[0] if len(group) == 1 else _averaged(group) for group in groups.values()]


def _averaged(values: list[Any]) -> Any:
    """Average numbers within equally shaped data; anything else is the first's."""
    first = values[0]
    if isinstance(first, dict):
        return {k: _averaged([v[k] for v in values if k in v]) for k in first}
    if isinstance(first, list) and len({len(v) for v in values}) == 1:
        return [_averaged(list(column)) for column in zip(*values, strict=True)]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return float(np.mean(numbers)) if numbers else first


def of_kind(rows: list[Row], coarse: bool) -> list[Row]:
    """Return the scored rows of coarse or of sharp scans."""
    return [r for r in rows if "failed" not in r and is_coarse(r) == coarse]


def chosen(rows: list[Row], **wanted: str) -> list[Row]:
    """Return the scored rows with these values."""
    return [r for r in rows if "failed" not in r and all(r[k] == v for k, v in wanted.items())]


def methods_in(rows: list[Row]) -> list[str]:
    """Return the methods that were scored, simplest first."""
    return in_order(list(dict.fromkeys(r["method"] for r in rows)))


def regions_in(rows: list[Row]) -> list[str]:
    """Return the regions that were scored, forehead first."""
    there = {name for r in rows for name in r.get("regions", ())}
    return [name for name in REGION_NAMES if name in there]


def table(head: list[str], body: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in body])


def average(rows: list[Row], part: str, figure: str) -> float:
    """Return one figure averaged over people, each weighing the same."""
    return float(np.mean([r[part][figure] for r in rows])) if rows else float("nan")


def main_table(rows: list[Row]) -> str:
    """Return the table of all methods on one kind of scan."""
    body = []
    for method in methods_in(rows):
        of = chosen(rows, method=method, condition=HEADLINE)
        if not of:
            continue
        mean, low, high = interval([r["closest"]["mean"] for r in of])
        worst = sorted((r["closest"]["mean"] for r in of), reverse=True)
        worst = worst[: max(1, round(len(worst) / 10))]
        body.append(
            [
                method,
                str(len(of)),
                f"{mean:.2f} [{low:.2f}, {high:.2f}]" if len(of) > 1 else f"{mean:.2f}",
                *(f"{average(of, 'closest', k):.2f}" for k in ("median", "rmse", "p95")),
                f"{average(of, 'closest', 'signed_mean'):+.2f}",
                *(f"{average(of, 'closest', k):.0f}" for k in ("below_2_mm", "below_2_5_mm")),
                f"{average(of, 'along_normals', 'mean'):.2f}",
                f"{np.mean([r['normal_angle'] for r in of]):.1f}",
                f"{np.mean(worst):.2f}",
            ]
        )
    head = ["method", "people", "mean [95 %]", "median", "RMSE", "P95", "signed", "% < 2 mm"]
    return table([*head, "% < 2.5 mm", "along normals", "angle, °", "worst tenth"], body)


def region_table(rows: list[Row]) -> str:
    """Return the mean distance in each region."""
    of = {m: chosen(rows, method=m, condition=HEADLINE) for m in methods_in(rows)}
    body = []
    for name in regions_in(rows):
        cells = []
        for group in of.values():
            values = [r["regions"][name]["mean"] for r in group if name in r["regions"]]
            cells.append(f"{np.mean(values):.2f}" if values else "–")
        body.append([name, *cells])
    return table(["region, mean mm", *of], body)


def landmark_table(rows: list[Row]) -> str:
    """Return mean errors of soft-tissue landmarks."""
    body = []
    for method in methods_in(rows):
        of = chosen(rows, method=method, condition=HEADLINE)
        cells = []
        for code in LANDMARKS:
            values = [r["landmarks"][code] for r in of if code in r["landmarks"]]
            cells.append(f"{np.mean(values):.1f}" if values else "–")
        body.append([method, *cells])
    return table(["method", *(f"{name}, mm" for name in LANDMARKS)], body)


def paired_lines(rows: list[Row]) -> str:
    """Return how much nearer each method is than the simpler ones, on the same people."""
    there = methods_in(rows)
    lines = []
    for better in there[1:]:
        for other in there[: there.index(better)]:
            pairs = paired(rows, better, other)
            if len(pairs) > 1:
                mean, low, high = interval([b - a for a, b in pairs])
                share, least, most = percent_lower(pairs)
                won = sum(b > a for a, b in pairs)
                lines.append(
                    f"- {better} against {other}: {mean:+.2f} mm nearer [{low:+.2f}, {high:+.2f}], "
                    f"mean error {share:.1f} % lower [{least:.1f}, {most:.1f}], "
                    f"better on {won} of {len(pairs)} people."
                )
    return "\n".join(lines)


def paired(rows: list[Row], one: str, other: str) -> list[tuple[float, float]]:
    """Return the mean distances of two methods on everyone whom both were scored on, mm."""
    a, b = (
        {r["person"]: r["closest"]["mean"] for r in chosen(rows, method=m, condition=HEADLINE)}
        for m in (one, other)
    )
    return [(a[person], b[person]) for person in a if person in b]


def percent_lower(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Return by how many percent the first mean is lower, and its 95 % bootstrap interval.

    People are drawn with both of their values: the comparison stays paired.
    """
    v = np.asarray(pairs, dtype=float)
    picks = np.random.default_rng(0).integers(0, len(v), (RESAMPLES, len(v)))
    means = v[picks].mean(axis=1)
    low, high = np.percentile(100 * (1 - means[:, 0] / means[:, 1]), [2.5, 97.5])
    return float(100 * (1 - v[:, 0].mean() / v[:, 1].mean())), float(low), float(high)


def floor_table(floors: dict[str, dict[str, Any]]) -> str:
    """Return the floors that the skin itself sets."""
    body = [
        [
            name,
            f"{f['level']:.0f}",
            f"{f['mean']:.2f}",
            f"{f['signed_mean']:+.2f}",
            f"{f['p95']:.2f}",
            *(f"{f['landmarks'].get(c, float('nan')):.1f}" for c in LANDMARKS),
        ]
        for name, f in floors.items()
    ]
    return table(
        ["voxels", "skin level, HU", "mean, mm", "signed, mm", "P95, mm", *LANDMARKS], body
    )


def masked_floor(floors: dict[str, dict[str, Any]]) -> float | None:
    """Return the worst floor of scans whose body mask moves the skin's level, mm; None of none."""
    means = [f["mean"] for f in floors.values() if f["level"] < SKIN_LEVEL_HU - 1]
    return max(means) if means else None


def failures(rows: list[Row]) -> str:
    """Return who could not be scored, and why."""
    lines = [
        f"- {r['person']}, {r['condition']}, {r['method']}: {r['failed']}"
        for r in rows
        if "failed" in r
    ]
    return "\n".join(lines) if lines else "None."


def masked_people(rows: list[Row]) -> str:
    """Return the people whose scans keep too little partial volume at the skin."""
    share = {r["person"]: r["partial_volume"] for r in of_kind(rows, coarse=True)}
    few = sorted(p for p, v in share.items() if v < 10)
    return f"{len(few)} of {len(share)} people ({', '.join(few)})" if few else "nobody"
