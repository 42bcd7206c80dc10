"""The validation report: tables in Markdown and plots, from one small result per person."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from facegen_inference.mesh import Mesh

Row = dict[str, Any]
METHOD_ORDER = ("mean-face", "tissue-depth", "neural")
COLOURS = {"mean-face": "#8c8c8c", "tissue-depth": "#d08a2e", "neural": "#2a6f97"}
HEADLINE = "bone-250"
COARSE = "OpenKBP"
RESAMPLES = 4000
LANDMARKS = ("pronasale", "subnasale", "pogonion")

NOTES = Path(__file__).with_name("validation_notes.md")
"""What was done by hand and must be known to read the numbers."""


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and 95 % bootstrap interval over people (4000 resamples, fixed seed)."""
    v = np.asarray(values, dtype=float)
    if len(v) == 0:
        return (float("nan"),) * 3
    picks = np.random.default_rng(0).integers(0, len(v), (RESAMPLES, len(v)))
    low, high = np.percentile(v[picks].mean(axis=1), [2.5, 97.5])
    return float(v.mean()), float(low), float(high)


def chosen(rows: list[Row], **wanted: str) -> list[Row]:
    """Return the scored rows with these values."""
    return [r for r in rows if "failed" not in r and all(r[k] == v for k, v in wanted.items())]


def methods_in(rows: list[Row]) -> list[str]:
    """Return the methods that have a score, in the order of the ladder."""
    there = {r["method"] for r in rows}
    return [m for m in METHOD_ORDER if m in there]


def table(head: list[str], body: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in body])


def average(rows: list[Row], part: str, figure: str) -> float:
    """Return one figure averaged over people, each weighing the same."""
    return float(np.mean([r[part][figure] for r in rows])) if rows else float("nan")


def main_table(rows: list[Row], source: str) -> str:
    """Return the table of all methods on one kind of scan."""
    body = []
    for method in methods_in(rows):
        of = chosen(rows, method=method, source=source, condition=HEADLINE)
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


def region_table(rows: list[Row], source: str) -> str:
    """Return the mean distance in each region."""
    of = {m: chosen(rows, method=m, source=source, condition=HEADLINE) for m in methods_in(rows)}
    names = list(dict.fromkeys(n for rs in of.values() for r in rs for n in r["regions"]))
    body = []
    for name in names:
        cells = []
        for group in of.values():
            values = [r["regions"][name]["mean"] for r in group if name in r["regions"]]
            cells.append(f"{np.mean(values):.2f}" if values else "–")
        body.append([name, *cells])
    return table(["region, mean mm", *of], body)


def landmark_table(rows: list[Row], source: str) -> str:
    """Return mean errors of soft-tissue landmarks and coverage of the bands."""
    body = []
    for method in methods_in(rows):
        of = chosen(rows, method=method, source=source, condition=HEADLINE)
        cells = []
        for code in LANDMARKS:
            values = [r["landmarks"][code] for r in of if code in r["landmarks"]]
            cells.append(f"{np.mean(values):.1f}" if values else "–")
        for percent in ("50", "90"):
            values = [r["band_coverage"][percent] for r in of if percent in r["band_coverage"]]
            cells.append(f"{np.mean(values):.0f}" if values else "–")
        body.append([method, *cells])
    return table(
        [
            "method",
            "pronasale, mm",
            "subnasale, mm",
            "pogonion, mm",
            "in 50 % band, %",
            "in 90 % band, %",
        ],
        body,
    )


def paired_lines(rows: list[Row], source: str) -> str:
    """Return how much nearer each method is than the simpler ones, on the same people."""
    there = methods_in(rows)
    lines = []
    for better in there[1:]:
        for other in there[: there.index(better)]:
            a, b = (
                {
                    r["person"]: r["closest"]["mean"]
                    for r in chosen(rows, method=m, source=source, condition=HEADLINE)
                }
                for m in (better, other)
            )
            gain = [b[p] - a[p] for p in a if p in b]
            if len(gain) > 1:
                mean, low, high = interval(gain)
                won = sum(g > 0 for g in gain)
                lines.append(
                    f"- {better} against {other}: {mean:+.2f} mm nearer [{low:+.2f}, {high:+.2f}], "
                    f"better on {won} of {len(gain)} people."
                )
    return "\n".join(lines)


def condition_table(rows: list[Row]) -> str:
    """Return the mean distance on coarse people for each way of reducing the scan to bone."""
    conditions = list(dict.fromkeys(r["condition"] for r in rows))
    body = []
    for condition in conditions:
        cells = []
        for method in methods_in(rows):
            of = chosen(rows, method=method, source=COARSE, condition=condition)
            asked = [
                r
                for r in rows
                if "failed" in r
                and r["source"] == COARSE
                and r["condition"] == condition
                and r["method"] == method
            ]
            text = f"{average(of, 'closest', 'mean'):.2f} ({len(of)})" if of else "–"
            cells.append(text + (f", {len(asked)} refused" if asked else ""))
        body.append([condition, *cells])
    return table(["input", *(f"{m}, mm (people)" for m in methods_in(rows))], body)


def floor_table(path: Path) -> str:
    """Return the floors that the skin itself sets."""
    floors = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    body = [
        [
            name,
            f"{f['level']:.0f}",
            *(
                f"{f[k]:{form}}"
                for k, form in (("mean", ".2f"), ("signed_mean", "+.2f"), ("p95", ".2f"))
            ),
            *(f"{f['landmarks'].get(c, float('nan')):.1f}" for c in LANDMARKS),
        ]
        for name, f in floors.items()
    ]
    return table(
        ["voxels", "skin level, HU", "mean, mm", "signed, mm", "P95, mm", *LANDMARKS], body
    )


def people_plot(rows: list[Row], path: Path) -> None:
    """Draw each person's mean distance by method, people joined by lines."""
    there = methods_in(rows)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    people = sorted({r["person"] for r in rows})
    for person in people:
        of = [chosen(rows, person=person, method=m, condition=HEADLINE) for m in there]
        values = [r[0]["closest"]["mean"] if r else np.nan for r in of]
        sharp = any(r and r[0]["source"] != COARSE for r in of)
        axes.plot(there, values, "-", color="#444" if sharp else "#ccc", lw=1, zorder=1)
    for n, method in enumerate(there):
        values = [r["closest"]["mean"] for r in chosen(rows, method=method, condition=HEADLINE)]
        axes.scatter([n] * len(values), values, color=COLOURS[method], zorder=2, s=22)
    axes.set_ylabel("mean distance to the true skin, mm")
    axes.set_ylim(bottom=0)
    axes.set_title("People left out of training; dark line: the sharp head", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def region_plot(rows: list[Row], path: Path) -> None:
    """Draw the mean distance in each region by method, coarse people."""
    there = methods_in(rows)
    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    names = list(dict.fromkeys(n for r in rows if "regions" in r for n in r["regions"]))
    for n, method in enumerate(there):
        of = chosen(rows, method=method, source=COARSE, condition=HEADLINE)
        bars = [interval([r["regions"][k]["mean"] for r in of if k in r["regions"]]) for k in names]
        at = np.arange(len(names)) + (n - (len(there) - 1) / 2) * 0.27
        mean, low, high = (np.array(v) for v in zip(*bars, strict=True))
        axes.bar(
            at,
            mean,
            0.25,
            yerr=[mean - low, high - mean],
            color=COLOURS[method],
            label=method,
            error_kw={"lw": 1},
        )
    axes.set_xticks(np.arange(len(names)), names)
    axes.set_ylabel("mean distance, mm (95 % interval)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def map_plot(rows: list[Row], mean_face: Mesh, path: Path) -> bool:
    """Draw the error averaged over people on the mean face; False where there is none."""
    there = methods_in(rows)
    maps: dict[str, np.ndarray] = {}
    for method in there:
        of = [
            r["map"]
            for r in chosen(rows, method=method, source=COARSE, condition=HEADLINE)
            if len(r.get("map", ())) == len(mean_face.vertices)
        ]
        if len(of) > 2:
            stacked = np.array(of, dtype=float)
            seen = np.isfinite(stacked).sum(axis=0)
            total = np.nansum(stacked, axis=0)
            maps[method] = np.where(seen > 2, total / np.maximum(seen, 1), np.nan)
    if not maps:
        return False
    figure, axes = plt.subplots(
        1, len(maps), figsize=(3.2 * len(maps) + 0.8, 4.2), layout="constrained", squeeze=False
    )
    drawn = None
    for ax, (method, values) in zip(axes[0], maps.items(), strict=True):
        v = mean_face.vertices
        front = mean_face.normals()[:, 1] < -0.05
        order = np.flatnonzero(front)[np.argsort(-v[front, 1])]
        # Seen from the front: the examinee's left is on the right of the picture.
        drawn = ax.scatter(
            v[order, 0],
            v[order, 2],
            c=values[order],
            s=3,
            cmap="viridis",
            vmin=0,
            vmax=6,
            linewidths=0,
        )
        ax.set_title(method, fontsize=10)
        ax.set_aspect("equal")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_xlabel("R                                L", fontsize=8)
        ax.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=axes[0].tolist(), label="mean error, mm", shrink=0.8)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return True


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
    share = {r["person"]: r["partial_volume"] for r in chosen(rows, source=COARSE)}
    few = sorted(p for p, v in share.items() if v < 10)
    return f"{len(few)} of {len(share)} people ({', '.join(few)})" if few else "nobody"


def write_report(
    rows: list[Row], floors: Path, mean_face: Mesh, out: Path, keys: dict[str, object]
) -> None:
    """Write ``validation.md``, its plots and the figures per person as JSON."""
    pictures = out / "validation"
    pictures.mkdir(parents=True, exist_ok=True)
    headline = [r for r in rows if r["condition"] == HEADLINE]
    people_plot(headline, pictures / "people.png")
    region_plot(headline, pictures / "regions.png")
    has_map = map_plot(headline, mean_face, pictures / "map.png")
    drop: Callable[[Row], Row] = lambda r: {k: v for k, v in r.items() if k != "map"}  # noqa: E731
    data = json.dumps([drop(r) for r in rows], indent=1)
    (pictures / "scores.json").write_text(data + "\n", encoding="utf-8")
    sharp = sorted({r["source"] for r in headline} - {COARSE})
    sections = [
        "# Validation",
        "How far faces made from bone alone lie from the true skin, on people whom neither the "
        "model nor the mean face has seen. Written by `benchmarks/score_methods.py`; the figures "
        "per person are in [validation/scores.json](validation/scores.json).",
        f"Protocol {keys['protocol']}, face region version {keys['region']}, mean face of "
        f"{keys['atlas_people']} people, model SHA-256 `{str(keys['model'])[:16]}`.",
        "- **Input**: `bone_only(scan, 250)`: everything but the head's bone becomes -1000 HU "
        "before the program sees the scan.\n"
        "- **Truth**: the outer skin of the same scan at -500 HU; where a body mask cut partial "
        "volume away, at a lower level calibrated on a coarsened sharp head. No alignment of face "
        "to face.\n"
        "- **Region**: chin to mid-forehead, in front of the ears, in the person's own Frankfurt "
        "frame (found in the bone-only scan); where the scan ends nothing is scored.\n"
        "- **Distances** in mm, samples 1 per mm², closest distance both ways, the two directions "
        "averaged per person, people weigh the same; signed: positive where the prediction lies "
        "outside the true skin. Intervals: 95 % bootstrap over people.",
        "## Coarse heads (radiotherapy planning CTs, about 4.6 × 4.6 × 3 mm)",
        main_table(rows, COARSE),
        paired_lines(rows, COARSE),
        "![Mean distance of each person](validation/people.png)",
        "### Regions",
        region_table(rows, COARSE),
        "![Mean distance by region](validation/regions.png)",
        "### Landmarks of the profile and predicted bands",
        landmark_table(rows, COARSE),
        "At these voxels the tip of the nose and the lips are themselves known to some "
        "millimetres only. Corners of the mouth are not measured: geometry alone does not show "
        "them.",
    ]
    if has_map:
        sections += [
            "### Where the error lies",
            "Averaged over people and drawn on the mean face; nobody's own shape.",
            "![Error on the mean face](validation/map.png)",
        ]
    for source in sharp:
        sections += [
            f"## Sharp head: {source} (one person, 1 mm)",
            main_table(rows, source),
            region_table(rows, source),
            landmark_table(rows, source),
        ]
    sections += [
        "## Other ways of reducing the scan to bone",
        condition_table(rows),
        "`binary`: every bone voxel the same value, so that no grey value at the bone's edge can "
        "betray soft tissue. `cropped`: a random part of the field of view cut off.",
        "## Floors",
        "The sharp head coarsened and measured against itself; no score can mean more than this.",
        floor_table(floors),
        f"Partial volume at the skin was cut away by the body mask (under 10 % of edge voxels "
        f"below -300 HU) in {masked_people(rows)}: their skin is known to about 0.8 mm only.",
        "## Not scored",
        failures(rows),
        "## What these numbers are not",
        "One source of coarse scans, patients of radiotherapy, without labels of sex, age or "
        "ancestry; one sharp head. Scans lie supine. Experts' published blind tests (54–77 % "
        "within 2.5 mm) are of other people by other protocols and cannot be compared directly.",
        NOTES.read_text(encoding="utf-8").strip(),
    ]
    text = "\n\n".join(s for s in sections if s)
    (out / "validation.md").write_text(text + "\n", encoding="utf-8")
    print(f"wrote {out / 'validation.md'}")
