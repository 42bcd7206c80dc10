"""What the identification test found, in words, figures and the cumulative match curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from facegen_training.evaluation.contenders import in_order
from facegen_training.evaluation.identification import OTHER, OWN, SIZE
from facegen_training.evaluation.plots import colours, save_figure
from facegen_training.evaluation.tables import RESAMPLES, interval, table

Result = dict[str, Any]
Interval = tuple[float, float, float]
RESULT = "identification.json"
PICTURE = "cmc.png"
TOP = 0.01
"""Share of the gallery that an investigator is thought to look through."""
MOST_TOLD_APART = 0.6

HOW = """\
Each predicted face is looked for in a gallery of {of} faces: the true faces of all {true} people \
and {decoys} decoys a fold, drawn from a shape model of the fold's training people and given the \
detail and the gaps of their scans. Faces are laid over the fold's mean face by the face alone, \
as a face in a gallery has no skull; the size is kept. They are compared by the cosine of their \
differences from the mean face, each principal component divided by its standard deviation in \
people left out (Mahalanobis cosine), fitted on the fold's training people and the same for every \
method; beside it by the plain mean absolute difference in mm. Two controls: the mean face \
enlarged to the predicted face's size, and the prediction made for another person of the fold."""


def places(rows: dict[str, Result], kind: str = "rank") -> NDArray[np.float64]:
    """Return where the true face came, as a share of the gallery, for each person."""
    return np.array([row[kind] / row["of"] for row in rows.values()])


def mean_interval(values: NDArray[np.floating]) -> Interval:
    """Return the mean and its 95 % bootstrap interval over people."""
    return interval(values.tolist())


def median_interval(values: NDArray[np.floating]) -> Interval:
    """Return the median and its 95 % bootstrap interval over people."""
    v = np.asarray(values, dtype=float)
    picks = np.random.default_rng(0).integers(0, len(v), (RESAMPLES, len(v)))
    low, high = np.percentile(np.median(v[picks], axis=1), [2.5, 97.5])
    return float(np.median(v)), float(low), float(high)


def summary(result: Result) -> dict[str, dict[str, Any]]:
    """Return method → figures, each with its 95 % interval over people.

    ``top_1_percent`` of people whose true face is among the first hundredth, in percent;
    ``median_percentile``, 0 is the best; both again for the controls and for plain distance, and
    the gain in the former over the mean face of the same size, on the same people.
    """
    found = {}
    for method in in_order(list(result["methods"])):
        kinds = result["methods"][method]
        own, size, other = kinds[OWN], kinds[SIZE], kinds[OTHER]
        if not own:
            continue
        top, top_size = (places(rows) <= TOP for rows in (own, size))
        found[method] = {
            "people": len(own),
            "top_1_percent": mean_interval(100.0 * top),
            "median_percentile": median_interval(100 * places(own)),
            "first": float(100 * np.mean([row["rank"] <= 1 for row in own.values()])),
            "size_top_1_percent": mean_interval(100.0 * top_size),
            "size_median_percentile": median_interval(100 * places(size)),
            "gain": mean_interval(100.0 * top - 100.0 * top_size),
            "other_top_1_percent": mean_interval(100.0 * (places(other) <= TOP)),
            "other_median_percentile": median_interval(100 * places(other)) if other else (),
            "plain_top_1_percent": mean_interval(100.0 * (places(own, "plain") <= TOP)),
            "plain_median_percentile": median_interval(100 * places(own, "plain")),
        }
    return found


def _cell(figure: Sequence[float], digits: int = 0) -> str:
    if not len(figure):
        return "–"
    mean, low, high = (f"{v:.{digits}f}" for v in figure)
    return f"{mean} [{low}, {high}]"


def section(folder: Path) -> list[str]:
    """Return the report's sections on identification; none where nothing was measured.

    Parameters
    ----------
    folder
        Holds `RESULT`; where `PICTURE` lies beside it, the page shows ``validation/cmc.png``.
    """
    path = folder / RESULT
    if not path.is_file():
        return []
    result = json.loads(path.read_text(encoding="utf-8"))
    figures = summary(result)
    if not figures:
        return []
    of = min(row["of"] for kinds in result["methods"].values() for row in kinds[OWN].values())
    body = [
        [
            method,
            str(f["people"]),
            _cell(f["top_1_percent"]),
            _cell(f["median_percentile"], 1),
            f"{f['first']:.0f}",
            _cell(f["size_top_1_percent"]),
            _cell(f["gain"]),
            _cell(f["other_top_1_percent"]),
            _cell(f["other_median_percentile"]),
            _cell(f["plain_top_1_percent"]),
            _cell(f["plain_median_percentile"], 1),
        ]
        for method, f in figures.items()
    ]
    head = ["method", "people", "true face in top 1 %, % of people", "median percentile"]
    head += ["first of all, %", "same-size mean face: top 1 %", "gain over it, points"]
    head += ["another's prediction: top 1 %", "its median percentile"]
    head += ["plain mm: top 1 %", "plain mm: median percentile"]
    counts = {"of": of, "true": result["true_faces"], "decoys": result["decoys"]}
    sections = ["## Identification", HOW.format(**counts), table(head, body)]
    sections.append(
        "In brackets: 95 % bootstrap over people. By chance the true face is in the top 1 % for "
        "1 % of people, with a median percentile of 50."
    )
    if (folder / PICTURE).is_file():
        sections.append(f"![Cumulative match curve](validation/{PICTURE})")
    return [*sections, *_check(result)]


def _check(result: Result) -> list[str]:
    told = result["told_apart"]
    if not told:
        return []
    best = max(told, key=lambda name: float(told[name]))
    kinds = ", ".join(f"{name} {100 * share:.0f} %" for name, share in told.items())
    kept = "kept" if told[best] <= MOST_TOLD_APART else "**not kept**"
    return [
        f"Decoys and unseen people told apart by a classifier, balanced accuracy on folds it did "
        f"not learn from (50 % is chance): {kinds}. The limit of {100 * MOST_TOLD_APART:.0f} % "
        f"is {kept} by the best of them ({best}, {100 * told[best]:.0f} %). Shown besides how "
        "well the fold's own shape model explains a face, the best tells "
        f"{100 * max(result['told_apart_by_the_model'].values()):.0f} % apart: decoys are made of "
        "the people that model was fitted to, whom an unseen person resembles less. Whether that "
        "helps to find the true face is what the other person's prediction shows: it should come "
        "to 1 % and 50. How decoys are drawn was settled with this check on the same people."
    ]


def cmc_plot(result: Result, path: Path) -> None:
    """Draw the cumulative match curve: share of people by the share of the gallery looked at."""
    methods = [m for m in in_order(list(result["methods"])) if result["methods"][m][OWN]]
    colour = colours(methods)
    figure, axes = plt.subplots(figsize=(6.2, 4.2), layout="constrained")
    least = min(
        1 / row["of"] for method in methods for row in result["methods"][method][OWN].values()
    )
    at = np.geomspace(least, 1, 300)
    for method in methods:
        for kind, style in ((OWN, "-"), (SIZE, ":")):
            share = places(result["methods"][method][kind])
            if kind == SIZE and method == "mean-face":
                continue
            label = method if kind == OWN else f"mean face of {method}'s size"
            curve = [100 * float(np.mean(share <= x + 1e-12)) for x in at]
            axes.plot(100 * at, curve, style, color=colour[method], label=label, lw=1.6)
    axes.plot(100 * at, 100 * at, "--", color="#bbb", lw=1, label="chance")
    axes.axvline(100 * TOP, color="#ddd", lw=1, zorder=0)
    axes.set_xscale("log")
    axes.set_xlim(100 * least, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("share of the gallery looked through, %")
    axes.set_ylabel("people whose true face was met, %")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
