"""Case files: open, begin and keep one, undo and redo, and what the title bar says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PySide6.QtCore import QCoreApplication

from facegen_app.casework.case_actions import CONSEQUENCES, PLACEMENTS, keep_source
from facegen_app.casework.case_errors import CaseError
from facegen_app.casework.case_opening import create_case, open_case
from facegen_app.casework.case_schema import SUFFIX
from facegen_app.controllers.keeping import Keeping
from facegen_app.controllers.open_scan import OpenScan
from facegen_app.controllers.show_case import ShowCase
from facegen_app.controllers.work import Work
from facegen_app.errors import Trouble, trouble_of
from facegen_app.model.case import Case
from facegen_app.model.landmarks import LandmarkModel
from facegen_app.model.step_order import STEPS, State
from facegen_app.model.steps import Steps

if TYPE_CHECKING:
    from facegen_app.casework.case_file import CaseFile
    from facegen_app.views.main_window import MainWindow

Result = TypeVar("Result")


class CaseFiles:
    """Answers the wishes about the case as a whole."""

    def __init__(
        self,
        keeping: Keeping,
        show_case: ShowCase,
        open_scan: OpenScan,
        case: Case,
        points: LandmarkModel,
        steps: Steps,
        window: MainWindow,
        work: Work,
    ) -> None:
        self._keeping, self._show_case, self._open_scan = keeping, show_case, open_scan
        self._case, self._points, self._steps = case, points, steps
        self._window, self._work = window, work

    def connect(self) -> None:
        """Listen to menus and to the case, after those who show it."""
        window, commands = self._window, self._window.commands
        wishes: dict[str, Callable[[], object]] = {
            "open_case": self.ask_case,
            "new_case": self.ask_new,
            "keep_case": self.ask_keep,
            "undo": self.undo,
            "redo": self.redo,
        }
        for name, answer in wishes.items():
            commands[name].triggered.connect(lambda _=False, answer=answer: answer())
        window.landmarks_panel.undo_wished.connect(self.undo)
        window.path_dropped.connect(self.open_path)
        self._keeping.changed.connect(self._show)
        self._case.scan_changed.connect(self._show_name)
        self._work.busy_changed.connect(lambda _busy: self._show())
        self._show()

    # open and keep

    def open_path(self, path: Path) -> None:
        """Open a case or a scan; a case that is not there is made."""
        if path.suffix != SUFFIX:
            self._open_scan.open(path)
        elif path.exists():
            self.open(path)
        else:
            self.begin(path)

    def ask_case(self) -> None:
        """Let the user choose a case, and open it."""
        path = self._window.ask_file(_tr("Open a case"), _pattern())
        if path is not None:
            self.open(path)

    def ask_new(self) -> None:
        """Let the user name a case, and begin it."""
        path = self._ask_name(_tr("Begin a new case"))
        if path is not None:
            self.begin(path)

    def ask_keep(self) -> None:
        """Let the user name a case, and keep in it what is there."""
        path = self._ask_name(_tr("Keep as a case"))
        if path is not None:
            self.keep(path)

    def open(self, path: Path) -> None:
        """Open a case, and bring the window to what it says."""
        if not self._keeping.file.in_memory and path.resolve() == self._keeping.file.path.resolve():
            return
        opened = self._tried(lambda: open_case(path))
        if opened is not None:
            self._take(opened)
            self._show_case.show(self._lead)

    def begin(self, path: Path) -> None:
        """Make an empty case, and begin with it."""
        made = self._tried(lambda: create_case(path))
        if made is not None:
            self._take(made)
            self._show_case.show(self._lead)

    def keep(self, path: Path) -> None:
        """Write the case that is there, with all its history, to a file; go on in that."""
        from facegen_app.casework.case_record import way_to

        keeping = self._keeping
        kept = self._tried(lambda: create_case(path, content=keeping.file))
        if kept is None:
            return
        with keeping.quiet():
            self._take(kept)
        key = keeping.source
        row = None if key is None else kept.row("sources", key)
        if key is not None and row is not None:
            keeping.act(keep_source(key, row, way_to(Path(str(row["path"])), path)))

    def close(self) -> None:
        """Leave one sealed file behind."""
        self._keeping.file.close()

    def _take(self, opened: CaseFile) -> None:
        """Work on another case, and say how it was opened."""
        self._work.cancel()
        before, self._keeping.file = self._keeping.file, opened
        self._tried(before.close)
        if opened.notice:
            self._window.show_trouble(Trouble(opened.notice, ""))

    def _ask_name(self, title: str) -> Path | None:
        path = self._window.ask_new_file(title, f"case{SUFFIX}", _pattern())
        if path is None or path.suffix == SUFFIX:
            return path
        return path.with_name(path.name + SUFFIX)

    def _lead(self) -> None:
        """Go where the work on a case that was opened goes on."""
        states = self._keeping.file.steps()
        undone = next((name for name in STEPS if states[name] is not State.DONE), STEPS[-1])
        self._steps.choose("review" if self._case.face is not None else undone)

    # undo and redo

    def undo(self) -> None:
        """Take the last thing back that the examiner did, with what followed from it."""
        names = self._keeping.file.undo_names
        steps = next((n for n, name in enumerate(names, 1) if name not in CONSEQUENCES), 0)
        self._turn(steps, self._keeping.file.undo)

    def redo(self) -> None:
        """Do again what was taken back last, with what followed from it."""
        names = self._keeping.file.redo_names
        following = (n for n, name in enumerate(names) if n and name not in CONSEQUENCES)
        self._turn(next(following, len(names)), self._keeping.file.redo)

    def _turn(self, times: int, turn: Callable[[], int | None]) -> None:
        if not times or self._work.busy:
            return
        for _ in range(times):
            if self._tried(turn) is None:
                break
        self._show_case.show()

    # what is shown

    def _show(self) -> None:
        file, commands, free = self._keeping.file, self._window.commands, not self._work.busy
        undone = next((name for name in file.undo_names if name not in CONSEQUENCES), None)
        free = free and not file.read_only
        for name, words, what in (
            ("undo", _tr("&Undo: {what}"), undone),
            ("redo", _tr("&Redo: {what}"), file.redo_name),
        ):
            bare = _tr("&Undo") if name == "undo" else _tr("&Redo")
            commands[name].setText(bare if what is None else words.format(what=what))
            commands[name].setEnabled(free and what is not None)
        commands["keep_case"].setEnabled(file.in_memory and not self._work.busy)
        self._points.set_can_undo(free and undone in PLACEMENTS)
        self._show_name()

    def _show_name(self) -> None:
        """Name case and scan in the title bar."""
        file = self._keeping.file
        names = [] if file.in_memory else [file.path.name]
        if file.read_only:
            names.append(_tr("read only"))
        if self._case.path is not None:
            names.append(self._case.path.name)
        self._window.show_name(" – ".join(names))

    def _tried(self, work: Callable[[], Result]) -> Result | None:
        """Do something with a case file; say so where it cannot be done."""
        try:
            return work()
        except CaseError as error:
            self._window.show_trouble(trouble_of(error))
            return None


def _pattern() -> str:
    return _tr("FaceGen case (*{suffix})").format(suffix=SUFFIX)


def _tr(text: str) -> str:
    return QCoreApplication.translate("CaseFiles", text)
