"""What a case says of scan, points, frame, profile and face, as the program's own types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facegen_app.casework.case_state import Row, State, digest_of
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmark, Landmarks

if TYPE_CHECKING:
    from facegen_app.casework.verify import FileState

Position = tuple[float, float, float]


@dataclass(frozen=True)
class StoredSource:
    """The scan that a case works on.

    Attributes
    ----------
    key
        What it is called in the case.
    row
        Its row of the table ``sources``.
    files
        Name → SHA-256.
    """

    key: str
    row: Row
    files: Mapping[str, str]

    def places(self, case: Path | None) -> list[Path]:
        """Return the folders in which its files may lie: where they were, and beside the case."""
        places = [Path(str(self.row["path"]))]
        if case is not None and self.row["beside"] is not None:
            places.append(case.parent / str(self.row["beside"]))
        return places

    def state_in(self, place: Path) -> FileState:
        """Return whether all files are there with their hashes; reads every byte of them."""
        from facegen_app.casework.verify import state_of

        found: set[FileState] = {
            state_of(place, name, sha256) for name, sha256 in self.files.items()
        }
        return next((one for one in ("missing", "changed") if one in found), "unchanged")

    def path_in(self, place: Path) -> Path:
        """Return what has to be opened there."""
        return place / next(iter(self.files)) if len(self.files) == 1 else place

    def is_series(self, uid: str) -> bool:
        """Return whether a DICOM series is the one that was chosen."""
        return digest_of(uid) == self.row["series_sha256"]


@dataclass(frozen=True)
class Stored:
    """A case as it stands.

    Attributes
    ----------
    source
        The scan, or None.
    landmarks
        Code → point, LPS mm, those placed by hand among them.
    by_hand
        Code → place of the points placed by hand that the frame rests on.
    frame
        The Frankfurt frame, or None.
    profile
        Field → value, where known.
    run
        Key of the face that belongs to scan and frame, or None.
    """

    source: StoredSource | None
    landmarks: Landmarks
    by_hand: Mapping[str, Position]
    frame: Frame | None
    profile: Mapping[str, object]
    run: str | None

    @property
    def placed(self) -> Landmarks:
        """Code → point placed by hand."""
        return {code: p for code, p in self.landmarks.items() if p.provenance == "manual"}

    @property
    def found(self) -> Landmarks:
        """Code → point found by the program."""
        return {code: p for code, p in self.landmarks.items() if p.provenance != "manual"}

    @property
    def used(self) -> Landmarks:
        """Code → point placed by hand that the frame rests on."""
        return {c: Landmark(c, place, "manual", 1.0) for c, place in self.by_hand.items()}


def read_stored(state: State) -> Stored:
    """Return what the rows of a case say."""
    settings = state["settings"]
    frame_data = json.loads(str(settings["frame"]["value"])) if "frame" in settings else None
    source = _source(state)
    return Stored(
        source,
        {code: _landmark(code, row) for code, row in state["landmarks"].items()},
        {} if frame_data is None else _by_hand(frame_data),
        None if frame_data is None else _frame(frame_data),
        {key: row["value"] for key, row in state["profile"].items()},
        None if source is None or frame_data is None else _run(state, source, frame_data),
    )


def _source(state: State) -> StoredSource | None:
    row = state["settings"].get("source")
    if row is None or str(row["value"]) not in state["sources"]:
        return None
    key = str(row["value"])
    files = {
        str(file["name"]): str(file["sha256"])
        for file in state["source_files"].values()
        if file["source"] == key
    }
    return StoredSource(key, state["sources"][key], files)


def _landmark(code: str, row: Row) -> Landmark:
    x, y, z, confidence = (
        float(row[name] or 0.0) for name in ("x_mm", "y_mm", "z_mm", "confidence")
    )
    # A case holds words that were checked when they were stored; mypy sees text.
    return Landmark(code, (x, y, z), str(row["provenance"]), confidence)  # type: ignore[arg-type]


def _frame(data: Mapping[str, object]) -> Frame:
    matrix = np.array(data["patient_from_frame"], dtype=np.float64)
    residual, confidence = float(str(data["residual_mm"])), float(str(data["confidence"]))
    # A case holds words that were checked when they were stored; mypy sees text.
    return Frame(matrix, str(data["method"]), residual, confidence)  # type: ignore[arg-type]


def _by_hand(data: Mapping[str, object]) -> dict[str, Position]:
    """Return the points placed by hand that a frame rests on."""
    places = data["by_hand"]
    assert isinstance(places, dict)
    return {code: (float(x), float(y), float(z)) for code, (x, y, z) in places.items()}


def _run(state: State, source: StoredSource, frame: Mapping[str, object]) -> str | None:
    """Return the last run, where it was made of this scan in this frame."""
    if "face" not in state["steps"] or not state["runs"]:
        return None
    key = max(state["runs"], key=int)
    result = json.loads(str(state["runs"][key]["result"]))
    same = (
        result["frame"]["patient_from_frame"] == frame["patient_from_frame"]
        and result["inputs"]["sha256"] == source.row["sha256"]
    )
    return key if same else None
