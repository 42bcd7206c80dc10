"""What is said of the open scan and of the face: short lines made from the case.  No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegen_app.model.case import Case

if TYPE_CHECKING:
    from facegen_inference.frame import Frame
    from facegen_inference.skull import Skull


@dataclass(frozen=True)
class Summary:
    """What the scan panel shows.

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
    """Return what is known of the scan, its bone and its frame."""
    if case.scan is None or case.path is None:
        return Summary("", (), ())
    lines = [_geometry_line(case)]
    warnings = list(case.scan.warnings)
    if case.skull is not None:
        lines += _parts_lines(case.skull)
        warnings += case.skull.notes
    if case.prepared is not None:
        lines.append(_frame_line(case.prepared.frame))
    elif case.skull is not None:
        warnings.append("The Frankfurt frame is unsure; landmarks are needed.")
    return Summary(case.path.name, tuple(lines), tuple(dict.fromkeys(warnings)))


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


def _parts_lines(skull: Skull) -> list[str]:
    """Return what of the skull is present and what is not, one line for each state."""
    by_state: dict[str, list[str]] = {}
    for part, presence in skull.parts.items():
        by_state.setdefault(str(presence), []).append(part)
    return [f"{state.capitalize()}: {', '.join(parts)}" for state, parts in by_state.items()]
