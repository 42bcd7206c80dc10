"""Each rule on a piece of bone whose point is known, and all of them on the mean skull."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facegen_inference.atlas import load_atlas
from facegen_inference.landmark_rules import RULES, Bone, extreme, nasal_root, on_bone
from facegen_inference.surface import isosurface


def sheet(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return every pair of the two ranges, (N, 2)."""
    return np.stack([a.ravel() for a in np.meshgrid(u, v, indexing="ij")], axis=1)


def test_an_extreme_is_the_farthest_bone_and_stays_in_its_slab() -> None:
    xy = sheet(np.arange(-20, 20, 0.5), np.arange(-20, 20, 0.5))
    z = -((xy[:, 0] - 4) ** 2 + (xy[:, 1] + 2) ** 2) / 4
    bone = Bone(np.column_stack([xy, z]))
    start = np.array([3.0, 0.0, -1.0])
    free = extreme(start, bone, (0, 0, 1))
    assert free is not None
    assert np.linalg.norm(free - [4, -2, 0]) < 1.5
    held = extreme(start, bone, (0, 0, 1), slab=0.2)
    assert held is not None
    assert held[0] == 3.0
    assert extreme(np.array([90.0, 0, 0]), bone, (0, 0, 1)) is None


def test_nasion_is_the_deepest_point_of_the_profile() -> None:
    z = np.arange(0.0, 45.0, 0.5)
    y = -90.0 - np.abs(z - 26.0) * 0.5
    profile = np.column_stack([np.zeros_like(z), y, z])
    found = nasal_root(np.array([0.0, -92.0, 23.0]), Bone(profile))
    assert found is not None
    assert abs(found[2] - 26.0) <= 2.0
    assert nasal_root(np.array([0.0, 0.0, 0.0]), Bone(profile)) is None


def test_rules_leave_the_landmarks_of_the_mean_skull_where_they_are() -> None:
    """What the rules mean by a point is what the table of the mean skull means by it."""
    atlas = load_atlas()
    bone = Bone(isosurface(atlas.bone, atlas.grid.patient_from_voxel, 0.0).vertices)
    moved = {c: np.array(atlas.landmarks[c]) for c in RULES}
    away = {c: float(np.linalg.norm(on_bone(c, p, bone)[0] - p)) for c, p in moved.items()}
    assert max(away.values()) < 4.5, away
    assert np.median(list(away.values())) < 2.0, away


def test_both_sides_follow_mirrored_rules() -> None:
    """Mirrored bone gives mirrored points."""
    atlas = load_atlas()
    surface = isosurface(atlas.bone, atlas.grid.patient_from_voxel, 0.0).vertices
    mirror = np.array([-1.0, 1.0, 1.0])
    bone, other = Bone(surface), Bone(surface * mirror)
    for code in (c for c in RULES if c.endswith("-L")):
        point = np.array(atlas.landmarks[code])
        left, _ = on_bone(code, point, bone)
        right, _ = on_bone(code[:-1] + "R", point * mirror, other)
        np.testing.assert_allclose(right * mirror, left, atol=1e-9, err_msg=code)
