"""Whether a mesh bounds a body: closed, all triangles facing the same way, and that way outward."""

from __future__ import annotations

import numpy as np

from facegen_inference.errors import ScanError
from facegen_inference.mesh import Mesh

_OPEN_ALLOWED = 0.02
_TURNED_ALLOWED = 0.001


def outward(mesh: Mesh, name: str) -> tuple[Mesh, list[str]]:
    """Return the mesh with triangles facing outward, and warnings.

    Raises
    ------
    ScanError
        It has large holes, or its triangles face both ways.
    """
    mesh = _without_flat(mesh)
    sentences = []
    open_edges, turned_edges, edges = _count_edges(mesh)
    if turned_edges > _TURNED_ALLOWED * edges:
        raise ScanError(
            f"The triangles of {name} do not all face the same way.",
            "Make its normals consistent in a mesh program.",
            turned_edges=turned_edges,
        )
    share = open_edges / edges
    if share > _OPEN_ALLOWED:
        raise ScanError(
            f"The surface of {name} is not closed: {share:.0%} of its edges are open.",
            "Close its holes in a mesh program, or use the CT.",
            open_edges=open_edges,
        )
    if share > 0:
        sentences.append(f"The surface has small holes ({open_edges} open edges).")
    if _signed_volume(mesh) < 0:
        mesh = Mesh(
            mesh.vertices, np.ascontiguousarray(mesh.triangles[:, ::-1]), mesh.vertex_data
        )  # fmt: skip
        sentences.append("The triangles faced inward and were turned.")
    return mesh, sentences


def _count_edges(mesh: Mesh) -> tuple[int, int, int]:
    """Return how many edges are open, how many lie between triangles facing two ways, and all.

    In a closed, consistent surface each edge is walked equally often in both directions.
    """
    starts, ends = mesh.triangles.ravel(), np.roll(mesh.triangles, -1, axis=1).ravel()
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    keys = (low.astype(np.int64) * len(mesh.vertices) + high) * 2 + (starts < ends)
    keys.sort()
    first = np.flatnonzero(np.diff(keys >> 1, prepend=-1))
    balance = np.abs(np.add.reduceat((keys & 1) * 2 - 1, first))
    return int((balance == 1).sum()), int((balance > 1).sum()), len(first)


def _without_flat(mesh: Mesh) -> Mesh:
    """Leave out triangles that use a point twice."""
    a, b, c = mesh.triangles.T
    keep = (a != b) & (b != c) & (c != a)
    triangles = mesh.triangles if keep.all() else mesh.triangles[keep]
    return Mesh(mesh.vertices, triangles.astype(np.int32, copy=False), mesh.vertex_data)


def _signed_volume(mesh: Mesh) -> float:
    """Return the volume inside in mm³, negative where triangles face inward."""
    centred = mesh.vertices - mesh.vertices.mean(axis=0)
    a, b, c = (centred[mesh.triangles[:, n]] for n in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)
