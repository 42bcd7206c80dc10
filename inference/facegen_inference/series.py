"""What is found in a place where a scan is looked for: series, and what is set aside and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Series:
    """One thing that might be the scan: a DICOM series, a volume file or a mesh file.

    Attributes
    ----------
    uid
        What ``--series`` takes: the SeriesInstanceUID (``#2`` and so on behind it where one
        identifier covers several stacks), or the file name of a volume or mesh.
    kind
        ``dicom``, ``volume`` or ``mesh``.
    description, modality
        As the file says, e.g. ``Head 1.0 H60s`` and ``CT``.
    slice_count
        Number of images; of a volume the number of slices; 0 for a mesh.
    shape
        Voxels along (k, j, i) as they will be read; empty for a mesh.
    spacing_mm
        Spacing along (k, j, i) in mm as it will be read; empty for a mesh or where unknown.
    files
        The files on disk it consists of, in the order of the slices.
    usable
        Whether a scan can be read from it.
    reason
        Why it is set aside or refused; empty where usable.
    proposed
        Whether this is the one taken when none is named.
    warnings
        Sentences about what has to be done to make it regular.
    """

    uid: str
    kind: str
    description: str = ""
    modality: str = ""
    slice_count: int = 0
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    files: tuple[Path, ...] = ()
    usable: bool = True
    reason: str = ""
    proposed: bool = False
    warnings: tuple[str, ...] = field(default=())

    def as_data(self) -> dict[str, object]:
        """Return the series as plain data for ``--json``."""
        return {
            "uid": self.uid,
            "kind": self.kind,
            "description": self.description,
            "modality": self.modality,
            "slice_count": self.slice_count,
            "shape": list(self.shape),
            "spacing_mm": [round(s, 6) for s in self.spacing_mm],
            "file_count": len(self.files),
            "usable": self.usable,
            "reason": self.reason,
            "proposed": self.proposed,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Inspection:
    """What was found at a place.

    Attributes
    ----------
    path
        Where was looked.
    series
        What could be the scan, the proposed one first.
    set_aside
        (file name or series, reason) of everything else.
    """

    path: Path
    series: tuple[Series, ...]
    set_aside: tuple[tuple[str, str], ...] = ()

    @property
    def proposed(self) -> Series | None:
        """The series taken when none is named, or None."""
        return next((s for s in self.series if s.proposed), None)

    def as_data(self) -> dict[str, object]:
        """Return the inspection as plain data for ``--json``."""
        return {
            "path": str(self.path),
            "series": [s.as_data() for s in self.series],
            "set_aside": [{"name": name, "reason": reason} for name, reason in self.set_aside],
        }
