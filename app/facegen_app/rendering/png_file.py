"""Write an RGB picture as PNG; the same pixels always give the same bytes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def write_png(path: Path, picture: NDArray[np.uint8], dots_per_inch: float = 300.0) -> None:
    """Write a picture.

    Parameters
    ----------
    path
        The file; replaced where it exists.
    picture
        (height, width, 3) uint8, top row first.
    dots_per_inch
        Print resolution stored in the file.

    Notes
    -----
    PNG specification, third edition (W3C): signature, IHDR, pHYs, IDAT, IEND.  Each row is
    stored as its difference to the row above (filter 2), which packs smooth shading well.
    """
    height, width, _ = picture.shape
    rows = picture.reshape(height, width * 3)
    difference = rows.copy()
    difference[1:] -= rows[:-1]
    filtered = np.full((height, 1 + width * 3), 2, dtype=np.uint8)
    filtered[:, 1:] = difference
    per_metre = round(dots_per_inch / 0.0254)
    path.write_bytes(
        _SIGNATURE
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + _chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))
        + _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 3))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
