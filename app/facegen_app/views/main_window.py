"""The frame that places everything; no logic.

At the left the seven steps of a case, in the middle the head, at the right the slices, below
what the program may be used for and what is being worked on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QActionGroup,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QKeySequence,
)
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QMainWindow,
    QMenu,
    QSplitter,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from facegen_app.actions import COMMANDS, MENUS, SUBMENUS
from facegen_app.errors import Trouble
from facegen_app.views.error_dialog import ErrorDialog
from facegen_app.views.export_panel import ExportPanel
from facegen_app.views.face_panel import FacePanel
from facegen_app.views.job_bar import JobBar
from facegen_app.views.landmarks_panel import LandmarksPanel
from facegen_app.views.layers_panel import LayersPanel
from facegen_app.views.profile_panel import ProfilePanel
from facegen_app.views.review_panel import ReviewPanel
from facegen_app.views.scan_panel import ScanPanel
from facegen_app.views.scene_view import SceneView
from facegen_app.views.section import label
from facegen_app.views.skull_panel import SkullPanel
from facegen_app.views.slices_panel import SlicesPanel
from facegen_app.views.steps_panel import StepsPanel
from facegen_app.views.tokens import UNIT
from facegen_app.views.view_bar import ViewBar
from facegen_app.views.welcome import Welcome

if TYPE_CHECKING:
    from facegen_app.rendering.scene import Scene3D


class MainWindow(QMainWindow):
    """The window.

    Emits wishes: a path that was dropped on it, and that it is about to close; and tells when the
    system turns light or dark.
    """

    path_dropped = Signal(object)
    closing = Signal()
    scheme_changed = Signal(Qt.ColorScheme)

    def __init__(self, make_scene: Callable[[], Scene3D], intended_use: str) -> None:
        super().__init__()
        self.setWindowTitle("FaceGen")
        self.setAcceptDrops(True)
        self.resize(1280, 800)
        self.commands = self._make_menus()
        self.scan_panel = ScanPanel(self)
        self.skull_panel = SkullPanel(self)
        self.landmarks_panel = LandmarksPanel(self)
        self.profile_panel = ProfilePanel(self)
        self.face_panel = FacePanel(self)
        self.layers_panel = LayersPanel(self)
        self.review_panel = ReviewPanel(self.layers_panel, self)
        self.export_panel = ExportPanel(self)
        self.steps_panel = StepsPanel(
            {
                "scan": self.scan_panel,
                "skull": self.skull_panel,
                "landmarks": self.landmarks_panel,
                "profile": self.profile_panel,
                "face": self.face_panel,
                "review": self.review_panel,
                "report": self.export_panel,
            },
            self,
        )
        self.view_bar = ViewBar(self)
        self.scene_view = SceneView(make_scene, self)
        self.welcome = Welcome(self)
        self.slices_panel = SlicesPanel(self)
        self.job_bar = JobBar(self)
        self._stage = QStackedLayout()
        middle = QSplitter(Qt.Orientation.Horizontal)
        middle.setHandleWidth(2)
        middle.addWidget(self._make_stage())
        middle.addWidget(self.slices_panel)
        middle.setStretchFactor(0, 3)
        middle.setStretchFactor(1, 1)
        middle.setSizes([650, 300])
        middle.setChildrenCollapsible(False)
        upper = QHBoxLayout()
        upper.setSpacing(0)
        upper.addWidget(self.steps_panel)
        upper.addWidget(middle, 1)
        whole = QVBoxLayout()
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addLayout(upper, 1)
        whole.addWidget(self._make_footer(intended_use))
        centre = QWidget()
        centre.setLayout(whole)
        self.setCentralWidget(centre)

    # what controllers ask of it

    def show_head(self, shown: bool) -> None:
        """Show the 3-D view, or the words of welcome."""
        self._stage.setCurrentIndex(1 if shown else 0)

    def show_trouble(self, trouble: Trouble) -> ErrorDialog:
        """Show what went wrong, without blocking."""
        dialog = ErrorDialog(trouble, self)
        dialog.open()
        return dialog

    def show_name(self, name: str) -> None:
        """Name what is open in the title bar."""
        self.setWindowTitle(f"{name} – FaceGen" if name else "FaceGen")

    def ask_folder(self, title: str) -> Path | None:
        """Let the user choose a folder; None when they would rather not."""
        chosen = QFileDialog.getExistingDirectory(self, title)
        return Path(chosen) if chosen else None

    def ask_file(self, title: str, pattern: str = "") -> Path | None:
        """Let the user choose a file; None when they would rather not."""
        chosen, _ = QFileDialog.getOpenFileName(self, title, "", pattern)
        return Path(chosen) if chosen else None

    def ask_new_file(self, title: str, name: str, pattern: str) -> Path | None:
        """Let the user name a file to write; None when they would rather not."""
        chosen, _ = QFileDialog.getSaveFileName(self, title, name, pattern)
        return Path(chosen) if chosen else None

    # how it is put together

    def _make_menus(self) -> dict[str, QAction]:
        """Make the menus from the table of commands; returns name → action."""
        menus = {name: self.menuBar().addMenu(_translated(name)) for name in MENUS}
        for name, parent in SUBMENUS.items():
            menus[name] = QMenu(_translated(name), menus[parent])
        actions: dict[str, QAction] = {}
        groups: dict[str, QActionGroup] = {}
        for command in COMMANDS:
            action = QAction(_translated(command.text), self)
            action.setStatusTip(_translated(command.tip))
            action.setToolTip(_translated(command.tip))
            if command.shortcut:
                action.setShortcut(QKeySequence(command.shortcut))
            if command.group:
                action.setCheckable(True)
                groups.setdefault(command.group, QActionGroup(self)).addAction(action)
            menus[command.menu].addAction(action)
            actions[command.name] = action
        for name, parent in SUBMENUS.items():
            menus[parent].addSeparator()
            menus[parent].addMenu(menus[name])
        return actions

    def _make_stage(self) -> QWidget:
        """Make the middle: standard views above the head or the words of welcome."""
        holder = QWidget()
        holder.setLayout(self._stage)
        self._stage.addWidget(self.welcome)
        self._stage.addWidget(self.scene_view)
        column = QVBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.view_bar)
        column.addWidget(holder, 1)
        stage = QWidget()
        stage.setLayout(column)
        return stage

    def _make_footer(self, intended_use: str) -> QFrame:
        """Make the line below: what the program is for, and what is being worked on."""
        footer = QFrame()
        footer.setProperty("kind", "footer")
        row = QHBoxLayout(footer)
        row.setContentsMargins(UNIT * 2, UNIT // 2, UNIT * 2, UNIT // 2)
        row.setSpacing(UNIT * 3)
        row.addWidget(label(intended_use, "small", wrap=True), 1)
        row.addWidget(self.job_bar)
        footer.setFixedHeight(UNIT * 6)
        return footer

    # what Qt tells it

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files and folders."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Wish the first file or folder opened."""
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.path_dropped.emit(Path(paths[0]))

    def closeEvent(self, event: QCloseEvent) -> None:
        """Tell it, so that work is stopped first."""
        self.closing.emit()
        self.scene_view.close_scene()
        super().closeEvent(event)


def _translated(text: str) -> str:
    return QCoreApplication.translate("Commands", text)
