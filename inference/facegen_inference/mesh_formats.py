"""The bytes of STL, PLY and OBJ files, to and from plain arrays.

STL: fabbers.com/tech/STL_Format; PLY: paulbourke.net/dataformats/ply; OBJ: the ``v`` and ``f``
lines of paulbourke.net/dataformats/obj.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from facegen_inference.mesh import Mesh

_STL_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])
_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip


@dataclass(frozen=True)
class RawMesh:
    """What a file holds: vertices (N, 3) in its unit, triangles (M, 3), axes and unit if named."""

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int32]
    space: str | None
    units: str | None
    vertex_data: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def parse(data: bytes, ending: str) -> RawMesh:
    """Return the mesh in the bytes of a ``.stl``, ``.ply`` or ``.obj`` file.

    Raises
    ------
    ValueError, IndexError, KeyError
        The bytes are no such file, or cut short.
    """
    if ending == ".stl":
        return _parse_stl(data)
    return _parse_ply(data) if ending == ".ply" else _parse_obj(data)


def encode(mesh: Mesh, ending: str) -> Iterator[bytes]:
    """Yield the bytes of a mesh as a file of the given ending."""
    if ending == ".stl":
        return _encode_stl(mesh)
    return _encode_ply(mesh) if ending == ".ply" else _encode_obj(mesh)


def _named(text: str) -> tuple[str | None, str | None]:
    """Return axes (LPS or RAS) and unit (mm, cm, m) that a header or comments name."""
    space = re.search(r"SPACE\s*[=:]\s*(LPS|RAS)\b", text, re.IGNORECASE)
    unit = re.search(r"UNITS?\s*[=:]\s*(mm|cm|m)\b", text, re.IGNORECASE)
    return (space[1].upper() if space else None), (unit[1].lower() if unit else None)


def _parse_stl(data: bytes) -> RawMesh:
    """Read a binary or text STL; equal corners become one vertex."""
    count = int.from_bytes(data[80:84], "little")
    if len(data) >= 84 and len(data) == 84 + 50 * count:
        corners = np.frombuffer(data, _STL_RECORD, count, 84)["corners"].reshape(-1, 3)
        header = data[:80].decode("latin-1")
    elif data[:5].lower() == b"solid" and b"facet" in data[:2000]:
        if b"endsolid" not in data[-400:]:
            raise ValueError("text STL without its end")
        header = data[:400].decode("latin-1").split("facet")[0]
        found = re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", data)
        corners = np.array(found).astype(np.float32)
    else:
        raise ValueError("neither a complete binary nor a text STL")
    if len(corners) % 3 or not len(corners):
        raise ValueError("triangles without three corners")
    vertices, triangles = _merged(np.ascontiguousarray(corners + np.float32(0.0)))
    return RawMesh(vertices, triangles, *_named(header))


def _merged(corners: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Join equal corners (3·M, 3) to vertices, in the order of their first use, and triangles."""
    bits = corners.view(np.uint32).astype(np.uint64)
    # A hash that is checked afterwards sorts many times faster than the coordinates themselves.
    keys = bits[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ bits[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
    keys = (keys ^ keys >> np.uint64(29)) * np.uint64(0x165667B19E3779F9)
    keys ^= bits[:, 2] * np.uint64(0xD6E8FEB86659FD93)
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    if not np.array_equal(bits[first][index], bits):
        _, first, index = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(first), dtype=np.int32)
    rank[order] = np.arange(len(first), dtype=np.int32)
    return corners[first[order]].astype(np.float64), rank[index].reshape(-1, 3)


def _encode_stl(mesh: Mesh) -> Iterator[bytes]:
    """Yield a binary STL."""
    yield b"FaceGen SPACE=LPS UNITS=mm".ljust(80)
    yield len(mesh.triangles).to_bytes(4, "little")
    records = np.zeros(len(mesh.triangles), _STL_RECORD)
    corners = mesh.vertices[mesh.triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    records["normal"] = normal / np.maximum(length, 1e-30)
    records["corners"] = corners
    yield records.tobytes()


def _parse_obj(data: bytes) -> RawMesh:
    """Read the ``v`` and ``f`` lines of an OBJ; faces of more corners become fans."""
    lines = data.splitlines()
    points = [line[2:] for line in lines if line.startswith((b"v ", b"v\t"))]
    faces = [line[2:] for line in lines if line.startswith((b"f ", b"f\t"))]
    comments = [line for line in lines[:2000] if line.startswith(b"#")]
    width = len(points[0].split()) if points else 3
    numbers = np.array([float(w) for w in b" ".join(points).split()]).reshape(len(points), width)
    triangles = _faces(faces, len(points))
    named = _named(b"\n".join(comments[:50]).decode("latin-1"))
    return RawMesh(np.ascontiguousarray(numbers[:, :3]), triangles, *named)


def _faces(lines: list[bytes], points: int) -> NDArray[np.int32]:
    """Return the triangles of OBJ faces; negative numbers count from the last point."""
    plain = re.sub(rb"/[^ \t\n]*", b"", b"\n".join(lines))
    words = plain.split()
    if len(words) == 3 * len(lines):
        corners = np.array([int(w) for w in words], dtype=np.int64).reshape(-1, 3)
    else:
        fans = [[int(w) for w in line.split()] for line in plain.split(b"\n")]
        found = [(f[0], b, c) for f in fans for b, c in pairwise(f[1:])]
        corners = np.array(found, dtype=np.int64).reshape(-1, 3)
    return np.where(corners > 0, corners - 1, corners + points).astype(np.int32)


def _encode_obj(mesh: Mesh) -> Iterator[bytes]:
    """Yield an OBJ."""
    yield b"# FaceGen SPACE=LPS UNITS=mm\n"
    for start in range(0, len(mesh.vertices), 50_000):
        rows = mesh.vertices[start : start + 50_000].tolist()
        yield "".join(f"v {x:.5f} {y:.5f} {z:.5f}\n" for x, y, z in rows).encode()
    for start in range(0, len(mesh.triangles), 50_000):
        faces = (mesh.triangles[start : start + 50_000] + 1).tolist()
        yield "".join(f"f {a} {b} {c}\n" for a, b, c in faces).encode()


def _parse_ply(data: bytes) -> RawMesh:
    """Read a PLY, text or binary: vertex coordinates, float vertex properties, faces."""
    end = data.index(b"end_header")
    body = data.index(b"\n", end) + 1
    lines = [line.split() for line in data[:end].decode("latin-1").splitlines()]
    if not lines or lines[0] != ["ply"]:
        raise ValueError("no PLY header")
    kind = next(words[1] for words in lines if words[:1] == ["format"])
    elements: list[tuple[str, int, list[list[str]]]] = []
    for words in lines:
        if words[:1] == ["element"]:
            elements.append((words[1], int(words[2]), []))
        elif words[:1] == ["property"]:
            elements[-1][2].append(words[1:])
    reader = _text_elements if kind == "ascii" else _binary_elements
    order = ">" if kind == "binary_big_endian" else "<"
    vertices, triangles = reader(data[body:], elements, order)
    names = vertices.dtype.names or ()
    points = np.stack([vertices[axis].astype(np.float64) for axis in "xyz"], axis=1)
    extra = {
        n: vertices[n].astype(np.float32) for n in names
        if n not in ("x", "y", "z", "nx", "ny", "nz") and vertices[n].dtype.kind == "f"
    }  # fmt: skip
    comments = "\n".join(" ".join(w) for w in lines if w[:1] in (["comment"], ["obj_info"]))
    return RawMesh(points, triangles, *_named(comments), extra)


def _vertex_type(properties: list[list[str]], order: str) -> np.dtype[np.void]:
    """Return the record type of an element without lists."""
    return np.dtype([(p[-1], order + _PLY_TYPES[p[0]]) for p in properties])


def _binary_elements(
    data: bytes, elements: list[tuple[str, int, list[list[str]]]], order: str
) -> tuple[NDArray[np.void], NDArray[np.int32]]:
    """Return vertex records and triangles of a binary body."""
    at = 0
    vertices, triangles = np.zeros(0, np.dtype([(a, "f4") for a in "xyz"])), np.zeros((0, 3), "i4")
    for name, count, properties in elements:
        if all(p[0] != "list" for p in properties):
            records = np.frombuffer(data, _vertex_type(properties, order), count, at)
            at += records.nbytes
            vertices = records if name == "vertex" else vertices
            continue
        if name != "face":
            raise ValueError(f"lists in element {name}")
        fields = []
        for p in properties:
            if p[0] == "list":
                size = order + _PLY_TYPES[p[1]]
                fields += [("count", size), ("corners", order + _PLY_TYPES[p[2]], 3)]
            else:
                fields.append((p[-1], order + _PLY_TYPES[p[0]]))
        faces = np.frombuffer(data, np.dtype(fields), count, at)
        if (faces["count"] != 3).any():
            raise ValueError("faces that are no triangles")
        at += faces.nbytes
        triangles = faces["corners"].astype(np.int32)
    return vertices, triangles


def _text_elements(
    data: bytes, elements: list[tuple[str, int, list[list[str]]]], order: str
) -> tuple[NDArray[np.void], NDArray[np.int32]]:
    """Return vertex records and triangles of a text body (`order` has no meaning there)."""
    lines = data.decode("latin-1").splitlines()
    at = 0
    vertices, triangles = np.zeros(0, np.dtype([(a, "f4") for a in "xyz"])), np.zeros((0, 3), "i4")
    for name, count, properties in elements:
        rows = lines[at : at + count]
        at += count
        if len(rows) != count:
            raise ValueError("too few lines")
        if name == "vertex":
            kind = _vertex_type(properties, order)
            vertices = np.array([tuple(map(float, r.split())) for r in rows]).astype("f8").T
            vertices = np.rec.fromarrays(list(vertices), dtype=kind)
        elif name == "face":
            corners = [[int(w) for w in r.split()] for r in rows]
            if any(c[0] != 3 for c in corners):
                raise ValueError("faces that are no triangles")
            triangles = np.array([c[1:4] for c in corners], dtype=np.int32).reshape(-1, 3)
    return vertices, triangles


def _encode_ply(mesh: Mesh) -> Iterator[bytes]:
    """Yield a binary little-endian PLY; each vertex datum is a float property."""
    names = list(mesh.vertex_data)
    header = ["ply", "format binary_little_endian 1.0", "comment FaceGen", "comment SPACE=LPS",
              "comment UNITS=mm", f"element vertex {len(mesh.vertices)}"]  # fmt: skip
    header += [f"property float {name}" for name in ("x", "y", "z", *names)]
    header += [f"element face {len(mesh.triangles)}", "property list uchar int vertex_indices",
               "end_header", ""]  # fmt: skip
    yield "\n".join(header).encode("ascii")
    columns: list[NDArray[np.floating]] = [mesh.vertices]
    columns += [mesh.vertex_data[name][:, None] for name in names]
    yield np.hstack(columns).astype("<f4").tobytes()
    faces = np.empty(len(mesh.triangles), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    faces["count"] = 3
    faces["corners"] = mesh.triangles
    yield faces.tobytes()
