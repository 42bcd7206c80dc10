import json
from pathlib import Path

import numpy as np
import pytest

from facegen_inference.errors import UserError
from facegen_inference.face_region import (
    REGION_NAMES,
    face_regions,
    landmarks_in_frame,
    predicted_region,
    region_definition,
)
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmark


def named(point, landmarks=None):
    return REGION_NAMES[face_regions(np.array([point], dtype=float), landmarks)[0]]


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ((0, -105, 45), "brow"),
        ((32, -80, 14), "orbits"),
        ((-32, -80, 14), "orbits"),
        ((0, -125, -20), "nose"),
        ((0, -112, -48), "lips"),
        ((0, -95, -80), "chin"),
        ((-45, -80, -25), "cheeks"),
        ((55, -40, -60), "jaw line"),
        ((0, -60, -100), "outside"),  # under the chin
        ((0, -95, 90), "outside"),  # upper forehead
        ((75, 0, 0), "outside"),  # ear
        ((0, 90, 10), "outside"),  # back of the head
        ((60, -10, -95), "outside"),  # neck
    ],
)
def test_a_typical_skin_point_is_in_its_region(point, name):
    assert named(point) == name
    assert predicted_region(np.array([point], dtype=float))[0] == (name != "outside")


def test_left_and_right_are_treated_alike():
    points = np.random.default_rng(1).uniform(-130, 130, (4000, 3))
    mirrored = points * [-1, 1, 1]
    assert (face_regions(points) == face_regions(mirrored)).all()


def test_a_long_face_moves_the_chin_down():
    point = (0, -95, -104)
    assert named(point) == "outside"
    assert named(point, {"me": (0, -80, -100), "n": (0, -95, 28)}) == "chin"


def test_an_impossible_height_is_not_followed():
    assert named((0, -95, -80), {"me": (0, -80, 10), "n": (0, -95, 28)}) == "chin"


def test_landmarks_are_carried_into_the_frame():
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    matrix[:3, 3] = [10, 20, 30]
    frame = Frame(matrix, "given", 0.0, 1.0)
    point = matrix[:3, :3] @ [1, 2, 3] + matrix[:3, 3]
    found = landmarks_in_frame({"me": Landmark("me", tuple(point))}, frame)
    assert np.allclose(found["me"], [1, 2, 3])


def test_a_definition_from_a_file_and_a_broken_one(tmp_path: Path):
    shipped = Path(__file__).parents[2] / "resources" / "facegen_resources" / "face_regions.json"
    data = json.loads(shipped.read_text(encoding="utf-8"))
    data["ear_plane_mm"] = 60.0
    other = tmp_path / "other.json"
    other.write_text(json.dumps(data), encoding="utf-8")
    rules = region_definition(other)
    assert not predicted_region(np.array([[60.0, -40, -20]]), rules=rules)[0]
    assert predicted_region(np.array([[60.0, -40, -20]]))[0]
    broken = tmp_path / "broken.json"
    broken.write_text('{"version": 1, "what": 2}', encoding="utf-8")
    with pytest.raises(UserError, match=r"broken\.json"):
        region_definition(broken)
