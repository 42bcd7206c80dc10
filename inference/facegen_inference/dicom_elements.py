"""The header values of a common DICOM file, picked from its first bytes without building a dataset.

A series of hundreds of slices spends most of its reading time on headers.  This walks the top-level
elements of little-endian files (DICOM PS3.5, section 7) and converts only those asked for.  All
that is out of the ordinary is left to pydicom: `pick` then returns None.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import UID

_LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT",
             b"UV"}  # fmt: skip
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
_FIRST_READ, _LARGEST_HEADER = 1 << 14, 1 << 22
_IMPLICIT, _DEFLATED, _BIG_ENDIAN = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
RAW_SYNTAXES = (_IMPLICIT, "1.2.840.10008.1.2.1", _DEFLATED, _BIG_ENDIAN)
"""Transfer syntaxes whose pixel values are not compressed by themselves."""


class _Unusual(Exception):
    """The file is for pydicom."""


@dataclass(frozen=True)
class Picked:
    """Header values by keyword, transfer syntax, and where raw pixel values start (or None)."""

    values: Mapping[str, Any]
    syntax: str
    offset: int | None

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return a value, like a pydicom dataset does."""
        return self.values.get(keyword, default)


class Picker:
    """Picks the named attributes out of files.

    Parameters
    ----------
    keywords
        Attributes wanted.  A file in which one of them is a sequence is left to pydicom.
    """

    def __init__(self, keywords: list[str]) -> None:
        self._wanted: dict[int, tuple[str, Callable[[bytes], Any]]] = {}
        for keyword in keywords:
            tag = tag_for_keyword(keyword)
            if tag is not None:
                self._wanted[tag] = (keyword, _converter(dictionary_VR(tag)))

    def pick(self, file: BinaryIO) -> Picked | None:
        """Return the values of an open file, or None where pydicom has to read it."""
        data = file.read(_FIRST_READ)
        if data[128:132] != b"DICM":
            return None
        while True:
            try:
                return self._pick(data)
            except (struct.error, IndexError):
                more = file.read(3 * len(data))
                if not more or len(data) > _LARGEST_HEADER:
                    return None
                data += more
            except (_Unusual, ValueError):
                return None

    def _pick(self, data: bytes) -> Picked:
        """Walk the elements up to the pixel data."""
        syntax, at = _meta(data)
        if syntax in (_DEFLATED, _BIG_ENDIAN) or not UID(syntax).is_transfer_syntax:
            raise _Unusual
        implicit = syntax == _IMPLICIT
        values: dict[str, Any] = {}
        while True:
            tag, length, at = _element(data, at, implicit)
            if tag == _PIXEL_DATA:
                raw = length != _UNDEFINED and syntax in RAW_SYNTAXES
                return Picked(values, syntax, at if raw else None)
            if tag > _PIXEL_DATA:
                raise _Unusual
            if tag in self._wanted:
                keyword, convert = self._wanted[tag]
                if length == _UNDEFINED or at + length > len(data):
                    raise IndexError
                values[keyword] = convert(data[at : at + length])
            at = _past_sequence(data, at, implicit) if length == _UNDEFINED else at + length


def _meta(data: bytes) -> tuple[str, int]:
    """Return the transfer syntax and where the file meta information ends."""
    syntax, at = "", 132
    while data[at : at + 2] == b"\x02\x00":
        tag, length, at = _element(data, at, implicit=False)
        if tag == 0x00020010:
            syntax = data[at : at + length].decode("ascii").strip("\0 ")
        at += length
    return syntax, at


def _element(data: bytes, at: int, implicit: bool) -> tuple[int, int, int]:
    """Return tag, length and start of the value of the element at a place."""
    group, element = struct.unpack_from("<HH", data, at)
    tag = group << 16 | element
    if implicit or group == 0xFFFE:
        return tag, struct.unpack_from("<I", data, at + 4)[0], at + 8
    vr = data[at + 4 : at + 6]
    if vr in _LONG_VRS:
        return tag, struct.unpack_from("<I", data, at + 8)[0], at + 12
    if len(vr) == 2 and not (vr.isalpha() and vr.isupper()):
        raise _Unusual
    return tag, struct.unpack_from("<H", data, at + 6)[0], at + 8


def _past_sequence(data: bytes, at: int, implicit: bool) -> int:
    """Return the end of a sequence of undefined length."""
    while True:
        tag, length, at = _element(data, at, implicit)
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise _Unusual
        at = _past_item(data, at, implicit) if length == _UNDEFINED else at + length


def _past_item(data: bytes, at: int, implicit: bool) -> int:
    """Return the end of an item of undefined length."""
    while True:
        tag, length, at = _element(data, at, implicit)
        if tag == _ITEM_END:
            return at
        at = _past_sequence(data, at, implicit) if length == _UNDEFINED else at + length


def _converter(vr: str) -> Callable[[bytes], Any]:
    """Return what turns the bytes of a value into text, a list of texts, or a number."""
    if vr in ("US", "SS", "US or SS"):
        return _short
    if vr == "SQ":
        return _sequence
    if vr == "FD":
        return _double
    return _words


def _short(value: bytes) -> int | None:
    """Return 16 bits as an unsigned number (`PixelPaddingValue` gets its sign later)."""
    return int.from_bytes(value[:2], "little") if value else None


def _double(value: bytes) -> float | None:
    """Return a double."""
    return float(struct.unpack_from("<d", value)[0]) if value else None


def _words(value: bytes) -> str | list[str] | None:
    """Return text, split where it has several values; other alphabets are pydicom's task."""
    if not value.isascii():
        raise _Unusual
    text = value.decode("ascii").strip("\0 ")
    if not text:
        return None
    return [part.strip() for part in text.split("\\")] if "\\" in text else text


def _sequence(value: bytes) -> None:
    """Leave files with wanted sequences to pydicom."""
    if value:
        raise _Unusual
