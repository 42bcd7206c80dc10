"""The seal: a digest of every byte of a closed case file, kept inside that file.

A digest cannot cover itself, so it covers the file as it is with the digest's own 32 bytes set
to zero.  Where they lie is found by looking for them; they are random until then, and occur
once.  While a case is open they begin with a word that no digest begins with.

The seal finds every accident and every change by somebody who does not know of it.  Somebody
who does can seal the file anew: against that stands `statement`, kept or printed elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Literal

from facegen_app.casework.case_connection import connect

SealState = Literal["sealed", "open", "broken"]
SIZE = 32
_OPEN = b"unsealed"
_ZEROS = bytes(SIZE)
_CHUNK = 1 << 20


def break_open(connection: sqlite3.Connection) -> None:
    """Replace the seal by a mark that says it is open, inside the running transaction."""
    mark = _OPEN + secrets.token_bytes(SIZE - len(_OPEN))
    connection.execute("INSERT OR REPLACE INTO seal (id, digest) VALUES (1, ?)", (mark,))


def close_with_seal(path: Path) -> None:
    """Seal a closed case file whose seal is open.

    Raises
    ------
    ValueError
        When the file is not that.
    OSError
        When it cannot be written.
    """
    with closing(connect(path, "ro")) as connection:
        mark = _stored(connection)
    if not mark.startswith(_OPEN):
        raise ValueError("the seal of the case is not open")
    place, digest = _digest_around(path, mark)
    if place is None:
        raise ValueError("the mark of the seal does not occur once")
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(digest)
        stream.flush()
        os.fsync(stream.fileno())


def seal_state(path: Path, mode: Literal["ro", "rw"]) -> SealState:
    """Tell whether a case file is as it was sealed; read every byte of it.

    No connection of this process may have the file open: closing it here would drop that
    connection's locks.  With mode ``rw`` what a killed program left half done is put right first.

    Returns
    -------
    ``open`` where it was not closed after work, ``broken`` where the digest is another.

    Raises
    ------
    sqlite3.Error, OSError
        When it cannot be read.
    """
    with closing(connect(path, mode)) as connection:
        stored = _stored(connection)
    if stored.startswith(_OPEN):
        return "open"
    place, digest = _digest_around(path, stored)
    return "sealed" if place is not None and digest == stored else "broken"


def _stored(connection: sqlite3.Connection) -> bytes:
    row = connection.execute("SELECT digest FROM seal WHERE id = 1").fetchone()
    return bytes(row[0]) if row is not None and isinstance(row[0], bytes) else b""


def _digest_around(path: Path, stored: bytes) -> tuple[int | None, bytes]:
    """Return where `stored` lies, if once, and the digest of the file with zeros there."""
    places = _places(path, stored) if len(stored) == SIZE else []
    if len(places) != 1:
        return None, b""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in _chunks(stream, places[0]):
            digest.update(chunk)
        stream.seek(SIZE, os.SEEK_CUR)
        digest.update(_ZEROS)
        for chunk in _chunks(stream):
            digest.update(chunk)
    return places[0], digest.digest()


def _places(path: Path, wanted: bytes) -> list[int]:
    """Return every place in a file at which `wanted` begins."""
    places, kept, start = [], b"", 0
    with path.open("rb") as stream:
        for chunk in _chunks(stream):
            block = kept + chunk
            found = block.find(wanted)
            while found >= 0:
                places.append(start + found)
                found = block.find(wanted, found + 1)
            kept = block[1 - len(wanted) :]
            start += len(block) - len(kept)
    return places


def _chunks(stream: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """Read `size` bytes on, or to the end, in pieces that fit into memory."""
    left = size
    while left != 0:
        chunk = stream.read(_CHUNK if left is None else min(_CHUNK, left))
        if not chunk:
            return
        left = None if left is None else left - len(chunk)
        yield chunk
