"""Stored values of a CT series to Hounsfield units, straight into one int16 volume.

Raw slices are read from the file into their place in the volume and converted there; compressed
ones are decoded in a few threads.  The volume and one or two slices are all the memory it takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.utils import pixel_array

from facegen_inference.dicom_geometry import Stack
from facegen_inference.dicom_header import BROKEN, Slice, lenient, unreadable
from facegen_inference.errors import ScanError
from facegen_inference.hounsfield import LOWEST_HU
from facegen_inference.progress import Progress
from facegen_inference.volume import AIR_HU

_NEVER_AIR = -1200
"""A padding value below this cannot be the value of air inside the scanned circle."""

_DEFLATED = (pydicom.uid.DeflatedExplicitVRLittleEndian,)

_THREADS = max(1, min(4, os.cpu_count() or 1))


class Coverage:
    """Where the scanner looked, kept as one plane for as long as all slices agree."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._plane: NDArray[np.bool_] | None = None
        self._full: NDArray[np.bool_] | None = None

    def add(self, k: int, seen: NDArray[np.bool_] | None) -> None:
        """Note where slice `k` was observed, (j, i) bool; None means everywhere.  k ascends."""
        if self._full is not None:
            self._full[k] = True if seen is None else seen
            return
        if k == 0:
            self._plane = seen
            return
        before = self._plane
        if (seen is None) == (before is None) and (
            seen is None or before is None or np.array_equal(seen, before)
        ):
            return
        self._full = np.ones(self._shape, dtype=bool)
        if before is not None:
            self._full[:k] = before
        self._full[k] = True if seen is None else seen

    def mask(self) -> NDArray[np.bool_] | None:
        """Return (k, j, i) bool (read-only where all slices agree), or None for everywhere."""
        if self._full is not None:
            return self._full
        return None if self._plane is None else np.broadcast_to(self._plane, self._shape)


def read_stack(
    stack: Stack, progress: Progress
) -> tuple[NDArray[np.int16], NDArray[np.bool_] | None]:
    """Read all slices of a stack onto its grid.

    Returns
    -------
    (k, j, i) int16 HU, not below `LOWEST_HU`, `AIR_HU` where nothing was scanned; and where was
    scanned, (k, j, i) bool or None for everywhere.
    """
    for slice_ in stack.slices:
        _check_complete(slice_)
    try:
        array = np.empty(stack.shape, dtype=np.int16)
    except MemoryError as error:
        gigabytes = np.prod(stack.shape, dtype=float) * 2 / 2**30
        raise ScanError(
            f"The series needs {gigabytes:.1f} GB of memory, which is more than there is.",
            "Close other programs or export the series with fewer or smaller slices.",
            shape=stack.shape,
        ) from error
    coverage = Coverage(stack.shape)
    with lenient():
        masks = _in_place(stack.slices, array) if stack.direct else _resampled(stack, array)
        for k, seen in enumerate(masks):
            coverage.add(k, seen)
            progress((k + 1) / len(array), "reading slices")
    return array, coverage.mask()


def _in_place(
    slices: tuple[Slice, ...], array: NDArray[np.int16]
) -> Iterator[NDArray[np.bool_] | None]:
    """Decode each slice into its own place; yield where it was observed."""
    raw = all(s.pixels is not None and s.pixels.offset is not None for s in slices)
    if raw or _THREADS == 1:
        yield from (read_slice(s, array[k]) for k, s in enumerate(slices))
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            yield from pool.map(read_slice, slices, array)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _resampled(stack: Stack, array: NDArray[np.int16]) -> Iterator[NDArray[np.bool_] | None]:
    """Shift slices within their plane and blend neighbours; yield where each was observed."""

    @lru_cache(maxsize=2)
    def placed(n: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        plane = np.empty((stack.slices[n].rows, stack.slices[n].columns), dtype=np.int16)
        seen = read_slice(stack.slices[n], plane)
        seen = np.ones(plane.shape, dtype=bool) if seen is None else seen
        return shifted(plane, seen, stack.shifts[n], stack.shape[1:])

    for k, pairs in enumerate(stack.recipe):
        parts = [(placed(n), weight) for n, weight in pairs]
        total = sum(values * np.float32(weight) for (values, _), weight in parts)
        seen = np.logical_and.reduce([mask for (_, mask), _ in parts])
        array[k] = np.where(seen, np.rint(total), AIR_HU)
        yield seen


def shifted(
    plane: NDArray[np.int16],
    seen: NDArray[np.bool_],
    shift: NDArray[np.float64],
    shape: tuple[int, ...],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Place a slice in a larger plane at a fractional (j, i), bilinearly.

    Returns
    -------
    (j, i) float32 values of size `shape`, air outside, and where all of the values that a pixel
    is made of were observed.
    """
    whole = np.floor(shift + 1e-6)
    values, mask = plane.astype(np.float32), seen
    for axis, part in enumerate((shift - whole).tolist()):
        if part < 1e-3:
            continue
        # Pixel n of the result lies `part` before pixel n of the slice, between n - 1 and n.
        before, mask_before = np.roll(values, 1, axis), np.roll(mask, 1, axis)
        values = values * np.float32(1 - part) + before * np.float32(part)
        mask = mask & mask_before
        mask[(0,) if axis == 0 else (slice(None), 0)] = False
    out = np.full(shape, AIR_HU, dtype=np.float32)
    out_seen = np.zeros(shape, dtype=bool)
    j, i = int(whole[0]), int(whole[1])
    rows, columns = min(plane.shape[0], shape[0] - j), min(plane.shape[1], shape[1] - i)
    out[j : j + rows, i : i + columns] = values[:rows, :columns]
    out_seen[j : j + rows, i : i + columns] = mask[:rows, :columns]
    return out, out_seen


def read_slice(slice_: Slice, out: NDArray[np.int16]) -> NDArray[np.bool_] | None:
    """Read one slice as HU into `out`, (j, i) int16; return where observed, None everywhere."""
    layout = slice_.pixels
    if layout is None:
        raise _damaged(slice_, "it holds no image")
    if layout.offset is not None and layout.bits_allocated == 16:
        stored = _read_raw(slice_, out)
    elif layout.offset is not None:
        stored = _read_other_raw(slice_)
    else:
        stored = _decode(slice_)
    return _to_hounsfield(slice_, stored, out)


def _stored_type(slice_: Slice) -> np.dtype[Any]:
    """Return the NumPy type of the stored values, in native byte order."""
    layout = slice_.pixels
    if layout is None or layout.bits_allocated not in (8, 16, 32):
        raise _damaged(slice_, "its values are neither 8, 16 nor 32 bits wide")
    if not 0 < layout.bits_stored <= layout.high_bit + 1 <= layout.bits_allocated:
        raise _damaged(slice_, "it contradicts itself on how many bits its values have")
    return np.dtype(f"{'i' if layout.signed else 'u'}{layout.bits_allocated // 8}")


def _read_raw(slice_: Slice, out: NDArray[np.int16]) -> NDArray[Any]:
    """Read 16-bit raw values into the memory of `out` and return them, cleaned of high bits."""
    layout = slice_.pixels
    assert layout is not None
    assert layout.offset is not None
    with slice_.path.open("rb", buffering=0) as file:
        file.seek(layout.offset)
        if file.readinto(memoryview(out.view(np.uint8).data).cast("B")) != out.nbytes:
            raise _truncated(slice_.path)
    if layout.syntax == pydicom.uid.ExplicitVRBigEndian:
        out.byteswap(inplace=True)
    stored = out.view(_stored_type(slice_))
    _mask_high_bits(slice_, stored)
    return stored


def _read_other_raw(slice_: Slice) -> NDArray[Any]:
    """Read raw values of 8 or 32 bits."""
    layout = slice_.pixels
    assert layout is not None
    assert layout.offset is not None
    big = layout.syntax == pydicom.uid.ExplicitVRBigEndian
    kind = _stored_type(slice_)
    count = slice_.rows * slice_.columns
    stored = np.fromfile(slice_.path, kind.newbyteorder(">" if big else "<"), count,
                         offset=layout.offset)  # fmt: skip
    if stored.size != count:
        raise _truncated(slice_.path)
    stored = stored.astype(kind).reshape(slice_.rows, slice_.columns)
    _mask_high_bits(slice_, stored)
    return stored


def _mask_high_bits(slice_: Slice, stored: NDArray[Any]) -> None:
    """Remove what lies outside the stored bits (old overlays) and extend the sign, in place."""
    layout = slice_.pixels
    assert layout is not None
    spare = layout.bits_allocated - layout.bits_stored
    if spare <= 0:
        return
    above = layout.bits_allocated - 1 - layout.high_bit
    np.left_shift(stored, above, out=stored)
    np.right_shift(stored, spare, out=stored)


def _decode(slice_: Slice) -> NDArray[Any]:
    """Decode a compressed slice with whichever plugin knows its transfer syntax."""
    layout = slice_.pixels
    assert layout is not None
    try:
        whole = slice_.frame is not None or layout.syntax in _DEFLATED
        source = _dataset(slice_.path) if whole else slice_.path
        stored = pixel_array(source, index=slice_.frame, raw=True)
    except OSError as error:
        raise unreadable(slice_.path, error) from error
    except BROKEN as error:
        raise _damaged(slice_, "its pixel data cannot be decoded", error) from error
    if stored.shape != (slice_.rows, slice_.columns):
        raise _damaged(slice_, f"its image is {stored.shape} instead of one plane")
    return stored


@lru_cache(maxsize=1)
def _dataset(path: Path) -> pydicom.Dataset:
    """Return a multi-frame file, kept while its frames are decoded."""
    return pydicom.dcmread(path, force=True)


def _to_hounsfield(
    slice_: Slice, stored: NDArray[Any], out: NDArray[np.int16]
) -> NDArray[np.bool_] | None:
    """Write HU of stored values (which may share memory with `out`); return where observed."""
    slope = 1.0 if slice_.slope is None else slice_.slope
    intercept = 0.0 if slice_.intercept is None else slice_.intercept
    padded = None
    if slice_.padding is not None:
        low, high = slice_.padding
        padded = (stored >= low) & (stored <= high) if low < high else stored == low
        padded = padded if padded.any() else None
    bits = slice_.pixels.bits_stored if slice_.pixels else 16
    whole = slope == 1.0 and intercept == int(intercept) and abs(intercept) < 16384
    if whole and bits <= 14 and stored.itemsize == 2:
        np.add(stored.view(np.int16), np.int16(intercept), out=out)
    elif whole and bits <= 16:
        np.clip(stored.astype(np.int32) + int(intercept), -32768, 32767, out=out, casting="unsafe")
    else:
        scaled = stored.astype(np.float64) * slope + intercept
        out[...] = np.clip(np.rint(scaled), -32768, 32767)
    seen = _observed(out, padded, round(intercept + slope * (slice_.padding or (0, 0))[0]))
    np.maximum(out, LOWEST_HU, out=out)
    if padded is not None:
        out[padded] = AIR_HU
    return seen


def _observed(
    values: NDArray[np.int16], padded: NDArray[np.bool_] | None, padding_hu: int
) -> NDArray[np.bool_] | None:
    """Return where a slice was scanned, (j, i) bool, or None for everywhere.

    Padding far below air counts as not scanned wherever it is.  Padding that equals the value of
    air, and values below any tissue without padding being declared, count only when they fill
    everything outside the circle that touches the image's edges: there, nothing was scanned.
    """
    if padded is not None and padding_hu < _NEVER_AIR:
        return ~padded
    outside = _corners(values.shape)
    if padded is not None:
        return None if not padded[outside].all() else ~(outside & padded)
    empty = values[0, 0] < _NEVER_AIR and bool((values[outside] < _NEVER_AIR).all())
    return ~outside if empty else None


@lru_cache(maxsize=4)
def _corners(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels outside the circle that touches the edges, (j, i) bool."""
    rows, columns = shape
    j, i = np.ogrid[:rows, :columns]
    y, x = (2 * j + 1 - rows) / rows, (2 * i + 1 - columns) / columns
    return np.asarray(x * x + y * y > (1 + 2 / min(shape)) ** 2)


def _check_complete(slice_: Slice) -> None:
    """Raise where a file is shorter than its raw pixel values need."""
    layout = slice_.pixels
    if layout is None or layout.offset is None:
        return
    needed = layout.offset + slice_.rows * slice_.columns * layout.bits_allocated // 8
    try:
        size = slice_.path.stat().st_size
    except OSError as error:
        raise unreadable(slice_.path, error) from error
    if size < needed:
        raise _truncated(slice_.path)


def _truncated(path: Path) -> ScanError:
    return ScanError(
        f"{path.name} is truncated: its pixel data ends before the image is complete.",
        "Copy the file again from its source.", file=path,
    )  # fmt: skip


def _damaged(slice_: Slice, what: str, cause: Exception | None = None) -> ScanError:
    syntax = slice_.pixels.syntax if slice_.pixels else ""
    name = pydicom.uid.UID(syntax).name if syntax else "none"
    return ScanError(
        f"{slice_.name} cannot be read: {what} (transfer syntax {name}).",
        "Export the series again, uncompressed if possible.",
        file=slice_.path, transfer_syntax=syntax, cause=cause,
    )  # fmt: skip
