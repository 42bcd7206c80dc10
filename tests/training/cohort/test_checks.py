"""Flags, pictures and duplicates, on the fields of the synthetic head."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from cohort_lab import stretched
from PIL import Image

from facegen_inference.craniometry import locate
from facegen_inference.errors import FrameUnsure, UserError
from facegen_inference.frame import Frame
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.skull import Skull, make_skull
from facegen_inference.volume import Volume
from facegen_training.cohort import checks
from facegen_training.cohort.dataset import Prepared
from facegen_training.cohort.duplicates import close_share, coarse_differences, find_alike
from facegen_training.cohort.pictures import strip_of, surface_front, surface_left
from facegen_training.cohort.prepare import fields_of

SPEC = PreprocessSpec()
GREY = np.array([200, 200, 200])


@pytest.fixture(scope="module")
def skull(head: Volume) -> Skull:
    return make_skull(head)


@pytest.fixture(scope="module")
def made(head: Volume, skull: Skull) -> tuple[np.ndarray, Frame]:
    return fields_of(head, SPEC, skull)


@pytest.fixture(scope="module")
def measures(head: Volume, made: tuple[np.ndarray, Frame]) -> checks.Measures:
    return checks.measure(head, made[0], SPEC, float(made[1].residual_mm))


def test_a_plain_head_passes_and_little_is_noted(measures: checks.Measures, skull: Skull) -> None:
    checks.check_skin(measures)
    checks.check_placed(locate(skull)[0])
    found = checks.flags(measures, skull)
    assert [flag for flag in found if flag.startswith("coarse: voxels of 4×4×4 mm")]
    assert not [flag for flag in found if "mask" in flag or "mouth" in flag]
    assert measures.bare_share < 0.05


def test_a_dry_skull_or_a_face_cut_away_is_refused(
    head: Volume, made: tuple[np.ndarray, Frame]
) -> None:
    stored = made[0].copy()
    stored[2] = stored[0]
    bare = checks.measure(head, stored, SPEC, 2.0)
    assert bare.bare_share > 2 * checks.BARE_SHARE
    with pytest.raises(UserError, match="has no skin over it: the face was removed"):
        checks.check_skin(bare)


def test_a_mask_on_the_skin_is_suspected(
    head: Volume, made: tuple[np.ndarray, Frame], skull: Skull
) -> None:
    stored = made[0].copy()
    stored[2] -= 1300
    masked = checks.measure(head, stored, SPEC, 2.0)
    assert any("mask" in flag for flag in checks.flags(masked, skull))


def test_an_open_mouth_is_noted(
    measures: checks.Measures, made: tuple[np.ndarray, Frame], skull: Skull
) -> None:
    stored = made[0].copy()
    lower = round((-45 - SPEC.origin_mm[2]) / SPEC.spacing_mm)
    drop = 12
    stored[0, : lower - drop] = stored[0, drop:lower]
    stored[0, lower - drop : lower] = 3000
    bone, seen = stored[0].astype(np.float32) / 100, np.ones(SPEC.shape, dtype=bool)
    apart = checks.jaws_apart(bone, seen, SPEC)
    assert apart >= 22
    assert any("mouth open" in f for f in checks.flags(replace(measures, apart_mm=apart), skull))
    assert checks.jaws_apart(bone, ~seen, SPEC) == 0.0


def test_a_doubtful_placement_is_refused(skull: Skull) -> None:
    fit = locate(skull)[0]
    with pytest.raises(FrameUnsure, match="could not be aligned"):
        checks.check_placed(replace(fit, residual_mm=9.0))
    down = fit.frame_from_patient.copy()
    down[1:3] *= -1
    with pytest.raises(FrameUnsure, match="another way"):
        checks.check_placed(replace(fit, frame_from_patient=down))


def test_the_strip_shows_left_where_the_viewer_sees_it(
    head: Volume, made: tuple[np.ndarray, Frame]
) -> None:
    stored, frame = made[0].copy(), made[1]
    grid = SPEC.grid.patient_points(np.indices(SPEC.shape).reshape(3, -1).T.astype(float))
    cheek = np.array([45.0, -85.0, -25.0])  # on the examinee's left
    ball = (np.linalg.norm(grid - cheek, axis=1) - 25).reshape(SPEC.shape)
    skin = np.minimum(stored[2] / 100, ball).astype(np.float32)
    before = surface_front(stored[2].astype(np.float32) / 100, GREY)
    after = surface_front(skin, GREY)
    changed = np.nonzero((before != after).any(axis=2))[1]
    assert changed.mean() > 0.6 * SPEC.shape[2], "the examinee's left is on the viewer's right"
    plain = stored[2].astype(np.float32) / 100
    seen_from_left, from_right = (
        (surface_left(field, GREY) != surface_left(without, GREY)).sum()
        for field, without in ((skin, plain), (skin[:, :, ::-1], plain[:, :, ::-1]))
    )
    assert seen_from_left > 2 * from_right
    side = surface_left(skin, GREY)
    face_columns = np.nonzero((side > 40).any(axis=(0, 2)))[0]
    assert face_columns.min() > 5, "air in front of the nose, on the left of the picture"

    marked = head.array.copy()
    spot = np.array([60.0, -20.0, -45.0, 1.0])
    voxel = np.rint(head.grid.voxel_points((frame.patient_from_frame @ spot)[None, :3])[0])
    k, j, i = voxel.astype(int)
    marked[k - 2 : k + 3, j - 2 : j + 3, i - 2 : i + 3] = 3000
    strips = [
        np.asarray(Image.open(io.BytesIO(strip_of(v, made[0], frame, SPEC))).convert("L"), float)
        for v in (head, Volume(marked, head.patient_from_voxel))
    ]
    assert strips[0].shape[0] == 256
    columns = np.nonzero((np.abs(strips[0] - strips[1]) > 60).sum(axis=0) > 2)[0]
    edges = np.cumsum([0, *(w + 4 for w in _widths())])
    axial = columns[(columns >= edges[5]) & (columns < edges[6])]
    assert len(axial) > 0
    assert axial.mean() > (edges[5] + edges[6]) / 2 + 20


def _widths() -> list[int]:
    """Return the tiles' widths from the grid: front, side, front, side, midline, axial, coronal."""
    z, y, x = ((n - 1) * SPEC.spacing_mm + 1 for n in SPEC.shape)
    front = round(SPEC.shape[2] * 256 / SPEC.shape[0])
    side = round(SPEC.shape[1] * 256 / SPEC.shape[0])
    return [front, side, front, side, *(round(w * 256 / h) for w, h in ((y, z), (x, y), (x, z)))]


class Held:
    """Arrays in memory, as `find_alike` reads them."""

    spec = SPEC

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays

    def read(self, person: Prepared) -> np.ndarray:
        return self.arrays[person.id]


def _person(name: str, person: str, content: str) -> Prepared:
    return Prepared(name, "own data", "", content, "", "registration", 1.0, person)


def test_one_skull_under_two_names_is_found_and_two_under_one(
    head: Volume, made: tuple[np.ndarray, Frame]
) -> None:
    stored, frame = made
    about = np.eye(4)
    turn = np.deg2rad(2)
    about[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    about[:3, 3] = (1.0, -1.5, 1.0)
    noisy = np.random.default_rng(0).normal(0, 12, head.array.shape)
    again = Volume((head.array + noisy).astype(np.int16), head.patient_from_voxel)
    moved = Frame(frame.patient_from_frame @ about, "registration", 2.0, 0.6)
    twin, _ = fields_of(again, SPEC, frame=moved)
    other, _ = fields_of(stretched(head, 1.12, 0.92), SPEC)
    assert close_share(stored, twin, SPEC) > 0.9
    arrays = {"a": stored, "b": twin, "c": other, "d": stored}
    people = [
        _person("a", "p-1", "1"),
        _person("b", "p-2", "2"),
        _person("c", "p-1", "3"),
        _person("d", "p-3", "1"),
    ]
    # The stretched head is nearer than two people are; what counts here is that it is not taken
    # for the same skull.
    found = {pair.scans: pair for pair in find_alike(people, Held(arrays))}
    assert found["a", "b"].two_names
    assert "of the bone within 2 mm" in found["a", "b"].sentence
    assert found["a", "d"].same == "the same file"
    assert "duplicate suspected: a" in found["a", "b"].flag_of("b")
    assert not any(pair.two_names for scans, pair in found.items() if "c" in scans)


def test_scans_that_share_no_region_are_not_compared() -> None:
    bone = np.ones(1000, dtype=np.float32)
    low, high = np.zeros(1000, np.float32), np.zeros(1000, np.float32)
    low[:400], high[350:] = 1, 1
    both = coarse_differences([(bone, low), (3 * bone, high), (3 * bone, low)])
    assert both[0, 1] == np.inf
    assert both[0, 2] == pytest.approx(2.0)
