"""Landmarks and the Frankfurt frame: on a known head warped and turned, and on what is no head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from facegen_inference.atlas import load_atlas
from facegen_inference.craniometry import find_landmarks_and_frame, frankfurt
from facegen_inference.errors import FrameUnsure, NoHeadFound
from facegen_inference.landmarks import Landmark
from facegen_inference.skull import Skull
from facegen_inference.surface import isosurface
from facegen_inference.volume import Grid

SPACING = 2.0


def smooth_warp(seed: int, size_mm: float):
    """Return u(p): a smooth random displacement of frame points, about `size_mm` large."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(6, 3)) * (2 * np.pi / 160)
    phase = rng.uniform(0, 2 * np.pi, 6)
    push = rng.normal(size=(6, 3)) * size_mm / np.sqrt(3)

    def u(points):
        return np.sin(points @ waves.T + phase) @ push

    return u


def mean_skull_as_patient(u, patient_from_frame, keep=None) -> Skull:
    """Return the atlas's skull, warped by u and placed in patient space."""
    atlas = load_atlas()
    half = 160.0
    n = int(2 * half / SPACING)
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    matrix[2, 0] = matrix[1, 1] = matrix[0, 2] = SPACING
    matrix[:3, 3] = patient_from_frame[:3, 3] - half
    grid = Grid((n, n, n), matrix)
    index = np.indices(grid.shape).reshape(3, -1).T.astype(float)
    inverse = np.linalg.inv(patient_from_frame)
    q = grid.patient_points(index) @ inverse[:3, :3].T + inverse[:3, 3]
    p = q.copy()
    for _ in range(6):
        p = q - u(p)
    values = map_coordinates(
        np.clip(atlas.bone, -20, 40), atlas.grid.voxel_points(p).T, order=1, cval=40.0
    )
    if keep is not None:
        values = np.where(keep(p), values, 40.0)
    distance = values.reshape(grid.shape).astype(np.float32)
    observed = np.ones(grid.shape, dtype=bool)
    return Skull(distance, grid, observed, isosurface(distance, matrix, 0.0))


def pose(pitch=0.0, roll=0.0, yaw=0.0, shift=(30.0, -50.0, 900.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (pitch, roll, yaw), degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def plane_angle(a, b) -> float:
    return float(np.degrees(np.arccos(np.clip(a[:3, 2] @ b[:3, 2], -1, 1))))


@pytest.mark.parametrize(("seed", "turn"), [(1, (0, 0, 0)), (2, (18, -8, 12)), (3, (-22, 6, -15))])
def test_landmarks_of_a_warped_and_turned_head(seed, turn):
    u, placed = smooth_warp(seed, 3.0), pose(*turn)  # about 9 mm RMS at the landmarks
    landmarks, frame = find_landmarks_and_frame(mean_skull_as_patient(u, placed))
    truth = {}
    for code, point in load_atlas().landmarks.items():
        p = np.array(point)
        truth[code] = (p + u(p[None])[0]) @ placed[:3, :3].T + placed[:3, 3]
    errors = {
        code: np.linalg.norm(np.array(landmarks[code].position) - truth[code]) for code in truth
    }
    assert np.median(list(errors.values())) <= 3.0, errors
    assert plane_angle(frame.patient_from_frame, frankfurt(truth)) <= 2.0
    left, right = (np.array(landmarks[c].position) for c in ("zy-L", "zy-R"))
    assert (np.linalg.inv(placed[:3, :3]) @ (left - right))[0] > 100  # never mirrored


def test_missing_mandible_is_inferred_not_found():
    skull = mean_skull_as_patient(
        smooth_warp(4, 2.0),
        pose(),
        keep=lambda p: (p[:, 2] > -44) & ((p[:, 2] > -30) | (p[:, 1] < -60)),
    )
    landmarks, _ = find_landmarks_and_frame(skull)
    for code in ("me", "pg", "go-L", "go-R", "mmb-L"):
        assert landmarks[code].provenance == "inferred"
    for code in ("n", "po-L", "or-R", "zy-L"):
        assert landmarks[code].provenance == "automatic"


def test_given_points_make_the_frame_and_are_kept():
    placed = pose(5, 3, -4)
    skull = mean_skull_as_patient(smooth_warp(5, 2.0), placed)
    given = {}
    for code in ("po-L", "po-R", "or-L"):
        x, y, z = np.array(load_atlas().landmarks[code]) @ placed[:3, :3].T + placed[:3, 3]
        given[code] = Landmark(code, (x, y, z))
    landmarks, frame = find_landmarks_and_frame(skull, given)
    assert frame.method == "given"
    assert landmarks["or-L"].position == given["or-L"].position
    assert landmarks["or-L"].provenance == "manual"


@pytest.mark.parametrize("turn", [(180, 0, 0), (0, 0, 180), (0, 180, 0)])
def test_a_head_lying_another_way_than_the_file_says_is_asked_about(turn):
    skull = mean_skull_as_patient(smooth_warp(6, 2.0), pose(*turn))
    with pytest.raises(FrameUnsure) as caught:
        find_landmarks_and_frame(skull)
    assert caught.value.advice


def test_a_wrong_start_is_not_believed():
    """A placement 30° off, as a wrong earlier step would hand over, is found to be wrong."""
    placed = pose()
    skull = mean_skull_as_patient(smooth_warp(7, 2.0), placed)
    wrong = np.linalg.inv(pose(pitch=30))
    _, frame = find_landmarks_and_frame(replace(skull, placed=wrong))
    assert plane_angle(frame.patient_from_frame, placed) < 4.0


@pytest.mark.parametrize("shape", ["sphere", "rods"])
def test_what_is_no_head_is_refused(shape):
    n = 100
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])[:, [2, 1, 0, 3]]
    grid = Grid((n, n, n), matrix)
    k, j, i = np.indices(grid.shape)
    if shape == "sphere":
        distance = np.abs(np.sqrt((k - 50) ** 2 + (j - 50) ** 2 + (i - 50) ** 2) * 2 - 80) - 3
    else:
        distance = np.minimum(np.hypot(j - 40, i - 35), np.hypot(j - 60, i - 70)) * 2 - 12
    distance = np.clip(distance, -40, 40).astype(np.float32)
    skull = Skull(distance, grid, np.ones(grid.shape, bool), isosurface(distance, matrix, 0.0))
    with pytest.raises((NoHeadFound, FrameUnsure)):
        find_landmarks_and_frame(skull)
