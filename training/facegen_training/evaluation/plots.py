"""Plots of the validation report."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from facegen_inference.mesh import Mesh
from facegen_training.evaluation.calibration_tables import coverage
from facegen_training.evaluation.protocol import HEADLINE
from facegen_training.evaluation.tables import (
    Row,
    chosen,
    interval,
    is_coarse,
    methods_in,
    of_kind,
    regions_in,
)

COLOURS = {
    "mean-face": "#8c8c8c",
    "tissue-depth": "#d08a2e",
    "template": "#6a8d4f",
    "neural": "#2a6f97",
}
OTHER_COLOURS = ("#8b5a9e", "#b5524a", "#4a8f8f", "#a08a3a")


def colours(methods: list[str]) -> dict[str, str]:
    """Return a colour for each method, the same in every plot."""
    others = [m for m in methods if m not in COLOURS]
    more = {m: OTHER_COLOURS[n % len(OTHER_COLOURS)] for n, m in enumerate(others)}
    return {m: COLOURS.get(m) or more[m] for m in methods}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG with a palette of 256 colours, a third of the size."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=130)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(256).save(path, format="PNG", optimize=True)


def people_plot(rows: list[Row], path: Path) -> None:
    """Draw each person's mean distance by method, people joined by lines."""
    there = methods_in(rows)
    colour = colours(there)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for person in sorted({r["person"] for r in rows if "failed" not in r}):
        of = [chosen(rows, person=person, method=m, condition=HEADLINE) for m in there]
        values = [r[0]["closest"]["mean"] if r else np.nan for r in of]
        sharp = any(r and not is_coarse(r[0]) for r in of)
        axes.plot(there, values, "-", color="#444" if sharp else "#ccc", lw=1, zorder=1)
    for n, method in enumerate(there):
        values = [r["closest"]["mean"] for r in chosen(rows, method=method, condition=HEADLINE)]
        axes.scatter([n] * len(values), values, color=colour[method], zorder=2, s=22)
    axes.set_ylabel("mean distance to the true skin, mm")
    axes.set_ylim(bottom=0)
    axes.set_title("People left out of training; dark lines: sharp scans", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def region_plot(rows: list[Row], path: Path) -> None:
    """Draw the mean distance in each region by method."""
    there = methods_in(rows)
    colour = colours(there)
    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    names = regions_in(rows)
    width = 0.8 / len(there)
    for n, method in enumerate(there):
        of = chosen(rows, method=method, condition=HEADLINE)
        bars = [interval([r["regions"][k]["mean"] for r in of if k in r["regions"]]) for k in names]
        mean, low, high = (np.array(v) for v in zip(*bars, strict=True))
        axes.bar(
            np.arange(len(names)) + (n - (len(there) - 1) / 2) * width,
            mean,
            0.92 * width,
            yerr=[mean - low, high - mean],
            color=colour[method],
            label=method,
            error_kw={"lw": 1},
        )
    axes.set_xticks(np.arange(len(names)), names)
    axes.set_ylabel("mean distance, mm (95 % interval)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def coverage_plot(rows: list[Row], path: Path) -> bool:
    """Draw which share of the true skin the bands hold, by region; False where none has bands."""
    there = [m for m in methods_in(rows) if coverage(rows, m, "90")]
    if not there:
        return False
    colour = colours(methods_in(rows))
    names = regions_in(rows)
    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    for percent, marker in (("50", "o"), ("90", "s")):
        axes.axhline(float(percent), color="#bbb", lw=1, zorder=0)
        for n, method in enumerate(there):
            found = [coverage(rows, method, percent, name) for name in names]
            bars = [interval(values) for values in found]
            mean, low, high = (np.array(v) for v in zip(*bars, strict=True))
            axes.errorbar(
                np.arange(len(names)) + (n - (len(there) - 1) / 2) * 0.6 / len(there),
                mean,
                yerr=[mean - low, high - mean],
                fmt=marker,
                ms=4,
                lw=1,
                color=colour[method],
                label=method if percent == "90" else None,
            )
    axes.set_xticks(np.arange(len(names)), names)
    axes.set_ylim(0, 100)
    axes.set_ylabel("% of the true skin in the band\n(circles: 50 %, squares: 90 %)")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
    return True


def averaged_maps(rows: list[Row], vertices: int) -> dict[str, NDArray[np.float64]]:
    """Return method → (N,) error averaged over people, mm; needs three people at a vertex."""
    maps = {}
    for method in methods_in(rows):
        of = [
            r["map"]
            for r in chosen(rows, method=method, condition=HEADLINE)
            if len(r.get("map", ())) == vertices
        ]
        if len(of) > 2:
            stacked = np.array(of, dtype=float)
            seen = np.isfinite(stacked).sum(axis=0)
            total = np.nansum(stacked, axis=0)
            maps[method] = np.where(seen > 2, total / np.maximum(seen, 1), np.nan)
    return maps


def map_plot(rows: list[Row], mean_face: Mesh, path: Path) -> bool:
    """Draw the error averaged over people on the mean face; False where there are too few."""
    maps = averaged_maps(rows, len(mean_face.vertices))
    if not maps:
        return False
    size = (3.2 * len(maps) + 0.8, 4.2)
    figure, axes = plt.subplots(1, len(maps), figsize=size, layout="constrained", squeeze=False)
    v = mean_face.vertices
    front = mean_face.normals()[:, 1] < -0.05
    order = np.flatnonzero(front)[np.argsort(-v[front, 1])]
    drawn = [
        # Seen from the front: the examinee's left is on the right of the picture.
        ax.scatter(v[order, 0], v[order, 2], c=values[order], s=3, vmin=0, vmax=6, linewidths=0)
        for ax, values in zip(axes[0], maps.values(), strict=True)
    ]
    for ax, method in zip(axes[0], maps, strict=True):
        ax.set_title(method, fontsize=10)
        ax.set_aspect("equal")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_xlabel("R                                L", fontsize=8)
        ax.spines[:].set_visible(False)
    figure.colorbar(drawn[0], ax=axes[0].tolist(), label="mean error, mm", shrink=0.8)
    save_figure(figure, path)
    return True


def draw_all(rows: list[Row], mean_face: Mesh, folder: Path) -> set[str]:
    """Draw every plot that the scores allow; return the names of those drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    headline = [r for r in rows if r["condition"] == HEADLINE and "failed" not in r]
    if not headline:
        return set()
    most = of_kind(headline, coarse=True) or of_kind(headline, coarse=False)
    people_plot(headline, folder / "people.png")
    region_plot(most, folder / "regions.png")
    drawn = {"people", "regions"}
    if coverage_plot(most, folder / "coverage.png"):
        drawn.add("coverage")
    if map_plot(most, mean_face, folder / "map.png"):
        drawn.add("map")
    return drawn
