"""The sections of the report, in their order; each from ``result.json`` data to paragraphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, KeepTogether, PageBreak, Spacer

from facegen_app.casework import report_words as words
from facegen_app.casework.report_style import (
    CODE,
    HEADING,
    LABEL,
    SMALL,
    SUBHEADING,
    SUBTITLE,
    TEXT_WIDTH,
    TITLE,
    Shown,
    boxed,
    bullets,
    facts,
    grid,
    picture_row,
    text,
)
from facegen_app.rendering.camera import VIEWS, direction_letters
from facegen_inference.intended_use import INTENDED_USE, LIMITS

Section = Callable[[dict[str, Any], Path], list[Flowable]]
_VIEWS = {
    "frontal": "Frontal",
    "three-quarter-left": "Three-quarter left",
    "three-quarter-right": "Three-quarter right",
    "lateral-left": "Lateral left",
    "lateral-right": "Lateral right",
}


def summary(data: dict[str, Any], pictures: Path) -> list[Flowable]:
    """First page: what this is, whose case, the face and how certain it is."""
    case = data["case"]
    rows = [
        ("Case number", case.get("case_number", "not given")),
        ("Item", case.get("item", "not given")),
        ("Examiner", case.get("examiner", "not given")),
        ("Laboratory", case.get("laboratory", "not given")),
        ("Purpose", data["purpose"]),
        ("Known of the person", words.profile(data["request"]["profile"])),
        ("Written", f"{data['written']} by FaceGen {data['program']['version']}"),
    ]
    if "remarks" in case:
        rows.insert(4, ("Remarks", case["remarks"]))
    kinds = (("overlay", "Predicted face over skull"), ("face", "Predicted face"))
    return [
        text("Craniofacial reconstruction", TITLE),
        text("A face predicted from bone, in the coordinates of the scan", SUBTITLE),
        boxed([text("What this is, and what it is not", SUBHEADING), text(INTENDED_USE)]),
        Spacer(1, 4 * mm),
        facts(rows),
        Spacer(1, 4 * mm),
        text("Result", HEADING),
        text(words.result(data)),
        picture_row([_shown(pictures, "frontal", kind, name) for kind, name in kinds]),
        text(
            "Frontal views along the Frankfurt frame, parallel projection, one scale. "
            "R and L are the examinee's right and left.", LABEL,
        ),
        Spacer(1, 2 * mm),
        *bullets(data["notes"]),
        PageBreak(),
    ]  # fmt: skip


def _shown(pictures: Path, view: str, kind: str, caption: str) -> Shown:
    """Return a standard view with the patient letters of its left and right edges."""
    seen = VIEWS[view]
    right = np.cross(seen.up, seen.toward_camera)
    return Shown(
        pictures / f"{view}-{kind}.png",
        caption,
        direction_letters(-right),
        direction_letters(right),
    )


def scan(data: dict[str, Any], pictures: Path) -> list[Flowable]:
    """State the scan's geometry and what of the skull is there."""
    geometry, skull = data["geometry"], data["skull"]
    parts = [(name, state) for name, state in skull["parts"].items()]
    half = (len(parts) + 1) // 2
    rows = [
        [*left, *right]
        for left, right in zip(parts[:half], [*parts[half:], ("", "")], strict=False)
    ]
    story = [text("1  The scan", HEADING), facts(words.geometry(data))]
    if geometry["warnings"]:
        story += [text("Done to the scan, or doubtful in it", SUBHEADING)]
        story += bullets(geometry["warnings"])
    story += [text("2  What of the skull is present", HEADING)]
    if rows:
        story += [grid(["Part", "State", "Part", "State"], rows, numbers_from=4)]
    story += [Spacer(1, 2 * mm), *bullets(skull["notes"])]
    return story


def landmarks(data: dict[str, Any], pictures: Path) -> list[Flowable]:
    """Landmarks with provenance, and the frame made from them."""
    points = data["landmarks"]["landmarks"]
    rows = [words.landmark(point) for point in points]
    half = (len(rows) + 1) // 2
    blank: tuple[str, ...] = ("",) * 4
    pairs = [
        [*left, "", *right] for left, right in zip(rows[:half], [*rows[half:], blank], strict=False)
    ]
    head = ["Point", "Source", "Conf.", "x, y, z (mm)"]
    widths = [14 * mm, 18 * mm, 12 * mm, 38 * mm]
    gap = TEXT_WIDTH - 2 * sum(widths)
    story: list[Flowable] = [
        text("3  Landmarks and Frankfurt frame", HEADING),
        text(words.frame(data["frame"])),
        text(words.provenance(points)),
    ]
    if rows:
        story.append(grid([*head, "", *head], pairs, [*widths, gap, *widths], numbers_from=9))
    return story


def method(data: dict[str, Any], pictures: Path) -> list[Flowable]:
    """Explain the method in plain words, and show the model card with its held-out errors."""
    story: list[Flowable] = [
        text("4  Method", HEADING),
        text(words.method(data["method"])),
    ]
    card = data["model"]
    if not card:
        story.append(text("This method has no trained model, hence no model card."))
        return story
    story += [
        text("The model card", SUBHEADING),
        facts(words.card(card)),
    ]
    if card.get("held_out") or card.get("held_out_note"):
        story.append(text("Error on people who were left out of training", SUBHEADING))
    if card.get("held_out"):
        head = ["Method", "People", "Mean mm", "Median mm", "P95 mm", "< 2 mm", "< 2.5 mm"]
        widths = [TEXT_WIDTH - 6 * 20 * mm, *[20 * mm] * 6]
        story.append(grid(head, [words.error_row(row) for row in card["held_out"]], widths))
    story += [
        Spacer(1, 1.5 * mm),
        text(card.get("held_out_note", ""), SMALL),
        Spacer(1, 1.5 * mm),
        *bullets(card.get("limits", [])),
    ]
    return story


def views(data: dict[str, Any], pictures: Path) -> list[Flowable]:
    """Five standard views of skull, overlay and face."""
    story: list[Flowable] = [
        PageBreak(),
        text("5  Pictures", HEADING),
        text(
            "Parallel projections along the Frankfurt frame, all at one scale; each picture has a "
            "scale bar in millimetres and the letters of the examinee's left and right."
        ),
    ]
    for view, name in _VIEWS.items():
        row = [
            _shown(pictures, view, kind, f"{name}, {said}")
            for kind, said in (("skull", "skull"), ("overlay", "overlay"), ("face", "face"))
        ]
        story.append(picture_row(row))
    return story


def variants(data: dict[str, Any], pictures: Path) -> list[Flowable]:
    """Alternatives, and what the spread means."""
    story: list[Flowable] = []
    rows = [
        (str(number), row["name"], f"variants/variant-{number:02d}.ply", words.mm(row["rms_mm"]))
        for number, row in enumerate(data["variants"], start=1)
    ]
    if rows:
        shown = [
            Shown(
                pictures / f"variant-{number:02d}-frontal.png", f"{number}: {row['name']}", "R", "L"
            )
            for number, row in enumerate(data["variants"], start=1)
        ]
        there = [row for row in shown if row.path.is_file()][:3]
        head = ["No.", "Alternative", "File", "Differs from the face (RMS)"]
        widths = [12 * mm, 50 * mm, 58 * mm, TEXT_WIDTH - 120 * mm]
        block: list[Flowable] = [
            text("6  Plausible alternatives", HEADING),
            text(
                "The same skull, other faces that the method holds to be plausible. They are as "
                "much a part of the result as the face itself and should be shown with it."
            ),
            grid(head, rows, widths, numbers_from=3),
        ]
        if there:
            block += [Spacer(1, 2 * mm), picture_row(there, TEXT_WIDTH / 3)]
        story.append(KeepTogether(block))
    block = [text("7  How certain the face is" if rows else "6  How certain the face is", HEADING)]
    block += [text(sentence) for sentence in words.spread(data["face"]["values"])]
    values = words.value_rows(data["face"]["values"])
    if values:
        head = ["Value at each vertex", "5 % of the face below", "Median", "95 % of the face below"]
        block.append(grid(head, values, [TEXT_WIDTH - 3 * 35 * mm, *[35 * mm] * 3]))
    story.append(KeepTogether(block))
    return story


def limits(data: dict[str, Any], pictures: Path) -> list[Flowable]:
    """Limits of use."""
    return [
        KeepTogether([text("Limits and intended use", HEADING), text(INTENDED_USE)]),
        *bullets(LIMITS),
    ]


def records(data: dict[str, Any], pictures: Path) -> list[Flowable]:
    """Hashes, versions and times: what it takes to repeat and to check the result."""
    outputs = [
        (row["name"], words.size(row["bytes"]), row["sha256"])
        for row in data["outputs"]
        if row["name"].endswith(".ply")
    ]
    inputs = data["inputs"]
    whole = sum(data["timings"].values())
    rows = [
        ("Scan", f"{len(inputs['files'])} files, SHA-256 of all their hashes in order of value"),
        ("", inputs["sha256"]),
        ("Device", f"{data['device']}; seed {data['seed']}"),
        ("Program", ", ".join(f"{name} {v}" for name, v in data["versions"].items())),
        ("Machine", ", ".join(f"{name}: {v}" for name, v in data["machine"].items())),
        (
            "Time",
            ", ".join(f"{step} {seconds:.1f} s" for step, seconds in data["timings"].items())
            + f"; in all {whole:.1f} s before this report",
        ),
    ]
    if inputs["landmarks"]:
        rows.insert(2, ("Landmarks file", inputs["landmarks"]["sha256"]))
    widths = [36 * mm, 18 * mm, TEXT_WIDTH - 54 * mm]
    return [
        text("Records", HEADING),
        text(
            "The hash of every input and output file stands in result.json beside this report; "
            "facegen verify compares them. On the same machine and runtime the same inputs, model "
            "and seed give the same meshes, byte for byte."
        ),
        facts(rows),
        text("Meshes", SUBHEADING),
        grid(["File", "Size", "SHA-256"], outputs, widths, numbers_from=3),
        KeepTogether(
            [
                Spacer(1, 2 * mm),
                text("Signature of the examiner:", LABEL),
                Spacer(1, 12 * mm),
                text("." * 90, CODE),
            ]
        ),
    ]


ALL: tuple[Section, ...] = (
    summary, scan, landmarks, method, views, variants, limits, records,
)  # fmt: skip
