"""A first look into an ONNX file before any runtime is given it.

Reads the protocol-buffer structure just far enough to see which operator domains and sets a file
uses and whether it points to other files; builds nothing and needs no ONNX package.  Field
numbers are those of ``onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_DEPTH = 12
MAX_NODES = 200_000


class NotOnnxError(ValueError):
    """The bytes are no ONNX model, or only the beginning of one."""


@dataclass
class Inventory:
    """What was seen in a file.

    Attributes
    ----------
    opsets
        Operator domain → version, the default domain under ``""``.
    domains
        Domains of the nodes used.
    external
        True when some tensor is stored outside the file.
    nodes
        How many nodes there are.
    functions
        How many functions the file defines for itself.
    """

    opsets: dict[str, int] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    external: bool = False
    nodes: int = 0
    functions: int = 0


def take_inventory(data: bytes) -> Inventory:
    """Look through an ONNX file.

    Raises
    ------
    NotOnnxError
        When the structure breaks off or there is no graph.
    """
    seen = Inventory()
    has_graph = False
    for number, value in _fields(memoryview(data)):
        if number == 7:
            _graph(_message(value), seen, 0)
            has_graph = True
        elif number == 8:
            _opset(_message(value), seen)
        elif number == 25:
            seen.functions += 1
    if not has_graph or not seen.opsets:
        raise NotOnnxError("no graph")
    return seen


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return a variable-length integer and the place after it."""
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise NotOnnxError("breaks off")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return result, at
    raise NotOnnxError("number too long")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) of one message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise NotOnnxError("field 0")
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise NotOnnxError("unknown wire type")
        if at + size > len(data):
            raise NotOnnxError("breaks off")
        yield number, data[at : at + size]
        at += size


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise NotOnnxError("a message was expected")
    return value


def _text(value: int | memoryview) -> str:
    try:
        return bytes(_message(value)).decode()
    except UnicodeDecodeError as error:
        raise NotOnnxError("text was expected") from error


def _opset(data: memoryview, seen: Inventory) -> None:
    domain, version = "", 0
    for number, value in _fields(data):
        if number == 1:
            domain = _text(value)
        elif number == 2 and isinstance(value, int):
            version = value
    seen.opsets["" if domain == "ai.onnx" else domain] = version


def _graph(data: memoryview, seen: Inventory, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotOnnxError("graphs nested too deep")
    for number, value in _fields(data):
        if number == 1:
            _node(_message(value), seen, depth)
        elif number == 5:
            _tensor(_message(value), seen)
        elif number == 15:  # sparse initialisers: values and indices are tensors
            for inner, part in _fields(_message(value)):
                if inner in (1, 2):
                    _tensor(_message(part), seen)


def _node(data: memoryview, seen: Inventory, depth: int) -> None:
    seen.nodes += 1
    if seen.nodes > MAX_NODES:
        raise NotOnnxError("too many nodes")
    domain = ""
    for number, value in _fields(data):
        if number == 7:
            domain = _text(value)
        elif number == 5:
            for inner, part in _fields(_message(value)):
                if inner in (5, 10):
                    _tensor(_message(part), seen)
                elif inner in (6, 11):
                    _graph(_message(part), seen, depth + 1)
    seen.domains.add("" if domain == "ai.onnx" else domain)


def _tensor(data: memoryview, seen: Inventory) -> None:
    for number, value in _fields(data):
        if number == 13 or (number == 14 and value == 1):
            seen.external = True
