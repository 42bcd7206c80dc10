"""A triangle mesh in patient space."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Attributes
    ----------
    vertices
        (N, 3) float64, LPS mm.
    triangles
        (M, 3) int32, counter-clockwise seen from outside.
    vertex_data
        Name → (N,) float32, e.g. ``spread_mm``, ``thickness_mm``.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int32]
    vertex_data: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def transformed(self, matrix: NDArray[np.float64]) -> Mesh:
        """Return the mesh under a 4×4 matrix; triangles are turned when it mirrors."""
        vertices = self.vertices @ matrix[:3, :3].T + matrix[:3, 3]
        triangles = self.triangles
        if np.linalg.det(matrix[:3, :3]) < 0:
            triangles = np.ascontiguousarray(triangles[:, ::-1])
        return Mesh(vertices, triangles, dict(self.vertex_data))

    def normals(self) -> NDArray[np.float64]:
        """Return unit vertex normals pointing outward, (N, 3), weighted by triangle area."""
        a, b, c = (self.vertices[self.triangles[:, n]] for n in range(3))
        face = np.cross(b - a, c - a)
        total = np.zeros_like(self.vertices)
        for n in range(3):
            for axis in range(3):
                total[:, axis] += np.bincount(
                    self.triangles[:, n], face[:, axis], minlength=len(self.vertices)
                )
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return np.asarray(total / np.maximum(length, 1e-12))

    def kept(self, keep: NDArray[np.bool_]) -> Mesh:
        """Return the part of the mesh whose triangles have all three vertices in `keep` (N,)."""
        triangles = self.triangles[keep[self.triangles].all(axis=1)]
        used = np.zeros(len(self.vertices), dtype=bool)
        used[triangles] = True
        index = np.cumsum(used, dtype=np.int32) - 1
        return Mesh(
            self.vertices[used],
            np.asarray(index[triangles], dtype=np.int32),
            {name: values[used] for name, values in self.vertex_data.items()},
        )
