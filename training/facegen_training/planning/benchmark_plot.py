"""The plot of a benchmark: step time, rate and memory of each case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

COLOURS = {"fp32": "#4477aa", "tf32": "#ccbb44", "bf16": "#ee6677"}


def plot_benchmark(result: dict[str, Any], path: Path) -> None:
    """Draw a benchmark as three rows of bars and write it as PNG."""
    rows = [row for row in result["rows"] if "left_out" not in row]
    machine = result["machine"]
    figure = Figure(figsize=(9, 1.6 + 0.36 * max(len(rows), 2)), layout="constrained")
    name = machine.get("gpu", machine["processor"])
    figure.suptitle(f"{name}, {machine['threads']} CPU threads, torch {machine['torch']}", size=9)
    panels = (
        ("seconds a step", "seconds", 1.0),
        ("GFLOP/s reached", "tflop_per_s", 1000.0),
        (f"peak memory {rows[0]['peak_kind'] if rows else ''}, GB", "peak_bytes", 1e-9),
    )
    labels = [f"{row['network']}\n{row['size']}, {row['settings']}" for row in rows]
    places = range(len(rows))
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (title, key, unit) in zip(axes, panels, strict=True):
        values = [row[key] * unit for row in rows]
        colours = [COLOURS.get(row["precision"], "grey") for row in rows]
        bars = axis.barh(places, values, color=colours)
        axis.bar_label(bars, fmt="%.3g", size=7, padding=2)
        axis.set_title(title, size=8)
        axis.margins(x=0.2)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(list(places), labels, size=6)
    axes[0].invert_yaxis()
    temporary = path.with_name(path.name + ".part")
    figure.savefig(temporary, format="png", dpi=130)
    temporary.replace(path)
