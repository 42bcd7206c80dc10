from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from facegen_inference.errors import ModelError
from facegen_inference.frame import Frame
from facegen_inference.mesh import Mesh
from facegen_inference.preprocess import PreprocessSpec, preprocess
from facegen_inference.skull import Skull
from facegen_inference.volume import Grid

SPEC = PreprocessSpec(shape=(40, 40, 32), spacing_mm=6.0, origin_mm=(-95.0, -119.0, -111.0))
NO_MESH = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32))
CENTRE = np.array([30.0, -40.0, 10.0])
"""Of a ball of bone in the frame: left, front and up of the origin."""


def ball(frame: Frame, seen_below: float = np.inf) -> Skull:
    """A ball of bone of 25 mm radius, seen by the scanner only below a frame height."""
    matrix = np.eye(4)
    matrix[:3, :3] = 3.0 * np.eye(3)[:, ::-1]
    middle = frame.patient_from_frame[:3, :3] @ CENTRE + frame.patient_from_frame[:3, 3]
    matrix[:3, 3] = middle - 99.0
    grid = Grid((67, 67, 67), matrix)
    points = grid.patient_points(np.indices(grid.shape).reshape(3, -1).T.astype(float))
    m = frame.frame_from_patient
    points = points @ m[:3, :3].T + m[:3, 3]
    distance = np.clip(np.linalg.norm(points - CENTRE, axis=1) - 25, -40, 40)
    observed = points[:, 2] < seen_below
    return Skull(
        distance.reshape(grid.shape).astype(np.float32), grid, observed.reshape(grid.shape), NO_MESH
    )


def turned(*degrees: float) -> Frame:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = [40, -250, 900]
    return Frame(matrix, "given", 0.0, 1.0)


def test_the_spec_survives_json() -> None:
    assert PreprocessSpec.from_json(SPEC.to_json()) == SPEC
    assert PreprocessSpec.from_json(SPEC.to_json()).digest() == SPEC.digest()


def test_every_changed_number_changes_the_digest() -> None:
    others = [
        replace(SPEC, spacing_mm=6.5),
        replace(SPEC, origin_mm=(-95.0, -119.0, -110.0)),
        replace(SPEC, shape=(40, 40, 36)),
        replace(SPEC, clip_mm=29.0),
    ]
    assert len({spec.digest() for spec in [SPEC, *others]}) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": True},
        {"extra": 1},
        {"shape": [40, 40]},
        {"shape": [40.5, 40, 32]},
        {"shape": [100000, 100000, 100000]},
        {"spacing_mm": -2.0},
        {"spacing_mm": "wide"},
        {"origin_mm": [float("nan"), 0, 0]},
        {"channels": ["bone distance", "skin"]},
        {"clip_mm": 1e9},
    ],
)
def test_a_spec_that_cannot_be_carried_out_is_refused(change: dict[str, object]) -> None:
    data = {**json.loads(SPEC.to_json()), **change}
    with pytest.raises(ModelError):
        PreprocessSpec.from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "{", "3"])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        PreprocessSpec.from_json(text)


def test_the_grid_runs_left_back_and_up() -> None:
    grid = PreprocessSpec().grid
    first, last = grid.patient_points(np.array([[0, 0, 0], [127, 103, 95]], dtype=float))
    assert first == pytest.approx([-95, -159, -151])
    assert last == pytest.approx([95, 47, 103])


@pytest.mark.parametrize("angles", [(0, 0, 0), (25, -40, 160), (90, 0, 0)])
def test_bone_lands_on_its_side_in_front_and_above(angles: tuple[float, float, float]) -> None:
    frame = turned(*angles)
    grid = preprocess(ball(frame), frame, SPEC)
    assert grid.shape == (2, 40, 40, 32)
    assert grid.dtype == np.float32
    inside = np.argwhere(grid[0] < 0).astype(float)
    assert SPEC.grid.patient_points(inside).mean(axis=0) == pytest.approx(CENTRE, abs=1.0)
    points = SPEC.grid.patient_points(np.indices(SPEC.shape).reshape(3, -1).T.astype(float))
    true = np.clip(np.linalg.norm(points - CENTRE, axis=1) - 25, -30, 30).reshape(SPEC.shape)
    seen = grid[1] > 0
    assert np.abs(grid[0] - true)[seen].mean() < 0.1


def test_where_the_scanner_did_not_look_is_far_from_bone_and_said_so() -> None:
    frame = turned(0, 0, 0)
    grid = preprocess(ball(frame, seen_below=10.0), frame, SPEC)
    z = SPEC.grid.patient_points(np.indices(SPEC.shape).reshape(3, -1).T.astype(float))[:, 2]
    above = (z > 13.1).reshape(SPEC.shape)
    assert (grid[1][above] == 0).all()
    assert (grid[0][grid[1] == 0] == SPEC.clip_mm).all()
    assert (grid[0] < 0).any()
    assert set(np.unique(grid[1])) == {0.0, 1.0}
