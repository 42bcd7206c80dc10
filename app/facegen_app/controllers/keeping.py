"""Every action of the window on the case goes into its case file, as it happens.

There always is a case: until it is given a file it lies in memory, and the same holds of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from facegen_app.casework.case_actions import (
    Source,
    add_run,
    begin_person,
    choose_source,
    finish_step,
    lose_frame,
    make_skull,
    place_landmark,
    place_landmarks,
    save_report,
    set_landmarks,
    set_profile,
)
from facegen_app.casework.case_errors import CaseError
from facegen_app.casework.case_opening import case_in_memory
from facegen_app.casework.case_reading import read_stored
from facegen_app.errors import trouble_of
from facegen_app.model.case import Case
from facegen_app.model.event import Event
from facegen_app.model.landmarks import LandmarkModel

if TYPE_CHECKING:
    from facegen_app.casework.case_actions import Run
    from facegen_app.casework.case_file import Action, CaseFile
    from facegen_app.casework.case_runs import Begun
    from facegen_app.controllers.export import Export
    from facegen_app.views.main_window import MainWindow
    from facegen_inference.face import Build, Sex
    from facegen_inference.reconstruct import Prepared, Request
    from facegen_inference.scan import Scan


class Keeping:
    """Stores what happens in the window.

    Attributes
    ----------
    file
        The case.
    source
        Key of the scan that the window shows, or None.
    run
        Key of the face that the window shows, or None.
    showing
        Whether the window is just being brought to what the case says: nothing is stored then.
    changed
        Told after the case changed, or the window was brought to it.
    apart
        Told when the window shows something else than the case says.
    face_added
        Told after a face that was made is stored.
    """

    def __init__(self, case: Case, points: LandmarkModel, window: MainWindow) -> None:
        self.file: CaseFile = case_in_memory()
        self.source: str | None = None
        self.run: str | None = None
        self.showing = False
        self.changed: Event[()] = Event()
        self.apart: Event[()] = Event()
        self.face_added: Event[()] = Event()
        self._case, self._points, self._window = case, points, window
        self._path: Path | None = None
        self._scan: Scan | None = None
        self._prepared: Prepared | None = None

    def connect(self, export: Export) -> None:
        """Listen to what happens, after those who show it."""
        self._case.scan_changed.connect(self._on_scan)
        self._case.skull_changed.connect(lambda: self.keep_skull())
        self._points.changed.connect(self._on_points)
        self._window.profile_panel.changed.connect(self._on_profile)
        export.saved.connect(self._on_report)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Store nothing of what happens inside: the window follows the case."""
        was, self.showing = self.showing, True
        try:
            yield
        finally:
            self.showing = was
        if not was:
            self.changed.emit()

    def act(self, action: Action) -> None:
        """Store an action; say so where that cannot be done."""
        if self.showing:
            return
        try:
            number = self.file.act(action)
        except CaseError as error:
            self._window.show_trouble(trouble_of(error))
            self.apart.emit()
        else:
            if number is not None:
                self.changed.emit()

    def finish(self, step: str) -> None:
        """Say that a step is done, unless something waits to be redone or nothing can be said."""
        if not self.file.read_only and self.file.redo_name is None:
            self.act(finish_step(step))

    def begin_run(self, request: Request) -> Begun:
        """Return what a face that is asked for now rests on."""
        from facegen_app.casework.case_runs import begin_run

        return begin_run(self.file.state(), request)

    def add_run(self, run: Run) -> None:
        """Store a face that was made, and that the window shows."""
        self.run = str(max((int(key) for key in self.file.rows("runs")), default=0) + 1)
        self.act(add_run(self.run, run))
        self.face_added.emit()

    # what happens

    def _on_scan(self) -> None:
        """Store another scan; from another place it is another person's."""
        case = self._case
        same_place, self._path = case.path == self._path, case.path
        self._scan, self._prepared, self.source, self.run = case.scan, None, None, None
        if case.scan is None:
            return
        source = self._source(case.scan)
        self.source = source.key
        if self.showing:
            return
        if same_place:
            self.act(choose_source(source, anew=self.file.row("settings", "source")))
            return
        with self.quiet():
            self._window.profile_panel.clear()
        self.act(begin_person(source, self.file.state()))

    def _source(self, scan: Scan) -> Source:
        from facegen_app.casework.case_record import source_of
        from facegen_app.casework.results import geometry_data

        assert self._case.inputs is not None
        path = None if self.file.in_memory else self.file.path
        return source_of(path, scan.series, self._case.inputs, geometry_data(scan))

    def keep_skull(self, *, anew: bool = False) -> None:
        """Store bone, points and frame that were found, or that the frame is unsure.

        With `anew` also those that were found while nothing was stored.
        """
        case, prepared = self._case, self._case.prepared
        if self.showing or (prepared is not None and prepared is self._prepared and not anew):
            self._prepared = prepared
            return
        self._prepared = prepared
        if case.skull is None:
            return
        self.act(make_skull(case.skull.level_hu))
        rows = self.file.rows("landmarks")
        if prepared is None:
            self.act(lose_frame(c for c, row in rows.items() if row["provenance"] != "manual"))
            return
        self.run = None
        self.act(set_landmarks(prepared.landmarks, prepared.frame, rows, {}))
        if case.face is None and read_stored(self.file.state()).run is not None:
            self.apart.emit()  # the frame is the one that the face was made in

    def _on_points(self) -> None:
        """Store what was placed by hand, or taken back, since the last time."""
        if self.showing or self._case.skull is None or self._case.scan is not self._scan:
            return
        placed, found = self._points.placed, self._points.found
        before = {
            code: (row["x_mm"], row["y_mm"], row["z_mm"])
            for code, row in self.file.rows("landmarks").items()
            if row["provenance"] == "manual"
        }
        new = [point for code, point in placed.items() if before.get(code) != point.position]
        back = [code for code in before if code not in placed]
        if len(new) == 1 and not back:
            self.act(place_landmark(new[0]))
        elif new or back:
            again = [found[code] for code in back if code in found]
            self.act(place_landmarks([*new, *again], [code for code in back if code not in found]))

    def _on_profile(self) -> None:
        from facegen_inference.face import Profile

        known = self._window.profile_panel.known()
        age = None if known.age is None else float(known.age)
        self.act(set_profile(Profile(cast("Sex", known.sex), age, cast("Build", known.build))))

    def _on_report(self, folder: Path) -> None:
        from facegen_app.casework.destination import RESULT_NAME
        from facegen_inference.provenance import record_file

        self.act(save_report(record_file(folder / RESULT_NAME)))
