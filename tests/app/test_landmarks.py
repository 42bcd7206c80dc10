"""Landmarks as the window keeps them, their words and their files; no window."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facegen_app.errors import Trouble, trouble_of
from facegen_app.model.landmark_colours import colour_of
from facegen_app.model.landmark_file import read_points, write_points
from facegen_app.model.landmark_names import CODES, FRAME_CODES, name_of, place_of, source_of
from facegen_app.model.landmarks import LandmarkModel
from facegen_inference import craniometry
from facegen_inference.atlas import load_atlas
from facegen_inference.errors import FrameUnsure, OutputError, UserError
from facegen_inference.landmarks import Landmark, read_landmarks

ASKED = Trouble("It is unsure.", "Place points.")
BOX = np.array([[-80.0, -100, -100], [80, 100, 120]])


def found(*codes: str) -> dict[str, Landmark]:
    return {code: Landmark(code, (float(n), 2.0, 3.0)) for n, code in enumerate(codes)}


@pytest.fixture
def model() -> LandmarkModel:
    made = LandmarkModel()
    made.set_found(found(*FRAME_CODES, "n"))
    return made


def test_every_point_of_the_atlas_is_in_the_list_with_a_name() -> None:
    assert set(CODES) == set(load_atlas().landmarks)
    assert craniometry.FRAME_CODES == FRAME_CODES
    assert len({name_of(code) for code in CODES}) == len(CODES)
    assert not [code for code in CODES if name_of(code) == code]


def test_sides_are_written_out_and_are_the_examinees() -> None:
    assert name_of("po-L") == "Porion, left"
    assert name_of("or-R") == "Orbitale, right"
    assert name_of("n") == "Nasion"
    assert place_of("po-R").endswith("on the examinee's right")
    assert place_of("n") == ""


@pytest.mark.parametrize(
    ("provenance", "confidence", "said"),
    [
        ("automatic", 0.95, "automatic, high"),
        ("automatic", 0.5, "automatic, moderate"),
        ("inferred", 0.1, "inferred, low"),
        ("manual", 1.0, "placed by hand"),
    ],
)
def test_source_and_confidence_are_words(provenance, confidence, said) -> None:
    assert source_of(provenance, confidence) == said


def test_hand_and_program_differ_in_colour() -> None:
    assert len({colour_of(kind) for kind in ("automatic", "manual", "inferred")}) == 3


def test_a_placed_point_hides_the_found_one_until_it_is_taken_back(model) -> None:
    told: list[int] = []
    model.changed.connect(lambda: told.append(1))
    model.place("po-L", (9.0, 9.0, 9.0))
    assert model.point("po-L") == Landmark("po-L", (9.0, 9.0, 9.0), "manual", 1.0)
    assert model.waiting
    model.put_back(model.found, {}, {})
    assert model.point("po-L").provenance == "automatic"
    assert not model.waiting
    assert len(told) == 2


def test_what_the_frame_needs_is_named_until_it_is_there(model) -> None:
    assert model.missing == ["Porion, left", "Porion, right", "one orbitale"]
    model.place("po-R", (1.0, 0.0, 0.0))
    model.place("or-R", (1.0, 0.0, 0.0))
    assert model.missing == ["Porion, left"]
    model.choose("po-L")
    model.accept()
    assert model.missing == []
    assert model.placed["po-L"].position == model.found["po-L"].position
    assert model.placed["po-L"].provenance == "manual"


def test_what_was_placed_survives_a_frame_made_from_it_and_can_still_be_taken_back(model) -> None:
    model.place("n", (5.0, 5.0, 5.0))
    model.set_found({**found(*FRAME_CODES), **model.placed})
    assert not model.waiting
    model.put_back(model.found, {}, model.used)
    assert model.waiting
    assert model.point("n").provenance == "automatic"  # as first found


def test_a_question_opens_the_list_and_an_answer_ends_it(model) -> None:
    assert not model.shown
    model.set_found(found("po-L"), ASKED)
    assert model.shown
    assert model.question is ASKED
    model.place("po-L", (1.0, 1.0, 1.0))
    assert model.waiting
    model.set_found({**found("po-R"), **model.placed})
    assert model.question is None
    model.clear()
    assert model.point("po-L") is None
    assert not model.placed


def test_placing_ends_with_the_point_and_with_the_list(model) -> None:
    model.set_placing(True)
    assert model.shown
    model.place("po-L", (1.0, 1.0, 1.0))
    assert not model.placing
    model.set_placing(True)
    model.show(False)
    assert not model.placing
    model.show_all(True)
    model.choose("n")
    model.show_all(False)
    assert model.chosen in model.codes == FRAME_CODES


def test_points_of_a_file_are_placed_by_hand_and_the_file_is_known_until_one_is_moved(model):
    file = Path("points.json")
    model.take(found("po-L", "n"), file)
    assert {p.provenance for p in model.placed.values()} == {"manual"}
    assert model.all_shown  # nasion is among them
    assert model.file == file
    model.place("n", (1.0, 1.0, 1.0))
    assert model.file is None


def test_a_file_comes_back_as_it_was_written(tmp_path) -> None:
    path = tmp_path / "points.json"
    points = {"po-L": Landmark("po-L", (60.0, 0.0, 1.5), "manual", 1.0)}
    write_points(points, path)
    assert read_points(path, BOX) == points == read_landmarks(path)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError, match="cannot be written"):
        write_points(points, tmp_path / "gone" / "points.json")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "names no landmark"),
        ([("po-left", (0, 0, 0))], "does not know: po-left"),
        ([("po-L", (900, 0, 0))], "does not belong to this scan.*Porion, left"),
        ([("po-L", (0, 0))], "is not a landmarks file"),
        ([("po-L", (0, 0, 0)), ("po-L", (0, 0, 0))], "twice"),
    ],
)
def test_a_bad_file_is_told_in_a_sentence(tmp_path, rows, said) -> None:
    path = tmp_path / "points.json"
    landmarks = [{"code": code, "position": place} for code, place in rows]
    path.write_text(json.dumps({"space": "LPS", "units": "mm", "landmarks": landmarks}))
    with pytest.raises(UserError, match=said) as caught:
        read_points(path, BOX)
    assert caught.value.advice


def test_a_place_that_is_no_number_is_refused(tmp_path) -> None:
    path = tmp_path / "points.json"
    rows = '[{"code": "po-L", "position": [NaN, 0, 0]}]'
    path.write_text(f'{{"space": "LPS", "units": "mm", "landmarks": {rows}}}')
    with pytest.raises(UserError, match=r"points\.json"):
        read_points(path, BOX)


def test_the_window_speaks_of_buttons_not_of_the_command_line() -> None:
    advice = "Check the scan, or place both porions and an orbitale by hand (--landmarks FILE)."
    shown = trouble_of(FrameUnsure("It is unsure.", advice)).advice
    assert "--" not in shown
    assert shown.startswith("Check the scan, or place both porions and an orbitale by hand.")
    assert "press Place" in shown
