"""What an examiner does to a case, each as an `Action` made from the program's own types.

Nothing here touches a file: a controller or command makes an action and gives it to
`CaseFile.act`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from facegen_app.casework.case_content import Content
from facegen_app.casework.case_data import CaseData
from facegen_app.casework.case_file import Action
from facegen_app.casework.case_state import Cell, Edit, Row, canonical, digest_of
from facegen_app.casework.case_steps import BY_NAME, SETTINGS

if TYPE_CHECKING:
    from facegen_app.casework.results import Inputs
    from facegen_inference.face import Profile
    from facegen_inference.frame import Frame
    from facegen_inference.landmarks import Landmark, Landmarks


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
        `case_steps.basis` of the step ``face`` at that time.
    meshes
        File name → bytes: ``face.ply``, ``skull.ply``, ``variants/variant-01.ply``.
    pictures
        File name → bytes of PNG files.
    """

    request: Mapping[str, object]
    result: Mapping[str, object]
    rests_on: str
    basis: str
    meshes: Mapping[str, bytes]
    pictures: Mapping[str, bytes]


def choose_source(source: Source) -> Action:
    """Work on a scan; it is added where the case has not seen it."""
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
    edits = (
        Edit("sources", source.key, row),
        *files,
        _setting("source", source.key),
        _setting("units", source.units),
    )
    logged: dict[str, object] = {"sha256": inputs.sha256, "files": len(files)}
    return Action("scan chosen", edits, logged, done="scan")


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
    }
    edits = (*gone, *there, _setting("frame", canonical(data)))
    return Action("landmarks and frame found", edits, inputs, done="landmarks")


def set_profile(profile: Profile, others: Mapping[str, str] | None = None) -> Action:
    """Say what is known of the person; `others` are population and notes, in words."""
    fields: dict[str, Cell] = {**asdict(profile), **(others or {})}
    edits = tuple(
        Edit("profile", key, None if value in (None, "") else {"value": value})
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
    edits, content = [Edit("runs", key, row)], []
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
    if step not in BY_NAME:
        raise ValueError(f"a case has no step {step!r}")
    row: Row | None = {"step": step, "text": text} if text.strip() else None
    return Action("note written", (Edit("notes", key, row),))


def finish_step(name: str) -> Action:
    """Say that a step is done with what it rests on now."""
    return Action(f"{BY_NAME[name].title} finished", (), done=name)


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
