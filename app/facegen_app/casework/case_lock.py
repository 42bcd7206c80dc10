"""One writer at a time: a lock file beside the case while it is open for work.

The operating system releases the lock when its holder dies, so that what a killed program leaves
behind hinders nobody.  The file's text says who holds it, for the one who comes second.
"""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from pathlib import Path

from facegen_app.casework.audit_log import Who

ENDING = "-lock"
_TRIES = 20


class LockHeld(Exception):
    """Somebody else holds the lock; the text says who."""


class CaseLock:
    """A held lock.

    Attributes
    ----------
    path
        The lock file, the case's name with ``-lock`` behind it.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self._handle = path, handle

    @classmethod
    def take(cls, case: Path, who: Who) -> CaseLock:
        """Take the lock of a case without waiting.

        Raises
        ------
        LockHeld
            When another process, or another window of this one, has the case open.
        OSError
            When the lock file cannot be written.
        """
        path = case.with_name(case.name + ENDING)
        for _ in range(_TRIES):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(handle)
                if _still_there(path, handle):
                    os.ftruncate(handle, 0)
                    os.write(handle, f"\n{who.user} on {platform.node()}".encode())
                    return cls(path, handle)
            except BlockingIOError:
                os.close(handle)
                raise LockHeld(_holder(path)) from None
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # its holder removed the file between our opening and locking it
        raise LockHeld("somebody")

    def release(self) -> None:
        """Remove the lock file and let go."""
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(self._handle)
            with suppress(OSError):
                self.path.unlink()
        else:
            with suppress(OSError):
                self.path.unlink()
            os.close(self._handle)


def _lock(handle: int) -> None:
    """Lock the first byte of a file, which holds nothing, or raise `BlockingIOError`."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _still_there(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    """Return who holds a lock, as they wrote it."""
    try:
        with path.open("rb") as stream:
            stream.seek(1)
            return stream.read(200).decode("utf-8", "replace").strip() or "somebody"
    except OSError:
        return "somebody"
