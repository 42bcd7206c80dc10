"""The landmarks: what the panel shows, files of points, and the frame made from what was placed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from facegen_app.controllers.overlay import Overlay
from facegen_app.controllers.work import Work
from facegen_app.errors import trouble_of
from facegen_app.model.case import Case
from facegen_app.model.landmark_colours import colour_of
from facegen_app.model.landmark_file import read_points, write_points
from facegen_app.model.landmark_names import name_of, place_of, source_of
from facegen_app.model.landmarks import LandmarkModel
from facegen_app.model.summary import frame_line
from facegen_app.views.landmark_list import Row
from facegen_app.views.landmarks_panel import PanelState
from facegen_inference.progress import Progress

if TYPE_CHECKING:
    from facegen_app.views.main_window import MainWindow
    from facegen_inference.landmarks import Landmarks as Points
    from facegen_inference.reconstruct import Prepared, SkullUnplaced


class Landmarks:
    """Answers the wishes of the panel and of the menu.

    Attributes
    ----------
    changed
        Told when `ready` or `waiting` may have changed.
    """

    def __init__(
        self, case: Case, model: LandmarkModel, window: MainWindow, work: Work, overlay: Overlay
    ) -> None:
        self._case, self._model, self._overlay = case, model, overlay
        self._window, self._work = window, work
        panel, commands = window.landmarks_panel, window.commands
        panel.every_wished.connect(model.show_all)
        panel.choice_wished.connect(model.choose)
        panel.accept_wished.connect(model.accept)
        panel.reconstruct_wished.connect(window.face_panel.wish)
        for wish in (panel.file_wished, commands["open_landmarks"].triggered):
            wish.connect(lambda *_: self.ask_file())
        for wish in (panel.save_wished, commands["save_landmarks"].triggered):
            wish.connect(lambda *_: self.ask_new_file())
        self.changed = model.changed
        case.scan_changed.connect(model.clear)
        case.skull_changed.connect(self._take_over)
        model.changed.connect(self._show)
        work.busy_changed.connect(self._on_busy)
        self._show()

    @property
    def ready(self) -> bool:
        """Whether a face can be made: there is a frame, or what makes one is placed."""
        skull = self._case.skull is not None
        return self._case.prepared is not None or (skull and not self._model.missing)

    @property
    def waiting(self) -> bool:
        """Whether landmarks and frame must be found anew before a face is made."""
        return self._case.prepared is None or self._model.waiting

    def use(self, then: Callable[[], object] | None = None) -> None:
        """Find landmarks and frame anew with the points that were placed.

        Parameters
        ----------
        then
            Called when the frame is there; not where it is unsure: then the panel asks.
        """
        scan, skull, before = self._case.scan, self._case.skull, self._case.prepared
        if scan is None or skull is None:
            return
        given, file = dict(self._model.placed), self._model.file

        def find(progress: Progress) -> Prepared | SkullUnplaced:
            from dataclasses import replace

            from facegen_inference.reconstruct import SkullUnplaced, place

            try:
                placed = place(scan, skull, given, progress)
            except SkullUnplaced as error:
                return error
            earlier = {} if before is None else before.timings
            return replace(placed, timings={**earlier, **placed.timings})

        self._work.start(find, lambda result: self._on_found(result, file, then))

    def ask_file(self) -> None:
        """Let the user choose a landmarks file, and take over its points."""
        if self._case.skull is not None:
            path = self._window.ask_file(_tr("Open a landmarks file"), "*.json")
            if path is not None:
                self.open_file(path)

    def open_file(self, path: Path) -> None:
        """Take over the points of a file as placed by hand, and make the frame from them."""
        skull = self._case.skull
        if skull is None:
            return

        def read(progress: Progress) -> Points:
            progress(0.0, _tr("reading the landmarks"))
            return read_points(path, skull.mesh.vertices)

        def take(points: Points) -> None:
            self._model.take(points, path)
            self.use()

        self._work.start(read, take)

    def ask_new_file(self) -> None:
        """Let the user name a file, and write the points placed by hand to it."""
        if self._model.placed:
            path = self._window.ask_new_file(
                _tr("Save the landmarks placed by hand"), "landmarks.json",
                _tr("Landmarks (*.json)"),
            )  # fmt: skip
            if path is not None:
                self.save_file(path if path.suffix else path.with_suffix(".json"))

    def save_file(self, path: Path) -> None:
        """Write the points placed by hand: a file for ``--landmarks``, or to go on with later."""
        placed = dict(self._model.placed)

        def write(progress: Progress) -> None:
            progress(0.0, _tr("writing the landmarks"))
            write_points(placed, path)

        def done(_: None) -> None:
            self._model.saved(path)
            self._window.job_bar.show_note(_tr("Saved: {path}").format(path=path))

        self._work.start(write, done)

    def _on_found(
        self, result: Prepared | SkullUnplaced, file: Path | None, then: Callable[[], object] | None
    ) -> None:
        from facegen_inference.reconstruct import SkullUnplaced

        if isinstance(result, SkullUnplaced):
            self._case.set_unplaced(result)
            self._overlay.show_frame(None)
            return
        self._case.set_prepared(result, file)
        self._overlay.show_frame(result.frame)
        if then is not None:
            then()

    def _take_over(self) -> None:
        """Take over what was found on the skull, and ask where its frame is unsure."""
        if self._case.prepared is not None:
            self._model.set_found(self._case.prepared.landmarks)
        elif self._case.unplaced is not None:
            unplaced = self._case.unplaced
            self._model.set_found(unplaced.landmarks, trouble_of(unplaced))

    def _on_busy(self, busy: bool) -> None:
        if busy:
            self._model.set_placing(False)
        self._show()

    # what is shown

    def _show(self) -> None:
        enabled = self._enabled()
        model, commands = self._model, self._window.commands
        question = model.question
        self._window.landmarks_panel.show_state(
            PanelState(
                status=self._status(),
                frame=frame_line(self._case),
                every=model.all_shown,
                rows=tuple(self._row(code) for code in model.codes),
                chosen=model.chosen,
                question=("", "") if question is None else (question.message, question.advice),
                hint=self._hint(),
                placing=model.placing,
                enabled=enabled,
            )
        )
        for name, button in (("place_landmark", "place"), ("open_landmarks", "open"),
                             ("save_landmarks", "save")):  # fmt: skip
            commands[name].setEnabled(button in enabled)
        commands["stop_placing"].setEnabled(model.placing)

    def _enabled(self) -> frozenset[str]:
        """Return the names of the buttons that are on."""
        model = self._model
        if self._case.skull is None or self._work.busy:
            return frozenset()
        names = {"place", "open"}
        if model.chosen in model.found and model.chosen not in model.placed:
            names.add("accept")
        if model.can_undo:
            names.add("undo")
        if model.placed:
            names.add("save")
        if self.ready and self.waiting:
            names.add("reconstruct")
        return frozenset(names)

    def _row(self, code: str) -> Row:
        point, place = self._model.point(code), place_of(code)
        name = name_of(code)
        tip = f"{name}: {place}" if place else ""
        if point is None:
            return Row(code, name, _tr("not found"), tip)
        source = source_of(point.provenance, point.confidence)
        return Row(code, name, source, tip, colour_of(point.provenance))

    def _status(self) -> str:
        model = self._model
        if self._case.skull is None:
            return ""
        if model.question is not None:
            return _tr("unsure")
        if model.placed:
            return _tr("{count} placed by hand").format(count=len(model.placed))
        return _tr("found automatically")

    def _hint(self) -> str:
        """Return what to do next."""
        model = self._model
        if self._case.skull is None:
            return _tr("Open a scan first.")
        if model.placing:
            name = name_of(model.chosen)
            place = place_of(model.chosen) or name[:1].lower() + name[1:]
            return _tr("Click on {place}. A drag turns the head.").format(place=place)
        if self._case.prepared is None and model.missing:
            return _tr("Still to place: {names}.").format(names=_listed(model.missing))
        if model.waiting and not self._work.busy:
            return _tr("The face does not rest on these points yet.")
        return ""


def _listed(names: list[str]) -> str:
    return "; ".join(name[:1].lower() + name[1:] for name in names)


def _tr(text: str) -> str:
    return QCoreApplication.translate("Landmarks", text)
