"""Take results out of the window: the folder with report, or the picture that is seen."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from facegen_app.controllers.work import Work
from facegen_app.model.case import Case
from facegen_app.model.event import Event
from facegen_inference.progress import Progress

if TYPE_CHECKING:
    from facegen_app.views.main_window import MainWindow


class Export:
    """Answers the wishes to save results and pictures.

    Attributes
    ----------
    saved
        Told the folder after results with their report were written.
    """

    def __init__(self, case: Case, window: MainWindow, work: Work) -> None:
        self._case, self._window, self._work = case, window, work
        self.saved: Event[Path] = Event()
        panel, commands = window.export_panel, window.commands
        for wish in (panel.results_wished, commands["save_results"].triggered):
            wish.connect(lambda *_: self.ask_results())
        for wish in (panel.picture_wished, commands["save_picture"].triggered):
            wish.connect(lambda *_: self.ask_picture())
        case.skull_changed.connect(self._show_ready)
        case.face_changed.connect(self._show_ready)
        work.busy_changed.connect(lambda _busy: self._show_ready())
        self._show_ready()

    def ask_results(self) -> None:
        """Let the user choose where, and write a new folder there."""
        if self._case.face is None or self._case.prepared is None:
            return
        folder = self._window.ask_folder(_tr("Where to save the results (in a new folder)"))
        if folder is not None:
            stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
            self.save_results(folder / f"facegen-{stamp}")

    def save_results(self, out: Path) -> None:
        """Write meshes, pictures, ``result.json`` and the report into a new folder."""
        case = self._case
        prepared, face, request = case.prepared, case.face, case.request
        if prepared is None or face is None or request is None:
            return
        landmarks_file = case.landmarks_file

        def write(progress: Progress) -> Path:
            from facegen_app.casework.export import Wanted, write_results

            wanted = Wanted(report=True, landmarks_file=landmarks_file)
            write_results(out, prepared, face, request, wanted=wanted, progress=progress)
            return out

        self._window.export_panel.show_saved(None)
        self._work.start(write, self._on_saved)

    def _on_saved(self, out: Path) -> None:
        self._window.export_panel.show_saved(out)
        self.saved.emit(out)

    def ask_picture(self) -> None:
        """Let the user name a file, and write the 3-D picture to it."""
        if self._case.skull is None:
            return
        path = self._window.ask_new_file(
            _tr("Save the picture"), "facegen.png", _tr("PNG picture (*.png)")
        )
        if path is not None:
            self.save_picture(path if path.suffix.lower() == ".png" else path.with_suffix(".png"))

    def save_picture(self, path: Path) -> None:
        """Write what the 3-D view shows at twice its resolution, drawn off the main thread."""
        if self._case.skull is None:
            return
        view = self._window.scene_view
        snapshot = view.scene.snapshot()
        ratio = view.devicePixelRatioF()

        def draw(progress: Progress) -> Path:
            from facegen_app.rendering.pictures import save_snapshot

            progress(0.2, _tr("drawing the picture"))
            save_snapshot(snapshot, path, scale=2.0 * ratio)
            return path

        self._window.export_panel.show_saved(None)
        self._work.start(draw, self._window.export_panel.show_saved)

    def _show_ready(self) -> None:
        free = not self._work.busy
        picture = free and self._case.skull is not None
        results = free and self._case.face is not None and self._case.prepared is not None
        self._window.export_panel.set_ready(picture=picture, results=results)
        self._window.commands["save_picture"].setEnabled(picture)
        self._window.commands["save_results"].setEnabled(results)


def _tr(text: str) -> str:
    return QCoreApplication.translate("Export", text)
