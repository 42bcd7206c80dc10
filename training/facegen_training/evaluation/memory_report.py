"""What the memory test found, in words and figures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facegen_training.evaluation.contenders import in_order
from facegen_training.evaluation.memory import (
    ALIGNED,
    COARSE_MM,
    FRAME,
    NEIGHBOURS,
    PLANTED,
    UNSEEN,
)
from facegen_training.evaluation.tables import table

Result = dict[str, Any]
Rows = dict[str, dict[str, float]]
RESULT = "memory.json"
UNLIKELY = 0.05
"""Below this a chance, times how many were looked at (Bonferroni), counts as none."""
Values = NDArray[np.float64]

HOW = f"""\
For each generated face the mean absolute distance to every training face of its model is taken, \
over the cells of the face both have, once in the Frankfurt frame and once with the faces laid \
over each other, all smoothed to their coarse shape ({COARSE_MM:.0f} mm), as the noise of a scan \
lies in every distance of a true face and in few of a generated one's. Nearness is the distance \
to the nearest training face of somebody else over the mean distance to the next {NEIGHBOURS}: 1 \
is no nearer than to others, 0 is a copy; a face near the mean lies nearer to everybody, so \
millimetres alone would not tell. True faces of people whom the model has not seen show what is \
usual. *{PLANTED.capitalize()}* shows that the test can fail: generated faces moved half-way to \
their nearest training face. *Chance*: how probable it would be that so many come nearer than \
every unseen person, if generated faces lay as near as unseen people's."""


def verdict(result: Result, way: str) -> dict[str, dict[str, float]]:
    """Return kind of face → figures on how near training faces it comes.

    Parameters
    ----------
    result
        Of `facegen_training.evaluation.memory.remember`.
    way
        `FRAME` or `ALIGNED`.

    Returns
    -------
    ``least`` and ``median`` ratio, ``nearest_mm`` (least), how many of the ``faces`` are ``nearer``
    than the nearest unseen person is, and the ``chance`` of as many among the nearest; means of
    ``own_mm`` and ``own_ratio`` where people's own are known.
    """
    usual = _values(result[way][UNSEEN], "ratio")
    found = {}
    for kind in _ordered(result[way]):
        rows = result[way][kind]
        ratio = _values(rows, "ratio")
        own_mm, own_ratio = _values(rows, "own_mm"), _values(rows, "own_ratio")
        found[kind] = {
            "faces": float(len(ratio)),
            "least": float(ratio.min()),
            "median": float(np.median(ratio)),
            "nearest_mm": float(_values(rows, "nearest_mm").min()),
            "nearer": float((ratio < usual.min()).sum()),
            "chance": chance(ratio, usual) if kind != UNSEEN else 1.0,
        }
        if len(own_mm):
            found[kind].update(own_mm=float(own_mm.mean()), own_ratio=float(own_ratio.mean()))
    return found


def _ordered(kinds: Iterable[str]) -> list[str]:
    """Return kinds of face: unseen people, then methods, simplest first, each with its control."""
    methods = in_order(list(dict.fromkeys(kind.split(", ")[0] for kind in kinds)))
    place = {name: n for n, name in enumerate(methods)}
    return sorted(kinds, key=lambda kind: (kind != UNSEEN, place[kind.split(", ")[0]], kind))


def _values(rows: Rows, key: str) -> Values:
    return np.array([row[key] for row in rows.values() if key in row])


def chance(generated: Values, unseen: Values) -> float:
    """Return how probable as many generated ones below every unseen one would be by chance.

    If both came from the same distribution, every order would be equally likely: the lowest of N
    and M together is a generated one with probability N / (N + M), and so on.
    """
    run = int((generated < unseen.min()).sum())
    drawn = np.arange(run)
    return float(np.prod((len(generated) - drawn) / (len(generated) + len(unseen) - drawn)))


def _generated(result: Result) -> list[dict[str, float]]:
    return [
        figures
        for way in (FRAME, ALIGNED)
        for kind, figures in verdict(result, way).items()
        if PLANTED not in kind and kind != UNSEEN
    ]


def copies(result: Result) -> int:
    """Return how many generated faces come as near as the middle one of those half a copy."""
    found = 0
    for way in (FRAME, ALIGNED):
        planted = [_values(rows, "ratio") for kind, rows in result[way].items() if PLANTED in kind]
        level = min((float(np.median(ratio)) for ratio in planted), default=0.0)
        for kind, rows in result[way].items():
            if PLANTED not in kind and kind != UNSEEN:
                found += int((_values(rows, "ratio") < level).sum())
    return found


def conclusion(result: Result) -> str:
    """Return the verdict in a sentence."""
    found = _generated(result)
    nearer = sum(figures["nearer"] for figures in found)
    least = min(figures["chance"] for figures in found)
    half = copies(result)
    if half or least * len(found) < UNLIKELY:
        return (
            f"**Generated faces lie nearer to training faces than unseen people's do**: {half} as "
            f"near as half a copy, {nearer:.0f} nearer than any unseen person (least chance "
            f"{least:.2g} of {len(found)} looked at). Look at who they are before shipping."
        )
    if nearer:
        return (
            f"Read to the letter the rule is not kept: {nearer:.0f} times a generated face lies "
            "nearer to a training face than any unseen person's does. That many are to be "
            f"expected of faces that lie as near as unseen people's (least chance {least:.2g} of "
            f"{len(found)} looked at), and none comes as near as half a copy."
        )
    return (
        "No generated face lies nearer to a training face than unseen people's faces do, and "
        "none as near as half a copy."
    )


def section(folder: Path) -> list[str]:
    """Return the report's sections on memory; none where the folder holds no `RESULT`."""
    path = folder / RESULT
    if not path.is_file():
        return []
    result = json.loads(path.read_text(encoding="utf-8"))
    sections = ["## Memory", HOW]
    for way in (ALIGNED, FRAME):
        body = [_line(kind, figures) for kind, figures in verdict(result, way).items()]
        head = ["faces", "number", "nearness: least", "median", "nearer than any unseen person"]
        head += ["chance", "nearest, mm", "own face, mm"]
        sections += [f"Faces {way}:", table([*head, "own face, nearness"], body)]
    return [*sections, conclusion(result)]


def _line(kind: str, figures: dict[str, float]) -> list[str]:
    own = [f"{figures[k]:.2f}" if k in figures else "–" for k in ("own_mm", "own_ratio")]
    return [
        kind,
        f"{figures['faces']:.0f}",
        f"{figures['least']:.3f}",
        f"{figures['median']:.3f}",
        f"{figures['nearer']:.0f}",
        "–" if kind == UNSEEN else f"{figures['chance']:.2g}",
        f"{figures['nearest_mm']:.2f}",
        *own,
    ]
