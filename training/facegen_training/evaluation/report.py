"""The validation report: one Markdown page with its tables, plots and figures per person."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facegen_inference.atlas import load_atlas
from facegen_inference.face_region import region_definition
from facegen_inference.mesh import Mesh
from facegen_training.evaluation import tables
from facegen_training.evaluation.plots import draw_all
from facegen_training.evaluation.protocol import HEADLINE, PROTOCOL
from facegen_training.evaluation.tables import Row

METHOD = """\
- **Input**: `bone_only(scan, 250)`: everything but the head's bone becomes -1000 HU before the \
program sees the scan.
- **Truth**: the outer skin of the same scan at -500 HU; where a body mask cut partial volume \
away, at a lower level calibrated on a coarsened sharp head. No alignment of face to face.
- **Region**: chin to mid-forehead, in front of the ears, in the person's own Frankfurt frame \
(found in the bone-only scan); where the scan ends nothing is scored.
- **Distances** in mm, samples 1 per mm², closest distance both ways, the two directions averaged \
per person, people weigh the same; signed: positive where the prediction lies outside the true \
skin. Intervals: 95 % bootstrap over people."""


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
        Part of the split that was scored.
    """

    rows: list[Row]
    floors: dict[str, dict[str, Any]]
    models: dict[str, str] = field(default_factory=dict)
    notes: str = ""
    part: str = "test"


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
        *_opening(study),
        *_group("Coarse scans (a voxel edge above 2.5 mm)", coarse, drawn),
        *_group("Sharp scans", sharp, set() if coarse else drawn),
        *_conditions(people),
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


def _opening(study: Study) -> list[str]:
    models = ", ".join(f"{name} model SHA-256 `{sha[:16]}`" for name, sha in study.models.items())
    return [
        "# Validation",
        "How far faces made from bone alone lie from the true skin, on people of the part "
        f"{study.part}, left out when the models were trained. Written by `facegen-train "
        "evaluate`; the figures per person are in "
        "[validation/scores.json](validation/scores.json).",
        f"Protocol {PROTOCOL}, face region version {region_definition().version}, mean face of "
        f"{load_atlas().people} people" + (f", {models}." if models else "."),
        METHOD,
    ]


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
        "### Landmarks of the profile and predicted bands",
        tables.landmark_table(rows),
        "Corners of the mouth are not measured: geometry alone does not show them.",
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
    if {r["condition"] for r in shown} <= {HEADLINE}:
        return []
    return [
        "## Other ways of reducing the scan to bone",
        tables.condition_table(shown),
        "`binary`: every bone voxel the same value, so that no grey value at the bone's edge can "
        "betray soft tissue. `cropped`: a random part of the field of view cut off. `headline`: "
        f"the mean of the same people by {HEADLINE}.",
    ]


def _floors(study: Study, people: list[Row]) -> list[str]:
    if not study.floors:
        return []
    return [
        "## Floors",
        "A sharp head coarsened and measured against itself; no score can mean more than this.",
        tables.floor_table(study.floors),
        "Partial volume at the skin was cut away by a body mask (under 10 % of edge voxels below "
        f"-300 HU) in {tables.masked_people(people)}: their skin is known to about 0.8 mm "
        "only.",
    ]
