"""What an examiner does to a case, each as an `Action` made from the program's own types.

Nothing here touches a file: a controller or command makes an action and gives it to
`CaseFile.act`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from facegen_app.casework.case_content import Content
from facegen_app.casework.case_data import CaseData
from facegen_app.casework.case_file import Action
from facegen_app.casework.case_state import Cell, Edit, Row, State, canonical, digest_of
from facegen_app.casework.case_steps import SETTINGS, STEPS

if TYPE_CHECKING:
    from facegen_app.casework.results import Inputs
    from facegen_inference.face import Profile
    from facegen_inference.frame import Frame
    from facegen_inference.landmarks import Landmark, Landmarks
    from facegen_inference.provenance import FileRecord


CONSEQUENCES = frozenset(
    {
        "skull made", "landmarks and frame found", "frame found unsure", "Profile finished",
        "Review finished", "report saved", "case kept",
    }
)  # fmt: skip
"""What follows by itself from what the examiner did, and is undone and redone with that."""
PLACEMENTS = frozenset({"landmark placed", "landmarks placed", "landmark removed"})


@dataclass(frozen=True)
class Source:
    """A scan as it enters a case.

    Attributes
    ----------
    kind
        ``dicom``, ``volume`` or ``mesh``.
    inputs
        Its files with their hashes.
    beside
        The folder of the files relative to the case file, or None where it is on another disk.
    geometry
        The verdict, as ``result.json`` has it.
    units
        Of a mesh file that does not say, else None.
    series
        The identifier of a DICOM series, else None.
    """

    kind: str
    inputs: Inputs
    beside: str | None
    geometry: Mapping[str, object]
    units: str | None = None
    series: str | None = None

    @property
    def series_sha256(self) -> str | None:
        """Digest by which the series is found again among others; its identifier is not kept."""
        return None if self.series is None else digest_of(self.series)

    @property
    def key(self) -> str:
        """What the source is called in the case: a digest of its files and series."""
        return digest_of([self.inputs.sha256, self.series_sha256])


@dataclass(frozen=True)
class Run:
    """A finished reconstruction as it enters a case.

    Attributes
    ----------
    request, result
        As in ``result.json``; `result` is all of it.
    rests_on
        `case_steps.basis_before` the step ``face`` when the work began.
    basis
        `case_steps.basis` of the step ``face`` at that time, with `request` as what is asked for.
    meshes
        File name → bytes: ``face.ply``, ``skull.ply``, ``variants/variant-01.ply``.
    pictures
        File name → bytes of PNG files.
    profile_basis
        `case_steps.basis` of the step ``profile`` at that time, where the face was asked for
        without that step; else None.
    """

    request: Mapping[str, object]
    result: Mapping[str, object]
    rests_on: str
    basis: str
    meshes: Mapping[str, bytes]
    pictures: Mapping[str, bytes]
    profile_basis: str | None = None


def choose_source(source: Source, anew: Row | None = None) -> Action:
    """Work on a scan; it is added where the case has not seen it.

    Where `anew`, the setting ``source`` of the case, names the same scan, its face is to be made
    again.
    """
    inputs = source.inputs
    row: Row = {
        "kind": source.kind,
        "series_sha256": source.series_sha256,
        "path": str(inputs.root),
        "beside": source.beside,
        "sha256": inputs.sha256,
        "bytes": sum(file.bytes for file in inputs.files),
        "geometry": canonical(dict(source.geometry)),
    }
    files = [
        Edit(
            "source_files",
            f"{source.key}/{file.name}",
            {"source": source.key, "name": file.name, "bytes": file.bytes, "sha256": file.sha256},
        )
        for file in inputs.files
    ]
    again = anew is not None and anew["value"] == source.key
    remade = ("face", "review", "report") if again else ()
    edits = (
        *(Edit("steps", name, None) for name in remade),
        Edit("sources", source.key, row),
        *files,
        _setting("source", source.key),
        _setting("units", source.units),
    )
    logged: dict[str, object] = {"sha256": inputs.sha256, "files": len(files)}
    return Action("scan chosen", edits, logged, done="scan")


def keep_source(key: str, row: Row, beside: str | None) -> Action:
    """Remember where a scan lies relative to the case, which now is a file."""
    return Action("case kept", (Edit("sources", key, {**row, "beside": beside}),))


def make_skull(level_hu: float) -> Action:
    """Say from which grey value on the scan is bone; NaN for a surface."""
    level = None if math.isnan(level_hu) else round(level_hu, 3)
    return set_setting("bone_level_hu", level, "skull made", done="skull")


def set_setting(name: str, value: Cell, what: str, *, done: str | None = None) -> Action:
    """Set bone threshold, crop, pieces kept or what is asked of the face; None takes it away.

    Raises
    ------
    ValueError
        For a name that no step rests on.
    """
    if name not in SETTINGS:
        raise ValueError(f"no step of a case rests on a setting {name!r}")
    return Action(what, (_setting(name, value),), {"value": value}, done)


def place_landmark(point: Landmark) -> Action:
    """Put one craniometric point where the examiner wants it."""
    return Action("landmark placed", (_landmark(point),), {"landmark": point.code})


def place_landmarks(points: Iterable[Landmark], gone: Iterable[str] = ()) -> Action:
    """Put several points where the examiner wants them, and take others away."""
    there = tuple(points)
    removed = tuple(Edit("landmarks", code, None) for code in gone)
    named: dict[str, object] = {"landmarks": [point.code for point in there]}
    return Action("landmarks placed", (*removed, *map(_landmark, there)), named)


def lose_frame(found: Iterable[str]) -> Action:
    """Say that the points placed by hand make no sure frame; `found` are those not placed."""
    gone = tuple(Edit("landmarks", code, None) for code in found)
    edits = (*gone, _setting("frame", None), Edit("steps", "landmarks", None))
    return Action("frame found unsure", edits)


def begin_person(source: Source, state: State) -> Action:
    """Work on the scan of another person: what was known of the one before is taken away."""
    gone = tuple(
        Edit(table, key, None)
        for table in ("landmarks", "profile", "steps")
        for key in state[table]
    )
    forgotten = tuple(_setting(name, None) for name in state["settings"])
    action = choose_source(source)
    return replace(action, edits=(*gone, *forgotten, *action.edits))


def save_report(result: FileRecord) -> Action:
    """Say that results with a report were written; `result` is the record of ``result.json``."""
    return Action("report saved", (), {"result": result.as_data()}, done="report")


def remove_landmark(code: str) -> Action:
    """Take one craniometric point away."""
    return Action("landmark removed", (Edit("landmarks", code, None),), {"landmark": code})


def set_landmarks(
    points: Landmarks, frame: Frame, present: Iterable[str], inputs: dict[str, object]
) -> Action:
    """Take over a whole set of points and the frame that rests on them.

    Parameters
    ----------
    present
        Codes of the points that the case has now.
    inputs
        For the log, e.g. the landmarks file.
    """
    gone = [Edit("landmarks", code, None) for code in present if code not in points]
    there = [_landmark(point) for point in points.values()]
    data = {
        "patient_from_frame": frame.patient_from_frame.tolist(),
        "method": frame.method,
        "residual_mm": frame.residual_mm,
        "confidence": frame.confidence,
        "by_hand": {
            point.code: list(point.position)
            for point in points.values()
            if point.provenance == "manual"
        },
    }
    edits = (*gone, *there, _setting("frame", canonical(data)))
    return Action("landmarks and frame found", edits, inputs, done="landmarks")


def set_profile(profile: Profile, others: Mapping[str, str] | None = None) -> Action:
    """Say what is known of the person; `others` are population and notes, in words."""
    fields: dict[str, Cell] = {**asdict(profile), **(others or {})}
    edits = tuple(
        Edit("profile", key, None if value in (None, "", "unknown") else {"value": value})
        for key, value in fields.items()
    )
    return Action("profile set", edits, done="profile")


def set_facts(facts: CaseData) -> Action:
    """Say whose case it is: number, item, examiner, laboratory, remarks."""
    edits = tuple(
        Edit("facts", key, {"value": value.strip()} if value.strip() else None)
        for key, value in asdict(facts).items()
    )
    return Action("case data entered", edits)


def add_run(key: str, run: Run) -> Action:
    """Keep a reconstruction with its meshes and pictures under a key that is not taken.

    The step counts as done only where nothing that it rests on has changed since it began.
    """
    model = run.result.get("model")
    row: Row = {
        "method": str(run.result["method"]),
        "device": str(run.result["device"]),
        "seed": int(str(run.result["seed"])),
        "model_sha256": str(model["sha256"]) if isinstance(model, Mapping) else None,
        "rests_on": run.rests_on,
        "request": canonical(dict(run.request)),
        "result": canonical(dict(run.result)),
    }
    edits, content = [_setting("request", row["request"]), Edit("runs", key, row)], []
    if run.profile_basis is not None:
        edits.append(Edit("steps", "profile", {"basis": run.profile_basis}))
    for name, data in run.meshes.items():
        mesh = Content("mesh", data)
        content.append(mesh)
        edits.append(
            Edit("meshes", f"{key}/{name}", {"run": key, "name": name, "sha256": mesh.sha256})
        )
    for name, data in run.pictures.items():
        picture = Content("picture", data)
        content.append(picture)
        cells: Row = {"run": key, "name": name, "caption": "", "sha256": picture.sha256}
        edits.append(Edit("pictures", f"{key}/{name}", cells))
    logged: dict[str, object] = {
        "run": key,
        "method": row["method"],
        "model_sha256": row["model_sha256"],
    }
    return Action("face made", tuple(edits), logged, "face", run.basis, tuple(content))


def write_note(key: str, step: str, text: str) -> Action:
    """Write or change a note at a step; an empty one goes away.

    Raises
    ------
    ValueError
        For a step that no case has.
    """
    if step not in STEPS:
        raise ValueError(f"a case has no step {step!r}")
    row: Row | None = {"step": step, "text": text} if text.strip() else None
    return Action("note written", (Edit("notes", key, row),))


def finish_step(name: str) -> Action:
    """Say that a step is done with what it rests on now."""
    return Action(f"{STEPS[name].title} finished", (), done=name)


def _setting(name: str, value: Cell) -> Edit:
    return Edit("settings", name, None if value is None else {"value": value})


def _landmark(point: Landmark) -> Edit:
    x, y, z = point.position
    return Edit(
        "landmarks",
        point.code,
        {
            "x_mm": x,
            "y_mm": y,
            "z_mm": z,
            "provenance": point.provenance,
            "confidence": point.confidence,
        },
    )
