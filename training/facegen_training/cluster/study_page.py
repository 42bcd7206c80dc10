"""The study's page: one HTML file with a table, parallel coordinates and learning curves.

It needs no network and no script, and is written anew after every trial.
"""

from __future__ import annotations

import json
import math
import os
import socket
from collections import Counter
from html import escape
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from facegen_training.cluster.charts import Axis, Line, colour, curves, parallel
from facegen_training.cluster.search import Range
from facegen_training.cluster.study import StudyFolder

PAGE = "study.html"
_WORDS = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "given up early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "not finished",
    TrialState.WAITING: "waiting",
}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em;
       color: #222; background: #fff }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin-top: 2em }
table { border-collapse: collapse; width: 100% } caption { text-align: left; color: #555 }
th, td { text-align: right; padding: .2em .6em; border-bottom: 1px solid #ddd }
th:first-child, td:first-child, td.word { text-align: left }
thead th { border-bottom: 2px solid #888 }
tr.best { font-weight: 600 } .dot { display: inline-block; width: .8em; height: .8em;
       border-radius: 50% } .scroll { overflow-x: auto }
svg { width: 100%; height: auto } svg .axis { stroke: #888 } svg .name { font-size: 12px }
svg .tick { font-size: 11px; fill: #444; paint-order: stroke; stroke: #fff; stroke-width: 3px }
svg polyline { fill: none; stroke-width: 1.6; stroke-opacity: .85 }
svg polyline:hover { stroke-width: 4 }
"""


def write_page(study: StudyFolder) -> Path:
    """Write the study's page and return its path; readers never see half of it."""
    options = study.search.study
    trials = study.trials()
    ranked = sorted(_with_value(trials), key=_value, reverse=options.direction == "maximize")
    goodness = {t.number: n / max(len(ranked) - 1, 1) for n, t in enumerate(ranked)}
    rest = [t for t in trials if t.number not in goodness]
    parts = [
        f"<h1>{escape(study.folder.name)}</h1>",
        f"<p>{escape(_summary(study, trials, ranked))}</p>",
        "<h2>Trials</h2>",
        _table(study, [*ranked, *rest], goodness),
        "<h2>Settings and result</h2>",
        _coordinates(study, ranked, goodness),
        "<h2>Learning curves</h2>",
        _curves(study, trials, goodness),
    ]
    body = "\n".join(parts)
    title = escape(f"{study.folder.name} – study")
    text = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )
    path = study.folder / PAGE
    # Several workers may write at the same time, each under a name of its own.
    temporary = path.with_name(f"{PAGE}.{socket.gethostname()}-{os.getpid()}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path


def metric_of(steps: Path, metric: str) -> list[tuple[int, float]]:
    """Return (step, value) of a metric in a run's ``steps.jsonl``.

    A run that was killed and resumed repeats steps: the last word on each counts.  A line that is
    only half written is left out.
    """
    found: dict[int, float] = {}
    if not steps.exists():
        return []
    for text in steps.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if metric in line and "step" in line:
            found[int(line["step"])] = float(line[metric])
    return sorted(found.items())


def _with_value(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if t.state == TrialState.COMPLETE and math.isfinite(_value(t))]


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _summary(study: StudyFolder, trials: list[FrozenTrial], ranked: list[FrozenTrial]) -> str:
    options = study.search.study
    counts = Counter(_WORDS[trial.state] for trial in trials)
    said = ", ".join(f"{count} {word}" for word, count in counts.items()) or "none yet"
    text = f"{options.trials} trials wanted: {said}."
    if ranked:
        best = ranked[0]
        text += f" Best: trial {best.number}, {options.metric} {_value(best):.4g}."
    return text


def _table(study: StudyFolder, trials: list[FrozenTrial], goodness: dict[int, float]) -> str:
    names = list(study.search.space)
    head = "".join(f"<th>{escape(name)}</th>" for name in [*names, study.search.study.metric])
    rows = []
    for rank, trial in enumerate(trials):
        place = goodness.get(trial.number)
        dot = f'<span class="dot" style="background:{colour(place)}"></span>'
        cells = "".join(f"<td>{escape(_show(trial.params.get(name)))}</td>" for name in names)
        value = trial.value if trial.state == TrialState.COMPLETE else None
        word = escape(trial.user_attrs.get("failed") or _WORDS[trial.state])
        best = ' class="best"' if rank == 0 and place is not None else ""
        rows.append(
            f"<tr{best}><td>{dot} {trial.number}</td>{cells}<td>{_show(value)}</td>"
            f'<td class="word">{word}</td></tr>'
        )
    return (
        '<div class="scroll"><table><caption>Best first. Each trial\'s settings and run lie in '
        "trials/NUMBER.</caption>\n"
        f"<thead><tr><th>Trial</th>{head}<th>State</th></tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _show(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _coordinates(study: StudyFolder, ranked: list[FrozenTrial], goodness: dict[int, float]) -> str:
    if not ranked:
        return "<p>No trial has finished yet.</p>"
    space = study.search.space
    values = [_value(trial) for trial in ranked]
    axes = [_axis(name, span) for name, span in space.items()]
    axes.append(Axis(study.search.study.metric, low=min(values), high=max(values)))
    lines = []
    for trial in reversed(ranked):  # the best is drawn last, on top
        text = f"trial {trial.number}: {_value(trial):.4g}"
        row = [*(trial.params[name] for name in space), _value(trial)]
        lines.append((Line(text, goodness[trial.number], ()), row))
    return parallel(axes, lines)


def _axis(name: str, span: Range) -> Axis:
    if span.kind == "choice":
        return Axis(name, choices=tuple(str(value) for value in span.values))
    low, high = (float(value) for value in span.values)
    return Axis(name, low=low, high=high, log=span.kind == "log")


def _curves(study: StudyFolder, trials: list[FrozenTrial], goodness: dict[int, float]) -> str:
    metric = study.search.study.metric
    lines = []
    for trial in trials:
        steps = study.trial_folder(trial.number) / "run" / "steps.jsonl"
        points = tuple((float(step), value) for step, value in metric_of(steps, metric))
        lines.append(Line(f"trial {trial.number}", goodness.get(trial.number), points))
    lines.sort(key=lambda line: -1.0 if line.goodness is None else 1 - line.goodness)
    return curves(lines, "step", metric)
