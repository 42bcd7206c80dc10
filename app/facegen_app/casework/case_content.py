"""Meshes and pictures in a case: bytes kept once, deflated, under their hash, and never changed."""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Content:
    """Bytes to be kept under their hash: a mesh file or a picture."""

    kind: Literal["mesh", "picture"]
    data: bytes

    @property
    def sha256(self) -> str:
        """Digest of the bytes, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


def keep(connection: sqlite3.Connection, content: Content) -> None:
    """Store bytes, inside the running transaction, where they are not there already."""
    connection.execute(
        "INSERT OR IGNORE INTO content (sha256, kind, bytes, deflated) VALUES (?, ?, ?, ?)",
        (content.sha256, content.kind, len(content.data), zlib.compress(content.data)),
    )


def stored(connection: sqlite3.Connection, sha256: str) -> bytes | None:
    """Return bytes that are kept under a hash, or None where they are not there or are others."""
    row = connection.execute(
        "SELECT deflated, bytes FROM content WHERE sha256 = ?", (sha256,)
    ).fetchone()
    data = None if row is None else _inflated(*row)
    return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None


def _inflated(data: object, size: int) -> bytes | None:
    """Return what was deflated, or None where it is damaged or not of its `size` in bytes."""
    if not isinstance(data, bytes) or size < 0:
        return None
    stream = zlib.decompressobj()
    try:
        whole = stream.decompress(data, size + 1)  # never more: a few bytes can swell to gigabytes
    except zlib.error:
        return None
    return whole if stream.eof and len(whole) == size else None
