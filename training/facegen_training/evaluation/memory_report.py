"""What the memory test found, in words and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from facegen_training.evaluation.memory import ALIGNED, FRAME, NEIGHBOURS, PLANTED, UNSEEN
from facegen_training.evaluation.tables import table

Result = dict[str, Any]
Rows = dict[str, dict[str, float]]
RESULT = "memory.json"
LOW_PERCENT = 5

HOW = f"""\
For each generated face the mean absolute distance to every training face of its model is taken, \
over the cells of the face both have, once in the Frankfurt frame and once with the faces laid \
over each other. Nearness is the distance to the nearest training face of somebody else over the \
mean distance to the next {NEIGHBOURS}: 1 is no nearer than to others, 0 is a copy; a smooth face \
lies nearer to everybody, so millimetres alone would not tell. True faces of people whom the model \
has not seen show what is usual. *{PLANTED.capitalize()}* shows that the test can fail: generated \
faces moved half-way to their nearest training face."""


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
    than the nearest unseen person is, and the percentage below the lowest `LOW_PERCENT` percent of
    unseen people (``low``); means of ``own_mm`` and ``own_ratio`` where people's own are known.
    """
    usual = _values(result[way][UNSEEN], "ratio")
    found = {}
    for kind, rows in result[way].items():
        ratio = _values(rows, "ratio")
        own_mm, own_ratio = _values(rows, "own_mm"), _values(rows, "own_ratio")
        found[kind] = {
            "faces": float(len(ratio)),
            "least": float(ratio.min()),
            "median": float(np.median(ratio)),
            "nearest_mm": float(_values(rows, "nearest_mm").min()),
            "nearer": float((ratio < usual.min()).sum()),
            "low": float(100 * (ratio < np.percentile(usual, LOW_PERCENT)).mean()),
        }
        if len(own_mm):
            found[kind].update(own_mm=float(own_mm.mean()), own_ratio=float(own_ratio.mean()))
    return found


def _values(rows: Rows, key: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([row[key] for row in rows.values() if key in row])


def passed(result: Result) -> bool:
    """Tell whether no generated face lies nearer to a training face than unseen people's do."""
    return all(
        figures["nearer"] == 0
        for way in (FRAME, ALIGNED)
        for kind, figures in verdict(result, way).items()
        if PLANTED not in kind
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
        head += [f"below the lowest {LOW_PERCENT} % of them, %", "nearest, mm", "own face, mm"]
        sections += [f"Faces {way}:", table([*head, "own face, nearness"], body)]
    kept = "No generated face lies" if passed(result) else "**Some generated faces lie**"
    sections.append(f"{kept} nearer to a training face than unseen people's faces do.")
    return sections


def _line(kind: str, figures: dict[str, float]) -> list[str]:
    own = [f"{figures[k]:.2f}" if k in figures else "–" for k in ("own_mm", "own_ratio")]
    return [
        kind,
        f"{figures['faces']:.0f}",
        f"{figures['least']:.3f}",
        f"{figures['median']:.3f}",
        f"{figures['nearer']:.0f}",
        f"{figures['low']:.0f}",
        f"{figures['nearest_mm']:.2f}",
        *own,
    ]
