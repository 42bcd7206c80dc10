"""Scans of made people: readable by the program, the same each time, as asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from facegen_inference.craniometry import find_landmarks_and_frame
from facegen_inference.errors import UserError
from facegen_inference.skull import Presence, make_skull
from facegen_inference.volume import Volume
from facegen_training.synthesis.depth_model import load_tissue_model
from facegen_training.synthesis.make_scan import scan_person, synthetic_head
from facegen_training.synthesis.person import draw_person, tissue_depths
from facegen_training.synthesis.scanner import ScanSize, draw_scanner
from facegen_training.synthesis.streaks import streaks

WHOLE = 5
"""Of seed 1: a jaw, teeth and metal, nothing cropped."""


@pytest.fixture(scope="module")
def head() -> Volume:
    return synthetic_head(1, WHOLE, 2.0)


def test_the_program_finds_skull_landmarks_and_frame(head: Volume) -> None:
    skull = make_skull(head)
    assert set(skull.parts.values()) == {Presence.PRESENT}
    landmarks, frame = find_landmarks_and_frame(skull)
    assert frame.method == "landmarks"
    lie, person = draw_scanner(1, WHOLE).patient_from_frame, draw_person(1, WHOLE)
    gaps = [
        np.linalg.norm(lie[:3, :3] @ place + lie[:3, 3] - landmarks[code].position)
        for code, place in person.landmarks.items()
    ]
    assert np.median(gaps) < 3.0
    left = landmarks["zy-L"].position[0] - landmarks["zy-R"].position[0]
    assert left > 100  # LPS: x grows to the examinee's left


def test_the_depths_are_in_the_scan(head: Volume) -> None:
    """Along each ray the half-maximum skin of the CT lies where the truth says."""
    person, lie = draw_person(1, WHOLE), draw_scanner(1, WHOLE).patient_from_frame
    depths = tissue_depths(person)
    off = []
    for point in load_tissue_model().points:
        if point.code in ("op", "v"):  # the holder touches there
            continue
        along = np.arange(0, 60, 0.25)
        ray = np.array(person.landmarks[point.code]) + along[:, None] * point.direction
        at = head.grid.voxel_points(ray @ lie[:3, :3].T + lie[:3, 3]).T
        hu = map_coordinates(head.array.astype(np.float32), at, order=1, mode="nearest")
        inside = np.flatnonzero(hu > -500)
        off.append(along[inside[-1]] - depths[point.code])
    assert np.abs(np.median(off)) < 0.5
    assert np.percentile(np.abs(off), 80) < 1.0


def test_people_differ_and_each_is_the_same_again(head: Volume) -> None:
    assert np.array_equal(synthetic_head(1, WHOLE, 2.0).array, head.array)
    first, second = (synthetic_head(1, n, 4.0) for n in (WHOLE, WHOLE + 1))
    assert first.array.shape != second.array.shape or (first.array != second.array).mean() > 0.2


def test_a_person_is_the_same_at_any_size() -> None:
    """Two scans of one person show the same face at the same place."""
    person, scanner = draw_person(2, 0), draw_scanner(2, 0)
    fine = scan_person(person, scanner, ScanSize(80, 80, 60))
    coarse = scan_person(person, scanner, ScanSize(64, 48, 40))
    assert fine.array.shape == (60, 80, 80)
    assert coarse.array.shape == (40, 64, 48)
    middle = coarse.grid.patient_points(np.argwhere(coarse.array > 300).astype(float))
    at = np.round(fine.grid.voxel_points(middle)).astype(int)
    inside = ((at >= 0) & (at < fine.array.shape)).all(axis=1)
    assert (fine.array[tuple(at[inside].T)] > 0).mean() > 0.9


def test_metal_streaks_only_where_metal_is() -> None:
    person, scanner = draw_person(1, WHOLE), draw_scanner(1, WHOLE)
    assert person.metal
    size = ScanSize(72, 72, 72)
    with_metal = scan_person(person, scanner, size).array.astype(int)
    without = scan_person(replace(person, metal=()), scanner, size).array
    changed = (with_metal != without).any(axis=(1, 2))
    assert 2 <= changed.sum() < 20
    assert with_metal.max() == 3071


def test_between_two_parts_of_metal_it_is_dark() -> None:
    metal = np.zeros((120, 120), dtype=bool)
    metal[56:64, 40:48] = metal[56:64, 72:80] = True
    added = streaks(metal, 1.0)
    assert added[60, 60] < -100
    assert added[60, 60] < 3 * abs(added[90, 60])
    assert abs(added[5, 5]) < 45
    assert np.corrcoef(added.ravel(), added[:, ::-1].ravel())[0, 1] > 0.97
    assert not streaks(np.zeros((40, 50), dtype=bool), 1.0).any()


def test_a_size_that_holds_no_head_is_refused() -> None:
    person, scanner = draw_person(1, WHOLE), draw_scanner(1, WHOLE)
    with pytest.raises(UserError, match="do not hold a head"):
        scan_person(person, scanner, ScanSize(64, 64, 64, (2.0, 2.0)))


def test_a_cropped_vertex_is_not_in_view() -> None:
    number = next(n for n in range(30) if draw_scanner(1, n).cropped_mm > 0)
    scan = synthetic_head(1, number, 4.0)
    assert (scan.array[-1] > -300).sum() * 16 > 3000  # mm²: the head goes on above
