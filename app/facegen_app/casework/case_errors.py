"""What can go wrong with a case file, each as one sentence and a piece of advice."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facegen_inference.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class CaseError(UserError):
    """A case file cannot be opened, read or written."""


class NotACase(CaseError):
    """A file is no FaceGen case."""


class CaseTooNew(CaseError):
    """A newer program wrote the case."""


class CaseDamaged(CaseError):
    """A case file was damaged, or changed by something else than FaceGen."""


class CaseReadOnly(CaseError):
    """An action was asked of a case that was opened for reading only."""


def not_a_case(path: Path) -> NotACase:
    """Return the error for a file that is no case."""
    return NotACase(
        f"{path.name} is not a FaceGen case.", "Choose a file that ends in .facegen.", path=path
    )


def damaged(path: Path, reason: object) -> CaseDamaged:
    """Return the error for a case file whose content contradicts itself."""
    return CaseDamaged(
        f"The case {path.name} is damaged.",
        "Open a copy of it from a backup; facegen verify says what is wrong with this one.",
        reason=reason,
    )


def full(path: Path, reason: object) -> CaseError:
    """Return the error for a disk without room."""
    return CaseError(
        f"There is not enough room on the disk for the case {path.name}; "
        "the last action was not stored.",
        "Free some space and repeat it; everything before it is kept.",
        reason=reason,
    )


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Turn what the database or the disk says into a sentence about the case.

    Raises
    ------
    CaseError
        For every `sqlite3.Error` that is no fault of the program, and every `OSError`.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError):
        raise  # the program's own fault
    except UnicodeDecodeError as error:  # text in the file that is none
        raise damaged(path, error) from error
    except sqlite3.Error as error:
        raise _of_database(error, path) from error
    except OSError as error:
        raise _of_disk(error, path) from error


def _of_database(error: sqlite3.Error, path: Path) -> CaseError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return not_a_case(path)
    if code == sqlite3.SQLITE_FULL:
        return full(path, error)
    if code == sqlite3.SQLITE_BUSY:  # SQLITE_LOCKED: two tables in one place, a damage
        return CaseError(
            f"Another program is using the case {path.name}.", "Close it and try again.",
            reason=error,
        )  # fmt: skip
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return CaseError(
            f"The case {path.name} cannot be written, or was not closed and lies on a disk that "
            "cannot be written.",
            "Copy it, with the files beside it that bear its name, to a disk of your own.",
            reason=error,
        )
    if code == sqlite3.SQLITE_IOERR:
        return _not_answering(path, error)
    return damaged(path, error)


def _of_disk(error: OSError, path: Path) -> CaseError:
    if error.errno in _FULL:
        return full(path, error)
    if error.errno in _FORBIDDEN:
        return CaseError(
            f"You are not allowed to use the case {path.name} here.",
            "Copy it to a folder of your own.",
            reason=error,
        )
    return _not_answering(path, error)


def _not_answering(path: Path, reason: object) -> CaseError:
    return CaseError(
        f"The disk or network share with the case {path.name} does not answer.",
        "Check it and open the case again; every finished action is kept.",
        reason=reason,
    )
