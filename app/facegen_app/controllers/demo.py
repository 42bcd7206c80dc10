"""The demo: a synthetic head made by the program, opened and reconstructed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from facegen_app.controllers.open_scan import OpenScan
from facegen_app.controllers.work import Work
from facegen_inference.progress import Progress

if TYPE_CHECKING:
    from facegen_app.views.main_window import MainWindow


class Demo:
    """Answers the wish for the demo.  Its scan lives in a folder that goes with the window."""

    def __init__(self, window: MainWindow, work: Work, open_scan: OpenScan) -> None:
        self._window, self._work, self._open_scan = window, work, open_scan
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        for wish in (window.commands["demo"].triggered, window.welcome.demo_wished):
            wish.connect(lambda *_: self.run())

    def run(self, then: Callable[[], object] | None = None) -> None:
        """Make the scan and open it; `then` is called once its skull is there."""
        self.clean()
        self._folder = tempfile.TemporaryDirectory(prefix="facegen-demo-")
        folder = Path(self._folder.name) / "demo-head"
        folder.mkdir()

        def make(progress: Progress) -> Path:
            from facegen_inference.demo_head import make_demo_scan

            progress(0.0, QCoreApplication.translate("Demo", "making the demo scan"))
            make_demo_scan(folder, progress)
            return folder

        self._work.start(make, lambda made: self._open_scan.open(made, then=then))

    def clean(self) -> None:
        """Remove the demo scan."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
