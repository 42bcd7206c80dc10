"""The folder that results go to: it appears whole or not at all, and spares what is not ours.

Results are built in a hidden folder on the same disk and moved into place at the end, the
``result.json`` last: where one is found, everything it names was there when it was written.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from facegen_inference.errors import OutputError

RESULT_NAME = "result.json"
UNPLACED_FILES = ("landmarks.json", "landmarks-*.json", "skull-in-scanner-axes*.png")
"""What is left for the examiner when the frame is unsure; results may be written beside it."""
_BUILDING = ".facegen-part-"
_REPLACED = ".facegen-old-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def output_error(error: OSError, out: Path) -> OutputError:
    """Return what a failed write means, as a sentence and advice."""
    if error.errno in _FULL:
        return OutputError(
            f"There is not enough room to write the results to {out}; nothing was left there.",
            "Free some space or choose another folder with --out.",
            reason=error,
        )
    if error.errno in _FORBIDDEN:
        return OutputError(
            f"You are not allowed to write to {out}.",
            "Choose a folder of your own with --out.",
            reason=error,
        )
    return OutputError(
        f"The results cannot be written to {out}.",
        "Check the folder and its disk, or choose another folder with --out.",
        reason=error,
    )


def check_destination(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that cannot take results, before minutes are spent on making them.

    Raises
    ------
    OutputError
        When `out` is a file, may not be written, or holds something and `overwrite` is false.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file, not a folder.", "Name a folder with --out.")
    if not overwrite and _occupied(out):
        raise OutputError(
            f"The folder {out} is not empty.",
            "Choose another folder with --out, or add --overwrite to replace earlier results.",
        )
    with _errors_named(out), _building_folder(out):
        pass


def check_scan_spared(out: Path, scan: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse to replace the results in a folder that the scan itself lies in.

    Raises
    ------
    OutputError
        When `overwrite` is true and a path of `scan` is `out` or lies in it; links are followed.
    """
    if not overwrite:
        return
    folder = out.resolve()
    for path in scan:
        if path.resolve().is_relative_to(folder):
            raise OutputError(
                f"{path} lies in {out}, where results are to be replaced.",
                "Choose a folder with --out that does not hold the scan.",
            )


@contextmanager
def building(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a folder to build results in; on leaving it normally they are moved to `out`.

    The files must include ``result.json``.  On any exception nothing of them remains and what
    was in `out` is untouched.

    Raises
    ------
    OutputError
        When the results cannot be written, or would replace a file that facegen did not write.
    """
    check_destination(out, overwrite=overwrite)
    with _errors_named(out), _building_folder(out) as folder:
        yield folder
        if out.exists():
            _move_into(folder, out, own_files(out))
        else:
            folder.rename(out)


@contextmanager
def adding(out: Path) -> Iterator[Path]:
    """Give a folder to build files in that are added to `out`, where nothing is replaced."""
    with _errors_named(out), _building_folder(out) as folder:
        yield folder
        if out.exists():
            _move_into(folder, out, [])
        else:
            folder.rename(out)


@contextmanager
def _errors_named(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(error, out) from error
    except OutputError as error:
        if isinstance(error.__cause__, OSError):  # named with a file in the hidden folder
            raise output_error(error.__cause__, out) from error
        raise


@contextmanager
def _building_folder(out: Path) -> Iterator[Path]:
    """Make a hidden folder beside `out`, or inside where it exists; leave no trace of it."""
    made = _make_parents(out)
    try:
        inside = out if out.exists() else out.parent
        folder = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=inside))
        folder.chmod(0o777 & ~_umask())
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        for parent in reversed(made):
            with suppress(OSError):
                parent.rmdir()


def _make_parents(out: Path) -> list[Path]:
    """Make the folders above `out`; return those that were not there, outermost first."""
    missing = [parent for parent in reversed(out.absolute().parents) if not parent.exists()]
    for parent in missing:
        parent.mkdir(exist_ok=True)
    return missing


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _occupied(out: Path) -> bool:
    if not out.is_dir():
        return False
    return any(not _spared(entry.name) for entry in out.iterdir())


def _spared(name: str) -> bool:
    """Tell whether a file may lie in a folder that counts as empty: ours, but no result."""
    return name.startswith((_BUILDING, _REPLACED)) or any(
        fnmatch(name, pattern) for pattern in UNPLACED_FILES
    )


def own_files(out: Path) -> list[str]:
    """Return the files in `out` that an earlier run of facegen wrote, by its ``result.json``.

    Names that would lead outside the folder are not believed.
    """
    try:
        data = json.loads((out / RESULT_NAME).read_text(encoding="utf-8"))
        if data["format"] != "facegen result":
            return []
        names = [str(row["name"]) for row in data["outputs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in [*names, RESULT_NAME] if is_inside(name) and (out / name).is_file()]


def is_inside(name: str) -> bool:
    """Tell whether a relative name stays inside its folder on every system."""
    path = PurePosixPath(name)
    bad = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
    return bool(path.parts) and not bad


def _move_into(folder: Path, out: Path, old: list[str]) -> None:
    """Replace the `old` files in `out` by the files of `folder`; undo everything on failure."""
    new = sorted(
        (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()),
        key=lambda name: (name == RESULT_NAME, name),
    )
    for name in set(new) - set(old):
        if (out / name).exists():
            raise OutputError(
                f"{out / name} was not written by facegen and is not replaced.",
                "Move it away, or choose another folder with --out.",
            )
    backup = Path(tempfile.mkdtemp(prefix=_REPLACED, dir=out))
    moved: list[tuple[Path, Path]] = []
    try:
        for name in old:
            _move(out / name, backup / name, moved)
        for name in new:
            _move(folder / name, out / name, moved)
    except BaseException:
        for source, target in reversed(moved):
            target.rename(source)
        raise
    finally:
        shutil.rmtree(backup, ignore_errors=True)
        _remove_empty(out, old + new)


def _move(source: Path, target: Path, moved: list[tuple[Path, Path]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    moved.append((source, target))


def _remove_empty(out: Path, names: list[str]) -> None:
    """Remove folders that held results and are empty now."""
    for name in names:
        for parent in PurePosixPath(name).parents:
            if parent.parts:
                with suppress(OSError):
                    (out / parent).rmdir()
