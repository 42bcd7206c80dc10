"""The line's two steps, where they refuse and what they hand on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facegen_inference.errors import FrameUnsure, NoHeadFound, UserError
from facegen_inference.face import METHODS as METHOD_NAMES
from facegen_inference.face import Profile
from facegen_inference.landmarks import Landmark
from facegen_inference.methods import METHODS
from facegen_inference.reconstruct import (
    Request,
    SkullUnplaced,
    check_request,
    prepare,
)
from facegen_inference.scan import Scan
from facegen_inference.series import Series
from facegen_inference.volume import AIR_HU, Volume


def scan_of(array: np.ndarray, deidentified: bool | None = None) -> Scan:
    volume = Volume(array.astype(np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    return Scan(volume, None, Series("1", "volume"), (), deidentified=deidentified)


def test_the_methods_are_those_that_the_face_knows():
    assert set(METHODS) == set(METHOD_NAMES)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(method="crystal-ball"), "no method called crystal-ball"),
        (Request(variants=-1), "-1 variants"),
        (Request(variants=10_000), "10000 variants"),
        (Request(profile=Profile(age=-3)), "-3 years"),
        (Request(profile=Profile(age=float("nan"))), "nan years"),
    ],
)
def test_an_impossible_request_is_refused_in_a_sentence(request_, words):
    with pytest.raises(UserError, match=words) as caught:
        check_request(request_)
    assert caught.value.advice


def test_a_sensible_request_passes():
    check_request(Request(profile=Profile("female", 34.5, "thin"), variants=0))


def test_a_scan_without_a_head_is_refused():
    with pytest.raises(NoHeadFound):
        prepare(scan_of(np.full((60, 60, 60), AIR_HU)))


def test_a_deidentified_scan_is_refused_before_any_work():
    told = []
    with pytest.raises(UserError, match="protect a person"):
        prepare(
            scan_of(np.full((60, 60, 60), AIR_HU), deidentified=True),
            progress=lambda fraction, step: told.append(step),
        )
    assert told == []


def test_a_landmarks_file_that_is_none_is_refused_before_any_work(tmp_path: Path):
    path = tmp_path / "landmarks.json"
    path.write_text("not json")
    told = []
    with pytest.raises(UserError, match=r"landmarks\.json is not a landmarks file"):
        prepare(
            scan_of(np.full((60, 60, 60), AIR_HU)),
            landmarks_file=path,
            progress=lambda fraction, step: told.append(step),
        )
    assert told == []


def test_what_was_found_travels_with_an_unsure_frame_but_not_into_its_data():
    points = {"po-L": Landmark("po-L", (1.0, 2.0, 3.0))}
    inner = FrameUnsure("Unsure.", "Help.", landmarks=points, reason="few points")
    error = SkullUnplaced(inner, None, points)  # type: ignore[arg-type]
    assert error.landmarks == points
    assert error.exit_status == 2
    assert error.as_data()["details"] == {"landmarks": "po-L", "reason": "few points"}
