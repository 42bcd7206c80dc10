"""The validation report: one Markdown page with its tables, plots and figures per person."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from facegen_inference.atlas import load_atlas
from facegen_inference.face_region import region_definition
from facegen_inference.mesh import Mesh
from facegen_training.evaluation import calibration_tables, condition_tables, tables
from facegen_training.evaluation.conditions import CONDITIONS
from facegen_training.evaluation.goals import goals, goals_table
from facegen_training.evaluation.plots import draw_all
from facegen_training.evaluation.protocol import HEADLINE, PROTOCOL
from facegen_training.evaluation.tables import Row

METHOD = """\
- **Input**: `bone_only(scan, 250)`: everything but the head's bone becomes -1000 HU before the \
program sees the scan.
- **Truth**: the outer skin of the same scan at -500 HU; where a body mask cut partial volume \
away, at a lower level calibrated on a coarsened sharp head. No alignment of face to face.
- **Region**: chin to mid-forehead, in front of the ears, in the person's own Frankfurt frame \
(found in the bone-only scan); where the scan ends, and where a stored mask says that the surface \
is not skin (tubes, bite blocks, streaks), nothing is scored.
- **Distances** in mm, samples 1 per mm², closest distance both ways, the two directions averaged \
per person, people weigh the same; signed: positive where the prediction lies outside the true \
skin. Intervals: 95 % bootstrap over people, in comparisons over pairs."""

MORE = ("identification", "memory", "learning_curve")
"""Tests that are run apart.  The module of that name, or with ``_report`` behind it, has
``section(work)``, which returns blocks of Markdown, none where the test was not run; pictures that
they show as ``validation/NAME.png`` are taken from `work`."""
_PICTURE = re.compile(r"\(validation/([\w.-]+\.png)\)")


@dataclass(frozen=True)
class Study:
    """What is reported on.

    Attributes
    ----------
    rows
        Every score; see `facegen_training.evaluation.score`.
    floors
        See `facegen_training.evaluation.floors.measure_floors`.
    models
        Name of a learned method → SHA-256 of its model file.
    notes
        Markdown put at the end: what must be known to read the numbers.
    part
        Part of the split that was scored; empty where it was in folds.
    work
        Folder of scores, where further tests leave their results.
    folds
        Person → fold.
    trained
        Fold → part → how many people were in it.
    """

    rows: list[Row]
    floors: dict[str, dict[str, Any]]
    models: dict[str, str] = field(default_factory=dict)
    notes: str = ""
    part: str = "test"
    work: Path | None = None
    folds: dict[str, int] = field(default_factory=dict)
    trained: dict[int, dict[str, int]] = field(default_factory=dict)


def write_report(study: Study, mean_face: Mesh, out: Path) -> Path:
    """Write ``validation.md``, its plots and the figures per person; return the page's path."""
    folder = out / "validation"
    people = tables.by_person(study.rows)
    drawn = draw_all(people, mean_face, folder)
    figures = [_rounded({k: v for k, v in r.items() if k != "map"}) for r in study.rows]
    lines = ",\n".join(json.dumps(figure) for figure in figures)
    (folder / "scores.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    headline = [r for r in people if r["condition"] == HEADLINE]
    coarse = tables.of_kind(headline, coarse=True)
    sharp = tables.of_kind(headline, coarse=False)
    sections = [
        *_opening(study, headline),
        *_group("Coarse scans (a voxel edge above 2.5 mm)", coarse, drawn),
        *_group("Sharp scans", sharp, set() if coarse else drawn),
        *_conditions(people),
        *_more(study, folder),
        *_goals(study, people),
        *_floors(study, people),
        "## Not scored",
        tables.failures(study.rows),
        study.notes.strip(),
    ]
    page = out / "validation.md"
    text = "\n\n".join(section for section in sections if section)
    page.write_text(text + "\n", encoding="utf-8")
    return page


def _rounded(values: Any) -> Any:
    """Return data with every number to a thousandth."""
    if isinstance(values, dict):
        return {key: _rounded(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    return round(values, 3) if isinstance(values, float) else values


def _opening(study: Study, headline: list[Row]) -> list[str]:
    models = ", ".join(f"{name} model SHA-256 `{sha[:16]}`" for name, sha in study.models.items())
    region = f"Protocol {PROTOCOL}, face region version {region_definition().version}"
    command = (
        "Written by `facegen-train evaluate`; the figures per person are in "
        "[validation/scores.json](validation/scores.json)."
    )
    what = "# Validation"
    if study.folds:
        return [
            what,
            "How far faces made from bone alone lie from the true skin of people whom nothing that "
            f"made their face was fitted to: {len(set(study.folds.values()))} folds over people, "
            f"everyone scored once. {command}",
            f"{region}. " + " ".join(_people(study, headline)),
            METHOD,
        ]
    return [
        what,
        "How far faces made from bone alone lie from the true skin, on people of the part "
        f"{study.part}, left out when the models were trained. {command}",
        f"{region}, mean face of {load_atlas().people} people"
        + (f", {models}." if models else "."),
        METHOD,
    ]


def _people(study: Study, headline: list[Row]) -> list[str]:
    """Return sentences about how many people were fitted to and scored."""
    scored = {r["person"] for r in headline if "failed" not in r}
    sizes = Counter(study.folds[person] for person in scored if person in study.folds)
    fits = [study.trained[fold].get("train", 0) for fold in sorted(study.trained)]
    tuned = sorted({parts.get("validation", 0) for parts in study.trained.values()})
    said = [
        f"{len(scored)} people were scored "
        f"({', '.join(str(sizes[fold]) for fold in sorted(sizes))} in the folds)."
    ]
    if fits:
        said.append(
            f"Each fold's networks learned from {_range(fits)} others, and were calibrated on what "
            f"they say of these when left out and on {' or '.join(map(str, tuned))} more; mean "
            "skin and template are of both. The mean head that tells bone from what lies beside it "
            "and where a head lies, and by which bands grow where bone is missing, is the shipped "
            "one."
        )
    return said


def _range(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _group(title: str, rows: list[Row], drawn: set[str]) -> list[str]:
    """Return the sections about one kind of scan; `drawn` says which plots show it."""
    if not rows:
        return []
    people = {r["person"] for r in rows}
    voxels = " × ".join(
        f"{sum(r['voxel_mm'][axis] for r in rows) / len(rows):.1f}" for axis in range(3)
    )
    sources = ", ".join(sorted({r["source"] for r in rows}))
    counted = f"{len(people)} people" if len(people) > 1 else "One person"
    sections = [
        f"## {title}",
        f"{counted} ({sources}); voxels {voxels} mm on average (slice, row, column).",
        tables.main_table(rows),
        tables.paired_lines(rows),
        "![Mean distance of each person](validation/people.png)" if "people" in drawn else "",
        "### Regions",
        tables.region_table(rows),
        "![Mean distance by region](validation/regions.png)" if "regions" in drawn else "",
        "### Landmarks of the profile",
        tables.landmark_table(rows),
        "Corners of the mouth are not measured: geometry alone does not show them.",
        "### What the predicted spread is worth",
        calibration_tables.calibration_table(rows),
        "Shares of the true skin of unseen people that lie within the predicted bands, along the "
        "true normals, averaged over people; where a normal does not meet the prediction nothing "
        "is counted. The rank correlation is over the places of one face.",
        calibration_tables.region_coverage_table(rows),
        "![Coverage of the bands by region](validation/coverage.png)"
        if "coverage" in drawn
        else "",
    ]
    if "map" in drawn:
        sections += [
            "### Where the error lies",
            "Averaged over people and drawn on the mean face; nobody's own shape.",
            "![Error on the mean face](validation/map.png)",
        ]
    return sections


def _conditions(rows: list[Row]) -> list[str]:
    coarse = [r for r in rows if "failed" in r or tables.is_coarse(r)]
    shown = coarse if tables.of_kind(rows, coarse=True) else rows
    sections = []
    named = condition_tables.other_conditions(shown)
    if named:
        explained = "\n".join(f"- `{name}`: {CONDITIONS[name]}" for name in named)
        sections += [
            "## Other ways of showing the bone",
            condition_tables.condition_table(shown),
            f"{explained}\n- `headline`: the mean of the same people by {HEADLINE}.",
            *_growth(shown),
        ]
    sharp = tables.of_kind(rows, coarse=False) if shown is coarse else []
    if condition_tables.other_conditions(sharp):
        sections += ["### Sharp scans", condition_tables.condition_table(sharp), *_growth(sharp)]
    return sections


def _growth(rows: list[Row]) -> list[str]:
    """Return how error and spread change under the conditions, for each method scored so."""
    sections = []
    for method in tables.methods_in([r for r in rows if r["condition"] != HEADLINE]):
        grown = condition_tables.growth_table(rows, method)
        spread = condition_tables.spread_table(rows, method)
        if grown:
            sections += [f"By how much the mean error of {method} grows, same people:", grown]
        if spread:
            sections += [f"The spread that {method} predicts, as a multiple, median:", spread]
    return sections


def _more(study: Study, folder: Path) -> list[str]:
    """Return the sections of tests that were run apart, with their pictures copied."""
    blocks: list[str] = []
    for test in MORE:
        section = _section_of(test)
        if section is not None and study.work is not None:
            blocks += section(study.work)
            for name in _PICTURE.findall("\n".join(blocks)):
                if (study.work / name).is_file():
                    shutil.copyfile(study.work / name, folder / name)
    return blocks


def _section_of(test: str) -> Callable[[Path], list[str]] | None:
    """Return the function that reports on a test; None where there is none."""
    for name in (f"{__package__}.{test}", f"{__package__}.{test}_report"):
        if find_spec(name) is not None:
            found = getattr(import_module(name), "section", None)
            if found is not None:
                section: Callable[[Path], list[str]] = found
                return section
    return None


def _goals(study: Study, people: list[Row]) -> list[str]:
    lines = goals(people) if study.folds else []
    if not lines:
        return []
    kind = "coarse" if tables.of_kind(people, coarse=True) else "sharp"
    return [
        "## Against the goals",
        f"Set before anything was measured; of `neural`, on {kind} scans.",
        goals_table(lines),
    ]


def _floors(study: Study, people: list[Row]) -> list[str]:
    if not study.floors:
        return []
    known = tables.masked_floor(study.floors)
    return [
        "## Floors",
        "A sharp head coarsened and measured against itself; no score can mean more than this.",
        tables.floor_table(study.floors),
        "Partial volume at the skin was cut away by a body mask (under 10 % of edge voxels below "
        f"-300 HU) in {tables.masked_people(people)}"
        + ("." if known is None else f": their skin is known to about {known:.1f} mm only."),
    ]
