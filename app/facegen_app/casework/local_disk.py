"""Whether a file lies on a disk of this computer, where a write-ahead log is safe."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_LOCAL = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "bcachefs", "tmpfs", "overlay")
)
_DRIVE_FIXED = 3


def is_local_disk(path: Path) -> bool:
    """Tell whether a path is known to be on a local disk; False where that is unknown.

    SQLite's write-ahead log shares memory between processes and must not be used on a network
    share.
    """
    if sys.platform == "win32":
        import ctypes

        drive = str(path.resolve().anchor)
        return bool(ctypes.windll.kernel32.GetDriveTypeW(drive) == _DRIVE_FIXED)
    if sys.platform == "linux":
        return file_system(path) in _LOCAL
    return False


def file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the kind of file system that holds a path, e.g. ``ext4``; empty where unknown.

    Parameters
    ----------
    mounts
        The kernel's list of what is mounted, ``proc(5)``.
    """
    place = path.resolve()
    best, kind = -1, ""
    try:
        lines = mounts.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = Path(_unescaped(left.split(" ")[4]))
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), right.split(" ")[0]
    return kind


def _unescaped(point: str) -> str:
    r"""Return a mount point without its octal escapes, such as ``\040`` for a space."""
    raw = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), os.fsencode(point))
    return os.fsdecode(raw)
