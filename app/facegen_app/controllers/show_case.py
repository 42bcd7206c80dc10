"""Bring the window to what the case says: after a case was opened, and after undo and redo."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QCoreApplication

from facegen_app.casework.case_reading import Stored, StoredSource, read_stored
from facegen_app.controllers.keeping import Keeping
from facegen_app.controllers.open_scan import FoundSkull, OpenScan, Read, find_skull, read_scan
from facegen_app.controllers.reconstruct import Made, Reconstruct, made_of
from facegen_app.controllers.work import Work
from facegen_app.errors import trouble_of
from facegen_app.model.case import Case
from facegen_app.model.landmarks import LandmarkModel
from facegen_app.views.profile_panel import Known
from facegen_inference.errors import UserError
from facegen_inference.progress import Progress, part

if TYPE_CHECKING:
    from facegen_app.controllers.overlay import Overlay
    from facegen_app.model.slices import SliceModel
    from facegen_app.rendering.display_mesh import DisplayMesh
    from facegen_app.views.main_window import MainWindow
    from facegen_inference.landmarks import Landmarks as Points


@dataclass(frozen=True)
class _Run:
    """A face as the case holds it."""

    key: str
    result: Mapping[str, object]
    request: Mapping[str, object]
    meshes: Mapping[str, bytes]


@dataclass(frozen=True)
class _Loaded:
    """What was read anew: the scan with its skull, or why not, and the face."""

    read: Read | None = None
    path: Path | None = None
    skull: FoundSkull | None = None
    made: Made | None = None
    bare: DisplayMesh | None = None
    missing: UserError | None = None


class ShowCase:
    """Compares the window with the case and changes what differs; reads from disk what it must."""

    def __init__(
        self,
        keeping: Keeping,
        case: Case,
        points: LandmarkModel,
        slices: SliceModel,
        window: MainWindow,
        work: Work,
        overlay: Overlay,
        open_scan: OpenScan,
        reconstruct: Reconstruct,
    ) -> None:
        self._keeping, self._case, self._points, self._slices = keeping, case, points, slices
        self._window, self._work, self._overlay = window, work, overlay
        self._open_scan, self._reconstruct = open_scan, reconstruct
        keeping.apart.connect(self.show)

    def show(self, then: Callable[[], object] | None = None) -> None:
        """Bring the window to the case; `then` is called when that is done.

        Where the scan is the one that is open nothing but a face is read anew.
        """
        keeping, case = self._keeping, self._case
        stored = read_stored(keeping.file.state())
        source = stored.source
        here = source is not None and source.key == keeping.source and case.skull is not None
        with keeping.quiet():
            self._show_profile(stored.profile)
            if source is None:
                self._show_nothing()
            elif here:
                self._show_frame(stored)
            self._points.put_back(
                {**(self._points.found if here else {}), **stored.found},
                stored.placed,
                stored.used,
            )
            if stored.run is None and case.face is not None:
                case.drop_face()
                keeping.run = None
        if source is not None and not here:
            self._load(stored, source, then)
        elif stored.run is not None and (stored.run != keeping.run or case.face is None):
            self._load(stored, None, then)
        elif then is not None:
            then()

    # what is there already

    def _show_profile(self, fields: Mapping[str, object]) -> None:
        age = fields.get("age")
        self._window.profile_panel.show_known(
            Known(
                str(fields.get("sex", "unknown")),
                None if age is None else round(float(str(age))),
                str(fields.get("build", "unknown")),
            )
        )

    def _show_nothing(self) -> None:
        self._case.clear()
        self._slices.set_volume(None)
        self._window.scan_panel.show_series([], "")

    def _show_frame(self, stored: Stored) -> None:
        """Show the frame of the case on the skull that is there."""
        from facegen_inference.reconstruct import Prepared

        case, frame = self._case, stored.frame
        scan, skull, before = case.scan, case.skull, case.prepared
        assert scan is not None
        assert skull is not None
        if frame is None or (
            before is not None
            and np.array_equal(before.frame.patient_from_frame, frame.patient_from_frame)
        ):
            return
        timings = {} if before is None else before.timings
        points = _resting_on(stored, {**self._points.found, **stored.found})
        case.set_prepared(Prepared(scan, skull, points, frame, timings))
        self._overlay.show_frame(frame)
        self._keeping.run = None

    # what has to be read

    def _load(
        self, stored: Stored, source: StoredSource | None, then: Callable[[], object] | None
    ) -> None:
        """Read the scan, where one is named, and the face off the main thread; show them."""
        file = self._keeping.file
        folder = None if file.in_memory else file.path
        run = None if stored.run is None else self._run(stored.run)

        def load(progress: Progress) -> _Loaded:
            from facegen_app.casework.case_runs import face_of, mesh_of, request_of

            progress(0.0, _tr("reading the case"))
            made = None
            if run is not None:
                made = made_of(face_of(run.result, run.meshes), request_of(run.request))
            if source is None:
                return _Loaded(made=made)
            try:
                path, read = _read(source, folder, part(progress, 0.1, 0.5))
            except UserError as error:
                bare = None
                if run is not None:
                    from facegen_app.rendering.display_mesh import display_mesh

                    bare = display_mesh(mesh_of(run.meshes["skull.ply"]))
                return _Loaded(made=made, bare=bare, missing=error)
            return _Loaded(read, path, find_skull(read.scan, part(progress, 0.5, 1.0)), made)

        def done(loaded: _Loaded) -> None:
            with self._keeping.quiet():
                if source is not None:
                    self._show_scan(stored, source, loaded)
                if loaded.made is not None:
                    self._reconstruct.show(loaded.made)
                    self._keeping.run = stored.run
            if loaded.skull is not None and stored.frame is None:
                self._keeping.keep_skull(anew=True)
            if then is not None:
                then()

        self._work.start(load, done)

    def _run(self, key: str) -> _Run:
        file = self._keeping.file
        row = file.row("runs", key)
        assert row is not None
        meshes = {
            str(mesh["name"]): file.content(str(mesh["sha256"]))
            for mesh in file.rows("meshes").values()
            if mesh["run"] == key
        }
        return _Run(key, json.loads(str(row["result"])), json.loads(str(row["request"])), meshes)

    def _show_scan(self, stored: Stored, source: StoredSource, loaded: _Loaded) -> None:
        """Show a scan with its skull, points and frame; without it what else is known."""
        found = dict(stored.found)
        if loaded.read is None or loaded.path is None or loaded.skull is None:
            self._show_nothing()
            if loaded.bare is not None:
                self._overlay.show_skull(loaded.bare, stored.frame)
            if loaded.missing is not None:
                self._window.show_trouble(trouble_of(loaded.missing))
        else:
            self._open_scan.show_scan(loaded.path, loaded.read)
            skull = _in_frame(stored, loaded.skull)
            self._open_scan.show_skull(skull)
            found = {**loaded.skull.found.landmarks, **found}
        self._keeping.source = source.key
        self._points.put_back(found, stored.placed, stored.used)


def _in_frame(stored: Stored, skull: FoundSkull) -> FoundSkull:
    """Return a skull with the points and the frame that a case has for it."""
    from facegen_inference.reconstruct import Prepared

    if stored.frame is None:
        return skull
    found, timings = skull.found, {}
    if isinstance(found, Prepared):
        timings = found.timings
    scan = skull.scan
    points = _resting_on(stored, found.landmarks)
    return FoundSkull(
        Prepared(scan, found.skull, points, stored.frame, timings),
        skull.display,
        skull.device,
        scan,
    )


def _resting_on(stored: Stored, found: Points) -> Points:
    """Return the points that the frame of a case was made with."""
    covered = {c: found[c] for c in stored.placed if c in found and c not in stored.used}
    return {**covered, **stored.found, **stored.used}


def _read(source: StoredSource, case: Path | None, progress: Progress) -> tuple[Path, Read]:
    """Read the scan of a case where it lies with the hashes that it had.

    Raises
    ------
    UserError
        When it lies nowhere, or was changed.
    """
    places = source.places(case)
    progress(0.0, _tr("comparing the scan with its hashes"))
    states = {place: source.state_in(place) for place in places}
    place = next((place for place, state in states.items() if state == "unchanged"), None)
    if place is not None:
        path = source.path_in(place)
        read = read_scan(path, source.is_series, part(progress, 0.4, 1.0))
        if read.inputs.sha256 == source.row["sha256"]:
            return path, read
    if place is not None or "changed" in states.values():
        raise UserError(
            f"The scan of this case was changed since it was chosen: {places[0]}.",
            "Put the files back as they were and open the case again; all else of it is shown.",
        )
    raise UserError(
        f"The scan of this case is not where it was: {places[0]}.",
        "Put it back and open the case again; all else of it is shown.",
    )


def _tr(text: str) -> str:
    return QCoreApplication.translate("ShowCase", text)
