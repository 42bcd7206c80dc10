"""What is being worked on: a scan, its skull and frame, and the face made from it.

One scan at a time.  Whatever depends on a change is dropped with it: a new scan has no skull yet,
a newly prepared skull no face.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facegen_app.model.event import Event

if TYPE_CHECKING:
    from facegen_app.casework.results import Inputs
    from facegen_inference.face import Face
    from facegen_inference.reconstruct import Prepared, Request, SkullUnplaced
    from facegen_inference.scan import Scan
    from facegen_inference.skull import Skull


class Case:
    """The state of one case.

    Attributes
    ----------
    path
        What was opened; None before.
    scan
        The scan as read.
    inputs
        Its files with their hashes.
    skull
        Its bone; there even when the frame is not (then `prepared` is None).
    prepared
        Skull, landmarks and frame: what a reconstruction starts from.
    unplaced
        Why there is a skull and no `prepared`: its frame is unsure; carries what was found.
    landmarks_file
        The file of landmarks placed by hand that `prepared` rests on, or None.
    face, request
        The face, and what was asked for to make it.
    scan_changed, skull_changed, face_changed
        Told after the respective part was set or dropped.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.scan: Scan | None = None
        self.inputs: Inputs | None = None
        self.skull: Skull | None = None
        self.prepared: Prepared | None = None
        self.unplaced: SkullUnplaced | None = None
        self.landmarks_file: Path | None = None
        self.face: Face | None = None
        self.request: Request | None = None
        self.scan_changed: Event[()] = Event()
        self.skull_changed: Event[()] = Event()
        self.face_changed: Event[()] = Event()

    def set_scan(self, path: Path, scan: Scan, inputs: Inputs) -> None:
        """Begin with a new scan; skull and face of the one before are dropped."""
        self.path, self.scan, self.inputs = path, scan, inputs
        self._drop_skull()
        self._tell_all()

    def clear(self) -> None:
        """Forget everything: no scan is open."""
        self.path = self.scan = self.inputs = None
        self._drop_skull()
        self._tell_all()

    def _tell_all(self) -> None:
        self.scan_changed.emit()
        self.skull_changed.emit()
        self.face_changed.emit()

    def set_prepared(self, prepared: Prepared, landmarks_file: Path | None = None) -> None:
        """Take over skull, landmarks and frame; a face made before is dropped."""
        self._drop_skull()
        self.landmarks_file = landmarks_file
        self.skull, self.prepared = prepared.skull, prepared
        self.skull_changed.emit()
        self.face_changed.emit()

    def set_unplaced(self, unplaced: SkullUnplaced) -> None:
        """Take over a skull whose frame is unsure: the examiner has to place landmarks."""
        self._drop_skull()
        self.skull, self.unplaced = unplaced.skull, unplaced
        self.skull_changed.emit()
        self.face_changed.emit()

    def set_face(self, face: Face, request: Request) -> None:
        """Take over the face that was made for a request."""
        self.face, self.request = face, request
        self.face_changed.emit()

    def drop_face(self) -> None:
        """Forget the face."""
        self.face = self.request = None
        self.face_changed.emit()

    def _drop_skull(self) -> None:
        self.skull = self.prepared = self.face = self.request = None
        self.unplaced = self.landmarks_file = None
