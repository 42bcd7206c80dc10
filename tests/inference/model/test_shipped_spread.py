"""The model that ships over the mean skull: alternatives, and what a missing mandible does."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from facegen_inference.alternatives import APART_MM
from facegen_inference.atlas import load_atlas
from facegen_inference.closest import ClosestOnSurface
from facegen_inference.face import Face
from facegen_inference.face_region import REGION_NAMES, face_regions
from facegen_inference.face_surface import THINNEST_MM
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmark
from facegen_inference.mesh import Mesh
from facegen_inference.neural import predict_face
from facegen_inference.progress import silent
from facegen_inference.reconstruct import Request
from facegen_inference.skull import Skull

UPRIGHT = Frame(np.eye(4), "given", 0.0, 1.0)
COARSE_MM = 4.0


@pytest.fixture(scope="module")
def skull() -> Skull:
    atlas = load_atlas()
    nothing = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32))
    seen = np.ones(atlas.grid.shape, dtype=bool)
    return Skull(atlas.bone, atlas.grid, seen, nothing, voxel_mm=COARSE_MM)


def faces(skull: Skull, variants: int) -> Face:
    points = {code: Landmark(code, xyz) for code, xyz in load_atlas().landmarks.items()}
    request = Request(variants=variants, device="cpu", seed=3)
    return predict_face(skull, UPRIGHT, points, request, silent)


def apart_mm(one: Mesh, other: Mesh) -> float:
    """Root mean square distance, both ways."""
    ways = [
        ClosestOnSurface(b).query(a.vertices[::10]).distance
        for a, b in ((one, other), (other, one))
    ]
    return float(np.sqrt(np.mean([(way**2).mean() for way in ways])))


def test_eight_alternatives_differ_and_none_lies_in_the_bone(skull: Skull) -> None:
    variants = faces(skull, 8).variants
    assert len({variant.name for variant in variants}) == 8
    for one, other in combinations(variants, 2):
        assert apart_mm(one.mesh, other.mesh) >= APART_MM, (one.name, other.name)
    for variant in variants:
        depth = variant.mesh.vertex_data["thickness_mm"]
        assert np.nanmin(depth) > 0.3, f"{variant.name}: 0 is in the bone"
        assert np.nanquantile(depth, 0.01) > 0.7 * THINNEST_MM, variant.name


def test_without_mandible_the_spread_of_chin_and_jaw_line_about_doubles(skull: Skull) -> None:
    atlas = load_atlas()
    points = atlas.grid.patient_points(np.indices(atlas.grid.shape).reshape(3, -1).T.astype(float))
    x, y, z = points.T
    ramus = np.minimum(np.minimum(np.abs(x) - 36, -8 - z), 8 - y)
    inside = np.maximum(-52 - 0.1 * (y + 80) - z, ramus).reshape(atlas.grid.shape)
    lacking = replace(skull, distance=np.maximum(atlas.bone, inside).astype(np.float32))

    def spread(face: Face) -> dict[str, float]:
        code = face_regions(face.mesh.vertices, atlas.landmarks)
        values = face.mesh.vertex_data["spread_mm"]
        return {name: float(values[code == n].mean()) for n, name in enumerate(REGION_NAMES) if n}

    whole, without = spread(faces(skull, 0)), spread(faces(lacking, 0))
    ratio = {name: without[name] / whole[name] for name in whole}
    assert ratio["chin"] > 1.7
    assert ratio["jaw line"] > 1.5
    assert [ratio[name] for name in ("brow", "orbits", "nose")] == pytest.approx([1, 1, 1], abs=0.1)
