"""Open a scan: read it, show its slices, then find its bone and frame and show the skull."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from facegen_app.controllers.overlay import Overlay
from facegen_app.controllers.work import Work
from facegen_app.model.case import Case
from facegen_app.model.slices import SliceModel
from facegen_app.model.summary import bone_line, scan_summary, skull_parts
from facegen_inference.progress import Progress, part

if TYPE_CHECKING:
    from facegen_app.casework.results import Inputs
    from facegen_app.rendering.display_mesh import DisplayMesh
    from facegen_app.views.main_window import MainWindow
    from facegen_inference.reconstruct import Prepared, SkullUnplaced
    from facegen_inference.scan import Scan
    from facegen_inference.series import Series


@dataclass(frozen=True)
class Read:
    """A scan as read, its files with their hashes, and the usable series beside it."""

    scan: Scan
    inputs: Inputs
    series: tuple[Series, ...]


@dataclass(frozen=True)
class FoundSkull:
    """A skull ready to be shown, in a frame or, where that is unsure, without."""

    found: Prepared | SkullUnplaced
    display: DisplayMesh
    device: str
    scan: Scan


class OpenScan:
    """Answers the wishes to open a folder, a file or another series."""

    def __init__(
        self, case: Case, slices: SliceModel, window: MainWindow, work: Work, overlay: Overlay
    ) -> None:
        self._case, self._slices = case, slices
        self._window, self._work, self._overlay = window, work, overlay
        self._then: Callable[[], object] | None = None
        commands = window.commands
        for wish in (commands["open_folder"].triggered, window.scan_panel.folder_wished,
                     window.welcome.folder_wished):  # fmt: skip
            wish.connect(lambda *_: self.ask_folder())
        for wish in (commands["open_file"].triggered, window.scan_panel.file_wished):
            wish.connect(lambda *_: self.ask_file())
        window.scan_panel.series_wished.connect(self.open_series)
        case.scan_changed.connect(self._show)
        case.skull_changed.connect(self._show)

    def ask_folder(self) -> None:
        """Let the user choose a folder, and open it."""
        path = self._window.ask_folder(_tr("Open the folder of a scan"))
        if path is not None:
            self.open(path)

    def ask_file(self) -> None:
        """Let the user choose a file, and open it."""
        path = self._window.ask_file(_tr("Open a scan"))
        if path is not None:
            self.open(path)

    def open_series(self, uid: str) -> None:
        """Open another series of the same place."""
        if self._case.path is not None:
            self.open(self._case.path, uid)

    def open(
        self, path: Path, series: str | None = None, then: Callable[[], object] | None = None
    ) -> None:
        """Open a scan.

        Parameters
        ----------
        path
            Anything `facegen_inference.scan.open_scan` opens.
        series
            Which series; the proposed one where None.
        then
            Called once its skull is there.
        """
        self._then = then

        def read(progress: Progress) -> Read:
            return read_scan(path, lambda uid: uid == series, progress)

        self._work.start(read, lambda result: self._on_read(path, result))

    def prepare(self) -> None:
        """Find bone, landmarks and frame of the open scan."""
        scan = self._case.scan
        if scan is None:
            return

        self._work.start(lambda progress: find_skull(scan, progress), self._on_skull)

    def show_scan(self, path: Path, read: Read) -> None:
        """Take over a scan that was read."""
        self._case.set_scan(path, read.scan, read.inputs)
        self._slices.set_volume(read.scan.volume)
        self._window.scan_panel.show_series(
            [(one.uid, _series_text(one)) for one in read.series], read.scan.series.uid
        )

    def show_skull(self, result: FoundSkull) -> None:
        """Take over a skull, in its frame or without."""
        from facegen_inference.reconstruct import SkullUnplaced

        self._window.face_panel.show_device(_tr("Computed on: {device}").format(
            device=result.device))  # fmt: skip
        found = result.found
        if isinstance(found, SkullUnplaced):
            self._overlay.show_skull(result.display, None)
            self._case.set_unplaced(found)
        else:
            self._overlay.show_skull(result.display, found.frame)
            self._case.set_prepared(found)
        self._slices.focus_on(found.skull.mesh.vertices)

    def _on_read(self, path: Path, read: Read) -> None:
        self.show_scan(path, read)
        self.prepare()

    def _on_skull(self, result: FoundSkull) -> None:
        then, self._then = self._then, None
        self.show_skull(result)
        if then is not None and self._case.prepared is not None:
            then()

    def _show(self) -> None:
        """Show what is known of the scan."""
        summary = scan_summary(self._case)
        self._window.scan_panel.show_summary(summary.title, summary.lines, summary.warnings)
        skull = self._case.skull
        notes = () if skull is None else skull.notes
        self._window.skull_panel.show_skull(skull_parts(skull), bone_line(skull), notes)
        if self._case.skull is None:
            self._overlay.show_skull(None, None)


def read_scan(path: Path, is_wanted: Callable[[str], bool], progress: Progress) -> Read:
    """Read a scan: the series whose identifier is wanted, else the proposed one.

    Raises
    ------
    UserError
        When there is no usable scan.
    """
    from facegen_app.casework.export import inputs_of
    from facegen_inference.scan import inspect_scan, open_scan

    progress(0.0, _tr("looking for the scan"))
    inspection = inspect_scan(path, part(progress, 0.0, 0.2))
    usable = tuple(one for one in inspection.series if one.usable)
    wanted = next((one.uid for one in usable if is_wanted(one.uid)), None)
    scan = open_scan(path, wanted, progress=part(progress, 0.2, 0.9))
    return Read(scan, inputs_of(scan, progress=part(progress, 0.9, 1.0)), usable)


def find_skull(scan: Scan, progress: Progress) -> FoundSkull:
    """Find bone, landmarks and frame of a scan, and make the bone ready to be shown.

    Raises
    ------
    UserError
        When there is no head, or the scan is de-identified.
    """
    from facegen_app.rendering.display_mesh import display_mesh
    from facegen_inference.reconstruct import SkullUnplaced, prepare
    from facegen_inference.runtime import choose_device

    device = choose_device().label
    found: Prepared | SkullUnplaced
    try:
        found = prepare(scan, progress=part(progress, 0.0, 0.9))
    except SkullUnplaced as error:
        found = error
    progress(0.9, _tr("drawing the skull"))
    return FoundSkull(found, display_mesh(found.skull.mesh), device, scan)


def _series_text(series: Series) -> str:
    """Return a series as one line of a list."""
    name = series.description or series.modality or series.uid
    return _tr("{name}, {count} slices").format(name=name, count=series.slice_count)


def _tr(text: str) -> str:
    return QCoreApplication.translate("OpenScan", text)
