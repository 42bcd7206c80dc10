"""Stored masks: what is not a person's skin is neither scored nor learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cohort_lab import write_nifti

from facegen_inference.compare import compare
from facegen_inference.errors import UserError
from facegen_inference.frame import Frame
from facegen_inference.mesh import Mesh
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.surface import isosurface
from facegen_inference.volume import Volume
from facegen_training.cohort import masks
from facegen_training.cohort.arrays import unpacked
from facegen_training.cohort.cases import Case, excluded, read_table, split
from facegen_training.cohort.dataset import Prepared
from facegen_training.cohort.masks import (
    masked,
    masked_volume,
    masks_digest,
    masks_of,
    read_masks,
    without_masked,
)
from facegen_training.cohort.prepare import prepare_case

TUBE = {"box": [[-12, -200, -62], [12, -60, -40]], "why": "tube between the lips"}
MARKER = {"sphere": [0, -80, -90, 10], "why": "marker"}


@pytest.fixture
def with_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_masks({"okbp_900": [TUBE, MARKER], "okbp_901": [TUBE]})
    monkeypatch.setattr(masks, "_stored", lambda: table)


def test_everyone_masked_is_known_and_kept_and_says_why() -> None:
    table = read_table("cohort.toml")["masked"]
    assert isinstance(table, dict)
    assert len(table) > 50
    assert set(table) <= set(split()) - set(excluded())
    for person in table:
        assert all(len(mask.why) > 5 for mask in masks_of(person))


def test_a_tube_stored_for_a_person_hides_the_lips_and_not_the_brow() -> None:
    at = np.array([[0.0, -105, -60], [0, -105, 40]])
    assert masked(at, "okbp_306").tolist() == [True, False]
    assert masked(at, "okbp_002").tolist() == [False, False]


def test_boxes_and_balls_end_where_they_say(with_masks: None) -> None:
    at = np.array([[12.0, -60, -40], [12.1, -60, -40], [0, -80, -99.9], [7.2, -80, -97.2]])
    assert masked(at, "okbp_900").tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    "entry",
    [
        {"box": [[0, 0, 0], [1, 1, 1]]},
        {"box": [[0, 0, 0], [1, 0, 1]], "why": "flat"},
        {"box": [[0, 0, 0]], "why": "one corner"},
        {"sphere": [0, 0, 0], "why": "no radius"},
        {"sphere": [0, 0, 0, 5], "box": [[0, 0, 0], [1, 1, 1]], "why": "two shapes"},
        {"sphere": [0, 0, 0, -5], "why": "inside out"},
    ],
)
def test_a_mask_that_means_nothing_is_refused(entry: dict[str, object]) -> None:
    with pytest.raises(UserError, match="okbp_900"):
        read_masks({"okbp_900": [entry]})


def _head(tube: bool) -> Mesh:
    """Return an ellipsoid with a nose, and perhaps a tube between the lips, in the frame."""
    step, reach = 3.0, 126.0
    z, y, x = np.meshgrid(*[np.arange(-reach, reach + 1, step)] * 3, indexing="ij")
    matrix = np.eye(4)
    matrix[:3, :3] = step * np.eye(3)[:, ::-1]
    matrix[:3, 3] = -reach
    field = (np.sqrt((x / 75) ** 2 + (y / 100) ** 2 + (z / 110) ** 2) - 1) * 85
    field = np.minimum(field, np.sqrt(x**2 + (y + 96) ** 2 + (z + 15) ** 2) - 12)
    if tube:
        field = np.minimum(field, np.maximum(np.hypot(x, z + 51) - 7, abs(y + 95) - 25))
    return isosurface(field.astype(np.float32), matrix, 0.0)


def _turned() -> Frame:
    angle = np.radians(25)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = [30, -12, 400]
    return Frame(matrix, "given", 0.0, 1.0)


def test_what_is_masked_is_not_scored_in_either_direction(with_masks: None) -> None:
    frame = _turned()
    face = _head(tube=False).transformed(frame.patient_from_frame)
    truth = _head(tube=True).transformed(frame.patient_from_frame)
    plain = compare(face, truth, frame)
    clean = compare(face, truth, frame, excluded=masked_volume("okbp_901", frame))
    turned_round = compare(truth, face, frame, excluded=masked_volume("okbp_901", frame))
    assert plain.regions["lips"].mean > 1.5
    assert clean.regions["lips"].mean < 0.1
    assert turned_round.regions["lips"].mean < 0.1
    assert masked_volume("okbp_002", frame) is None


def test_a_landmark_that_is_masked_is_not_measured(with_masks: None) -> None:
    frame = _turned()
    face = _head(tube=False).transformed(frame.patient_from_frame)
    nose = Volume(
        np.ones((60, 60, 60), dtype=np.int16),
        frame.patient_from_frame @ _box_matrix((-30, -140, -45)),
    )
    assert "pronasale" in compare(face, face, frame).landmarks
    assert "pronasale" not in compare(face, face, frame, excluded=nose).landmarks


def _box_matrix(corner: tuple[int, int, int]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[:, ::-1]
    matrix[:3, 3] = corner
    return matrix


def test_masked_skin_counts_as_not_known(with_masks: None) -> None:
    spec = PreprocessSpec(shape=(64, 52, 48), spacing_mm=4.0)
    stored = np.ones((4, *spec.shape), dtype=np.int16)
    kept = without_masked(stored, spec.grid, "okbp_900")
    assert (kept[:3] == 1).all()
    assert stored.all(), "the fields given are left alone"
    gone = np.argwhere(kept[3] == 0)
    at = spec.grid.patient_points(gone.astype(np.float64))
    assert masked(at, "okbp_900").all()
    assert 50 < len(gone) < 2000
    assert without_masked(stored, spec.grid, "okbp_002") is stored


def test_a_changed_mask_makes_the_person_anew(
    head: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0)
    scan = write_nifti(head, tmp_path / "okbp_900.nii.gz")
    case = Case("okbp_900", scan, "OpenKBP", "train")
    before = prepare_case(case, tmp_path, spec)
    assert isinstance(before, Prepared)
    assert before.masks == ""
    plain = unpacked((tmp_path / "okbp_900.b2nd").read_bytes())

    table = read_masks({"okbp_900": [TUBE]})
    monkeypatch.setattr(masks, "_stored", lambda: table)
    after = prepare_case(case, tmp_path, spec)
    assert isinstance(after, Prepared)
    assert after.masks == masks_digest("okbp_900") != ""
    kept = unpacked((tmp_path / "okbp_900.b2nd").read_bytes())
    assert kept[3].sum() < plain[3].sum()
    assert (kept[:3] == plain[:3]).all()
    state = (tmp_path / "okbp_900.b2nd").stat().st_mtime_ns
    prepare_case(case, tmp_path, spec)
    assert (tmp_path / "okbp_900.b2nd").stat().st_mtime_ns == state
