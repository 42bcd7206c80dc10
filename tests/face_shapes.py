"""Made-up faces: a smooth half cylinder with features, varied at random, as meshes in the frame."""

from __future__ import annotations

import numpy as np

from facegen_inference.mesh import Mesh


def face(seed: int, detail_mm: float = 0.5, size: float = 1.0, stretch: float = 0.0) -> Mesh:
    """Return somebody's face in the Frankfurt frame, cut like the scored region, 4 mm triangles.

    Parameters
    ----------
    seed
        Who: six smooth ways of varying, 3 mm each, and detail of their own.
    detail_mm
        Standard deviation of the detail.
    size
        Factor about the middle of the face.
    stretch
        Millimetres along the first way of varying, for one that is known.
    """
    random = np.random.default_rng(seed)
    azimuth = np.linspace(-1.3, 1.3, 56)
    height = np.linspace(-95.0, 66.0, 42)
    z, a = np.meshgrid(height, azimuth, indexing="ij")
    radius = 88 - 0.0022 * (z + 10) ** 2 + 14 * np.exp(-((a / 0.16) ** 2) - ((z + 20) / 18) ** 2)
    radius += 7 * np.exp(-(((a / 0.3) ** 2) + ((z + 85) / 12) ** 2))
    radius += 6 * np.exp(-(((z - 38) / 9) ** 2))
    radius -= 9 * np.exp(-(((np.abs(a) - 0.42) / 0.17) ** 2) - ((z - 20) / 9) ** 2)
    amounts = random.normal(0, 3, 6)
    amounts[0] += stretch
    ways = (
        np.ones_like(a),
        z / 60,
        np.cos(3 * a),
        np.exp(-((a / 0.3) ** 2) - ((z + 20) / 25) ** 2),
        np.exp(-((np.abs(a) - 0.7) ** 2) / 0.08 - ((z + 40) / 30) ** 2),
        np.exp(-(((z - 45) / 15) ** 2)),
    )
    radius = radius + sum(n * way for n, way in zip(amounts, ways, strict=True))
    radius += random.normal(0, detail_mm, radius.shape)
    points = np.stack([radius * np.sin(a), -15 - radius * np.cos(a), z], axis=-1).reshape(-1, 3)
    middle = np.array([0.0, -80.0, -20.0])
    rows, columns = z.shape
    n = np.arange(rows * columns).reshape(rows, columns)
    low = np.stack([n[:-1, :-1], n[:-1, 1:], n[1:, :-1]], axis=-1).reshape(-1, 3)
    high = np.stack([n[:-1, 1:], n[1:, 1:], n[1:, :-1]], axis=-1).reshape(-1, 3)
    triangles = np.concatenate([low, high]).astype(np.int32)
    return Mesh(middle + size * (points - middle), triangles)


def people(count: int, first: int = 0) -> dict[str, Mesh]:
    """Return person → face."""
    return {f"person_{n:02d}": face(n) for n in range(first, first + count)}


def nearer_the_mean(mesh: Mesh, mean: Mesh, share: float) -> Mesh:
    """Return what a method might predict: a share of the way from the mean face to the true."""
    return Mesh(mean.vertices + share * (mesh.vertices - mean.vertices), mesh.triangles)
