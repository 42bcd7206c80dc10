"""The error against the number of people that were learned from: what more people would buy.

On one or two folds a network is fitted to the first 10, 20, 40 ... of the training people (in the
order of a hash, so that each group holds the one before) and scored on the fold's own people.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from facegen_inference.progress import Progress, silent
from facegen_training.cohort.dataset import write_json
from facegen_training.evaluation.contenders import LEARNED, Contender
from facegen_training.evaluation.fold_models import Recipe, Source, fit_folds
from facegen_training.evaluation.people import Subject
from facegen_training.evaluation.plots import save_figure
from facegen_training.evaluation.score import jobs_for, score_jobs
from facegen_training.evaluation.tables import chosen, interval, is_coarse, table

if TYPE_CHECKING:
    from facegen_training.evaluation.run import Wishes

RESULT = "learning_curve.json"
PICTURE = "learning_curve.png"


def measure_curve(
    wishes: Wishes,
    recipe: Recipe,
    people: Sequence[int],
    scored: dict[int, list[Subject]],
    progress: Progress = silent,
) -> Path:
    """Fit and score one network on growing numbers of people; return the file of results.

    Parameters
    ----------
    wishes
        Of the evaluation: where everything lies.
    recipe
        The network.
    people
        Numbers of training people; the whole fold is added, and no number reaches it.
    scored
        Fold → whom to score on it.
    progress
        Told after each number.
    """
    assert wishes.prepared is not None
    source = Source(wishes.prepared, wishes.key)
    counts = source.counts()
    points = []
    groups = [*group_sizes(people, [counts[fold].get("train", 0) for fold in scored]), None]
    for number, most in enumerate(groups, start=1):
        some = replace(source, most_train=most)
        fitted = fit_folds(some, list(scored), [recipe], wishes.out, wishes.processes)
        jobs = []
        for fold, subjects in scored.items():
            model = fitted[fold][recipe.name]
            jobs += jobs_for(subjects, [Contender(recipe.name, LEARNED, model)], [])
        rows = score_jobs(jobs, wishes.work / "learning-curve", None, wishes.processes)
        values = [r["closest"]["mean"] for r in chosen(rows) if is_coarse(r)] or [
            r["closest"]["mean"] for r in chosen(rows)
        ]
        whole = float(np.mean([counts[fold].get("train", 0) for fold in scored]))
        mean, low, high = interval(values)
        points.append(
            {
                "people": most if most is not None else round(whole),
                "scored": len(values),
                "mean_mm": mean,
                "low_mm": low,
                "high_mm": high,
            }
        )
        progress(number / len(groups), f"learning curve: {points[-1]['people']} people")
    path = wishes.work / RESULT
    write_json(path, {"method": recipe.name, "folds": sorted(scored), "points": points})
    _draw(json.loads(path.read_text(encoding="utf-8")), wishes.work / PICTURE)
    return path


def group_sizes(wanted: Sequence[int], there: Sequence[int]) -> list[int]:
    """Return the numbers of people that are fewer than every fold has to learn from, in order."""
    return [n for n in sorted(set(wanted)) if n < min(there)]


def section(work: Path) -> list[str]:
    """Return the report's blocks about the learning curve; none where it was not measured."""
    path = work / RESULT
    if not path.exists():
        return []
    data = json.loads(path.read_text(encoding="utf-8"))
    folds = " and ".join(str(fold) for fold in data["folds"])
    points = data["points"]
    body = [
        [
            str(p["people"]),
            f"{p['mean_mm']:.2f} [{p['low_mm']:.2f}, {p['high_mm']:.2f}]",
            str(p["scored"]),
        ]
        for p in points
    ]
    blocks = [
        "## Learning curve",
        f"`{data['method']}` fitted to the first so many training people of fold {folds}, scored "
        "on the people of that fold.",
        table(["training people", "mean, mm [95 %]", "people scored"], body),
    ]
    slope = per_doubling(points)
    if slope is not None:
        blocks.append(
            "A straight line through the mean against the logarithm of the number of people falls "
            f"by {slope:.2f} mm with each doubling."
        )
    if (work / PICTURE).exists():
        blocks.append(f"![Mean error by number of training people](validation/{PICTURE})")
    return blocks


def per_doubling(points: Sequence[dict[str, float]]) -> float | None:
    """Return by how many mm the mean falls with each doubling of the people, by least squares."""
    counts = [p["people"] for p in points]
    if len(set(counts)) < 2:
        return None
    slope, _ = np.polyfit(np.log2(counts), [p["mean_mm"] for p in points], 1)
    return -float(slope)


def _draw(data: dict[str, list[dict[str, float]]], path: Path) -> None:
    points = data["points"]
    x, mean, low, high = (
        np.array([p[name] for p in points]) for name in ("people", "mean_mm", "low_mm", "high_mm")
    )
    figure, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
    axes.errorbar(x, mean, yerr=[mean - low, high - mean], fmt="o-", color="#2a6f97", capsize=3)
    axes.set_xscale("log", base=2)
    axes.set_xticks(x, [str(int(n)) for n in x])
    axes.minorticks_off()
    axes.set_xlabel("training people")
    axes.set_ylabel("mean distance, mm (95 % interval)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
