"""Start Qt and open the window.

Nothing heavy is imported before the window stands: VTK comes with the first mesh, the readers
with the first scan.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from facegen_inference.errors import UserError

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from facegen_app.views.main_window import MainWindow

_DEBIAN_LIBRARIES = (
    "libgl1 libegl1 libglib2.0-0 libdbus-1-3 libfontconfig1 libxkbcommon0 libxcb-cursor0 "
    "libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxkbcommon-x11-0"
)
_WITHOUT_WINDOW = "facegen reconstruct SCAN --out DIR works without a window."


def run_window(path: Path | None, demo: bool = False) -> int:
    """Open the window and run until it is closed.

    Parameters
    ----------
    path
        A scan or a case to open, or None; a case that is not there is made.
    demo
        Make the demo scan, open it and reconstruct its face.

    Returns
    -------
    The exit status.

    Raises
    ------
    UserError
        When there is no display, or Qt or one of its libraries is missing.
    """
    application = make_application()
    from PySide6.QtCore import QTimer

    from facegen_app.desk import set_up

    desk = set_up()
    sys.excepthook = lambda kind, error, trace: _on_bug(desk.window, kind, error, trace)
    desk.window.show()
    if demo:
        QTimer.singleShot(0, lambda: desk.demo.run(then=desk.window.face_panel.wish))
    elif path is not None:
        QTimer.singleShot(0, lambda: desk.case_files.open_path(path))
    return int(application.exec())


def make_application() -> QApplication:
    """Return the `QApplication`, made here where there is none yet.

    Raises
    ------
    UserError
        As `run_window`.
    """
    try:
        from PySide6.QtWidgets import QApplication
    except ImportError as error:
        raise UserError(
            "The window cannot open: Qt or a library that it needs is missing.",
            'Type: pip install "facegen[app]"; on Debian or Ubuntu also: '
            f"apt-get install {_DEBIAN_LIBRARIES}. {_WITHOUT_WINDOW}",
            reason=error,
        ) from error
    from facegen_app.views.style import current_theme, dress

    existing = QApplication.instance()
    if isinstance(existing, QApplication):
        dress(existing, current_theme())
        return existing
    check_display()
    application = QApplication(["facegen"])
    application.setApplicationName("FaceGen")
    application.setDesktopFileName("facegen")
    dress(application, current_theme())
    return application


def check_display() -> None:
    """Refuse to start where Qt would end the program: no display, or xcb's libraries missing.

    Raises
    ------
    UserError
        With what to do.
    """
    if not sys.platform.startswith("linux") or os.environ.get("QT_QPA_PLATFORM"):
        return
    if os.environ.get("WAYLAND_DISPLAY"):
        return
    if not os.environ.get("DISPLAY"):
        raise UserError(
            "There is no screen to open the window on: DISPLAY is not set.",
            f"Start it on a desktop. {_WITHOUT_WINDOW}",
        )
    try:
        ctypes.CDLL("libxcb-cursor.so.0")
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError as error:
        raise UserError(
            "The window needs system libraries that are missing.",
            f"On Debian or Ubuntu type: apt-get install {_DEBIAN_LIBRARIES}. {_WITHOUT_WINDOW}",
            reason=error,
        ) from error
    if not _x_answers(xcb):
        raise UserError(
            f"The screen {os.environ['DISPLAY']} does not answer.",
            f"Check DISPLAY, or the connection to the desktop. {_WITHOUT_WINDOW}",
        )


def _x_answers(xcb: ctypes.CDLL) -> bool:
    """Return whether the X server of DISPLAY takes a connection."""
    xcb.xcb_connect.restype = ctypes.c_void_p
    xcb.xcb_connect.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    xcb.xcb_connection_has_error.argtypes = [ctypes.c_void_p]
    xcb.xcb_disconnect.argtypes = [ctypes.c_void_p]
    connection = xcb.xcb_connect(None, None)
    failed = bool(xcb.xcb_connection_has_error(connection))
    xcb.xcb_disconnect(connection)
    return not failed


def _on_bug(
    window: MainWindow,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """Show what nobody expected; leave on Ctrl-C."""
    if issubclass(kind, KeyboardInterrupt):
        window.close()
        return
    from facegen_app.errors import trouble_of

    window.show_trouble(trouble_of(error.with_traceback(trace)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the window; the GUI entry ``facegen-window [SCAN or CASE]``."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        path = Path(words[0]) if words else None
        if path is not None and not path.exists() and path.suffix != ".facegen":
            raise UserError(f"There is no file or folder {path}.", "Check the name.")
        return run_window(path)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
