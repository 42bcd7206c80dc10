"""Points placed by hand whose left and right are exchanged never make a frame."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from facegen_inference.atlas import load_atlas
from facegen_inference.craniometry import FRAME_CODES, frankfurt
from facegen_inference.errors import FrameUnsure
from facegen_inference.frame import Frame
from facegen_inference.given_frame import check_sides
from facegen_inference.landmarks import Landmark
from facegen_inference.skull import Skull
from facegen_inference.surface import isosurface
from facegen_inference.volume import Grid

PARTS = {
    "whole": lambda p: np.ones(len(p), bool),
    "no face": lambda p: p[:, 2] > -5,
    "no mandible": lambda p: p[:, 2] > -44,
    "cut above the orbits": lambda p: p[:, 2] < 40,
    "front half": lambda p: p[:, 1] < 10,
}
PLACED = np.eye(4)
PLACED[:3, :3] = Rotation.from_euler("xyz", (150, 20, -40), degrees=True).as_matrix()
PLACED[:3, 3] = 30.0, -50.0, 900.0


def warped(points, seed=1):
    """Return frame points moved by smooth waves, about 5 mm on average."""
    rng = np.random.default_rng(seed)
    waves, push = rng.normal(size=(6, 3)) * (2 * np.pi / 160), rng.normal(size=(6, 3)) * 1.7
    return points + np.sin(points @ waves.T) @ push


def skull_of(part: str) -> Skull:
    """Return part of the mean skull, warped, lying head over heels in patient space."""
    atlas, n = load_atlas(), 128
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    matrix[2, 0] = matrix[1, 1] = matrix[0, 2] = 2.5
    matrix[:3, 3] = PLACED[:3, 3] - 160
    grid = Grid((n, n, n), matrix)
    inverse = np.linalg.inv(PLACED)
    index = np.indices(grid.shape).reshape(3, -1).T.astype(float)
    points = grid.patient_points(index) @ inverse[:3, :3].T + inverse[:3, 3]
    values = map_coordinates(
        np.clip(atlas.bone, -20, 40), atlas.grid.voxel_points(warped(points)).T, order=1, cval=40.0
    )
    distance = np.where(PARTS[part](points), values, 40.0).reshape(grid.shape).astype(np.float32)
    return Skull(distance, grid, np.ones(grid.shape, bool), isosurface(distance, matrix, 0.0))


def by_hand(codes, exchanged=()):
    """Return the atlas's points as placed by hand, some with left and right exchanged."""
    points = {}
    for code in codes:
        side = {"L": "R", "R": "L"}[code[-1]] if code[:2] in exchanged else code[-1]
        place = np.array(load_atlas().landmarks[f"{code[:-1]}{side}"])
        x, y, z = PLACED[:3, :3] @ place + PLACED[:3, 3]
        points[code] = Landmark(code, (x, y, z), "manual")
    return points


def frame_of(points) -> Frame:
    found = {c: np.array(points[c].position) for c in FRAME_CODES}
    return Frame(frankfurt(found), "given", 0.0, 1.0)


@pytest.mark.parametrize("part", list(PARTS))
def test_exchanged_porions_are_told_by_the_bone(part):
    skull = skull_of(part)
    right = by_hand(FRAME_CODES)
    check_sides(skull, right, frame_of(right))
    wrong = by_hand(FRAME_CODES, exchanged=("po", "or"))
    with pytest.raises(FrameUnsure, match="porion seem to be exchanged") as caught:
        check_sides(skull, wrong, frame_of(wrong))
    assert caught.value.details["landmarks"] == wrong


def test_one_exchanged_pair_is_named():
    skull, codes = skull_of("whole"), (*FRAME_CODES, "zy-L", "zy-R")
    wrong = by_hand(codes, exchanged=("zy",))
    with pytest.raises(FrameUnsure, match="zy-L and zy-R are exchanged"):
        check_sides(skull, wrong, frame_of(wrong))


def test_points_found_by_the_program_are_not_judged():
    skull, wrong = skull_of("whole"), by_hand(FRAME_CODES, exchanged=("po", "or"))
    found = {c: Landmark(c, p.position, "automatic") for c, p in wrong.items()}
    check_sides(skull, found, frame_of(wrong))
