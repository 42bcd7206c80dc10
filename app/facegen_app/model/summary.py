"""What is said of the open scan and of the face: short lines made from the case.  No Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegen_app.model.case import Case

if TYPE_CHECKING:
    from facegen_inference.frame import Frame
    from facegen_inference.skull import Skull


@dataclass(frozen=True)
class Summary:
    """What is said of one part of the case.

    Attributes
    ----------
    title
        The name of the file or folder.
    lines
        Facts, one a line.
    warnings
        Sentences the examiner must read.
    """

    title: str
    lines: tuple[str, ...]
    warnings: tuple[str, ...]


def scan_summary(case: Case) -> Summary:
    """Return what is known of the scan as it was read."""
    if case.scan is None or case.path is None:
        return Summary("", (), ())
    warnings = tuple(dict.fromkeys(case.scan.warnings))
    return Summary(case.path.name, (_geometry_line(case),), warnings)


@dataclass(frozen=True)
class Part:
    """A part of the skull: its name, in what state it is, and whether that is the wished one."""

    name: str
    state: str
    present: bool


def skull_parts(skull: Skull | None) -> tuple[Part, ...]:
    """Return every part that a skull has, and whether this one has it."""
    if skull is None:
        return ()
    return tuple(
        Part(part, str(presence), str(presence) == "present")
        for part, presence in skull.parts.items()
    )


def bone_line(skull: Skull | None) -> str:
    """Return from which grey value on the scan was taken as bone; empty for a surface."""
    if skull is None or math.isnan(skull.level_hu):
        return ""
    return f"Bone from {skull.level_hu:.0f} HU"


def frame_line(case: Case) -> str:
    """Return where the Frankfurt frame comes from and how good it is; empty without a skull."""
    if case.prepared is not None:
        return _frame_line(case.prepared.frame)
    return "" if case.skull is None else "No Frankfurt frame yet: landmarks are needed."


def _geometry_line(case: Case) -> str:
    """Return kind, size and spacing of the scan."""
    assert case.scan is not None
    if case.scan.volume is None:
        return "Skull mesh"
    k, j, i = case.scan.volume.array.shape
    dk, dj, di = case.scan.volume.spacing
    what = case.scan.series.description or case.scan.series.modality or "CT"
    return f"{what}: {i} × {j} × {k} voxels of {di:.2f} × {dj:.2f} × {dk:.2f} mm"


def _frame_line(frame: Frame) -> str:
    """Return where the frame comes from; placed by hand it has no measure of confidence."""
    origin = {"registration": "the fit of the mean skull", "given": "landmarks placed by hand"}
    line = (
        f"Frankfurt frame from {origin.get(frame.method, frame.method)}: "
        f"residual {frame.residual_mm:.1f} mm"
    )
    return line if frame.method == "given" else f"{line}, confidence {100 * frame.confidence:.0f} %"
