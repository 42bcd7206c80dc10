from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.config import Config
from facegen_training.fitting.fit import fit
from facegen_training.fitting.pictures import face_picture


def ball_with_nose() -> np.ndarray:
    """A ball of 20 mm with a bump in front (towards -y), a little to the examinee's left (+x)."""
    z, y, x = np.meshgrid(*[np.arange(-30, 31.0, 2.0)] * 3, indexing="ij")
    ball = np.sqrt(x**2 + y**2 + z**2) - 20
    nose = np.sqrt((x - 6) ** 2 + (y + 20) ** 2 + (z + 4) ** 2) - 5
    return np.minimum(ball, nose).astype(np.float32)


def test_the_face_is_seen_from_the_front_and_from_the_left() -> None:
    picture = face_picture(ball_with_nose(), 2.0)
    assert picture.shape == (31, 62)
    front, left = picture[:, :31] > 0, picture[:, 31:] > 0
    assert abs(int(front.sum()) * 4 - np.pi * 20**2) < 150
    assert (front == front[:, ::-1]).mean() > 0.95
    columns = np.flatnonzero(left.any(axis=0))
    assert columns[0] == 3  # the nose stands out to the picture's left: y = -25 + 31 steps
    assert 31 - columns[-1] > 5
    low = np.flatnonzero(left[:, columns[0]])
    assert low.min() > 15  # rows go down: the nose is below the middle


def test_light_comes_from_the_front() -> None:
    picture = face_picture(ball_with_nose(), 2.0)
    assert picture[15, 12] > 150  # faces the viewer
    assert picture[15, 6] < picture[15, 12]


def test_nothing_is_black() -> None:
    assert not face_picture(np.full((8, 8, 8), 5.0, np.float32), 2.0).any()


def test_curves_and_faces_reach_tensorboard(people: Dataset, tiny: Config, run: Path) -> None:
    fit(people, run, tiny)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run / "tensorboard"))
        events.Reload()
    assert {"error", "waiting", "rate", "validation_mm"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("error")] == [1, 2, 3, 4, 5, 6]
    pictures = events.Tags()["images"]
    assert pictures == [f"validation/{n}, predicted" for n in (0, 1)]
    z, y, x = people.spec.shape
    image = events.Images(pictures[0])[0]
    assert (image.height, image.width) == (z, x + y)
