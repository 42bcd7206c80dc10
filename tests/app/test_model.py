"""The state of the window, without a window."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from facegen_app.model.case import Case
from facegen_app.model.event import Event
from facegen_app.model.planes import PLANE_NAMES, planes_of
from facegen_app.model.scene import SceneModel
from facegen_app.model.slices import WINDOWS, SliceModel, grey_values
from facegen_app.model.summary import bone_line, frame_line, scan_summary, skull_parts
from facegen_inference.errors import FrameUnsure
from facegen_inference.reconstruct import SkullUnplaced
from facegen_inference.volume import Grid, Volume

ORDERS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


def stored(order: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    """Return one head-like volume in one of 48 axis orders; marks at left, front and top.

    In patient space the volume spans 40 × 50 × 60 mm; marks of 1000 (left), 2000 (anterior)
    and 3000 HU (superior) stand one voxel from the respective end.
    """
    shape_lps = (20, 25, 20)
    spacing_lps = np.array([2.0, 2.0, 3.0])
    lps = np.zeros(shape_lps, np.int16)
    lps[18, 12, 10], lps[10, 1, 10], lps[10, 12, 18] = 1000, 2000, 3000
    array = np.transpose(lps, order)
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    origin = np.array([5.0, -80.0, 400.0])
    for voxel_axis, patient_axis in enumerate(order):
        step = signs[voxel_axis] * spacing_lps[patient_axis]
        matrix[patient_axis, voxel_axis] = step
        if signs[voxel_axis] < 0:
            array = np.flip(array, voxel_axis)
            origin[patient_axis] += (shape_lps[patient_axis] - 1) * spacing_lps[patient_axis]
    matrix[:3, 3] = origin
    return Volume(np.ascontiguousarray(array), matrix)


@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_slices_show_the_patient_the_same_way_however_the_scan_is_stored(order, signs) -> None:
    volume = stored(order, signs)
    planes = planes_of(volume.grid)
    marks = {hu: np.argwhere(volume.array == hu)[0].astype(float) for hu in (1000, 2000, 3000)}
    seen = {}
    for name, hu in (("axial", 1000), ("coronal", 3000), ("sagittal", 2000)):
        plane = planes[name]
        pixels = plane.pixels(volume.array, int(marks[hu][plane.through]))
        row, column = np.argwhere(pixels == hu)[0]
        assert plane.pixel_of(marks[hu], volume.array.shape) == (column, row)
        seen[name] = (column / (pixels.shape[1] - 1), row / (pixels.shape[0] - 1))
    assert seen["axial"][0] > 0.9  # the left is at the right
    assert seen["coronal"][1] < 0.1  # superior at the top
    assert seen["sagittal"][0] < 0.1  # anterior at the left
    assert planes["axial"].letters == ("R", "L", "A", "P")
    assert planes["coronal"].letters == ("R", "L", "S", "I")
    assert planes["sagittal"].letters == ("A", "P", "S", "I")
    assert planes["axial"].spacing == (2.0, 2.0)
    assert planes["sagittal"].spacing == (2.0, 3.0)


def test_pixels_and_voxels_map_both_ways() -> None:
    volume = stored((2, 0, 1), (-1, 1, -1))
    shape = volume.array.shape
    for plane in planes_of(volume.grid).values():
        voxel = plane.voxel_at(3.25, 7.5, 4, shape)
        assert plane.pixel_of(voxel, shape) == (3.25, 7.5)
        assert voxel[plane.through] == 4


def test_an_oblique_scan_uses_each_axis_once() -> None:
    c, s = np.cos(0.6), np.sin(0.6)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[0, 0, 1], [s, c, 0], [c, -s, 0]])
    planes = planes_of(Grid((5, 6, 7), matrix))
    assert sorted(plane.through for plane in planes.values()) == [0, 1, 2]


def test_the_reading_is_the_value_and_place_of_the_voxel() -> None:
    model = SliceModel()
    volume = stored((2, 1, 0), (1, 1, 1))
    model.set_volume(volume)
    hounsfield, point = model.reading(np.argwhere(volume.array == 1000)[0].astype(float))
    assert hounsfield == 1000
    assert np.allclose(point, (5 + 18 * 2, -80 + 12 * 2, 400 + 10 * 3))
    assert model.reading(np.array([-3.0, 0, 0])) is None


def test_the_crosshair_stays_inside_and_tells_once() -> None:
    model = SliceModel()
    told: list[int] = []
    model.set_volume(stored((2, 1, 0), (1, 1, 1)))
    model.cursor_changed.connect(lambda: told.append(1))
    model.move_to(np.array([-5.0, 3.0, 400.0]))
    model.move_to(np.array([-5.0, 3.0, 400.0]))
    assert told == [1]
    assert model.cursor.tolist() == [0.0, 3.0, 19.0]
    model.step("axial", 4)
    assert model.index("axial") == 4
    model.step("axial", -9)
    assert model.index("axial") == 0


def test_the_head_fills_the_slices_once_it_is_found() -> None:
    model = SliceModel()
    model.set_volume(stored((2, 1, 0), (1, 1, 1)))
    assert model.shown("axial") == (0, 0, 20, 25)
    model.focus_on(np.array([[15.0, -60, 420], [25, -50, 430]]), margin_mm=2)
    left, top, width, height = model.shown("axial")
    assert (left, top, width, height) == (4, 9, 8, 8)
    assert model.reading(model.cursor)[1] == pytest.approx((20, -55, 425))


def test_grey_values_follow_the_window() -> None:
    window = WINDOWS["soft tissue"]
    values = np.array([[window.low - 500, window.low, window.high, window.high + 500]], np.int16)
    assert grey_values(values, window).tolist() == [[0, 0, 255, 255]]
    middle = grey_values(np.array([[40]], np.int16), window)[0, 0]
    assert 125 <= middle <= 130


def test_a_plane_without_a_volume_is_no_error() -> None:
    model = SliceModel()
    model.step("axial", 1)
    model.focus_on(np.zeros((1, 3)))
    assert model.reading(np.zeros(3)) is None
    assert not model.planes
    assert len(PLANE_NAMES) == 3


def unplaced(made_up) -> SkullUnplaced:
    """Return why the frame of the made-up skull is unsure."""
    return SkullUnplaced(FrameUnsure("It is unsure."), made_up.prepared.skull, {})


def test_what_depends_on_a_change_goes_with_it(made_up) -> None:
    case, told = Case(), []
    for name in ("scan", "skull", "face"):
        getattr(case, f"{name}_changed").connect(lambda name=name: told.append(name))
    case.set_scan(Path("scan"), made_up.prepared.scan, made_up.inputs)
    case.set_prepared(made_up.prepared, Path("points.json"))
    case.set_face(made_up.face, object())
    assert case.face is made_up.face
    told.clear()
    case.set_prepared(made_up.prepared)
    assert case.face is None
    assert case.landmarks_file is None
    assert told == ["skull", "face"]
    case.set_unplaced(unplaced(made_up))
    assert case.prepared is None
    assert case.skull is not None
    assert case.unplaced is not None
    case.set_scan(Path("other"), made_up.prepared.scan, made_up.inputs)
    assert case.skull is None
    assert case.unplaced is None


def test_the_summary_says_what_is_there_and_what_is_not(made_up) -> None:
    case = Case()
    assert scan_summary(case).lines == ()
    case.set_scan(Path("/somewhere/scan7"), made_up.prepared.scan, made_up.inputs)
    case.set_prepared(made_up.prepared)
    summary = scan_summary(case)
    assert summary.title == "scan7"
    text = "\n".join(summary.lines)
    assert "40 × 30 × 20 voxels of 2.00 × 2.00 × 3.00 mm" in text
    parts = {part.name: (part.state, part.present) for part in skull_parts(case.skull)}
    assert parts["cranium"] == ("present", True)
    assert parts["left orbit"] == parts["right orbit"] == ("absent", False)
    assert len(parts) == 7
    assert bone_line(case.skull) == "Bone from 250 HU"
    assert bone_line(replace(case.skull, level_hu=float("nan"))) == ""
    assert "Frankfurt frame from landmarks" in frame_line(case)
    assert any("18.5°" in sentence for sentence in summary.warnings)
    given = replace(made_up.prepared.frame, method="given")
    case.set_prepared(replace(made_up.prepared, frame=given))
    assert frame_line(case) == "Frankfurt frame from landmarks placed by hand: residual 1.2 mm"
    case.set_unplaced(unplaced(made_up))
    assert "landmarks are needed" in frame_line(case)


def test_layers_tell_of_changes_only() -> None:
    model, told = SceneModel(), []
    model.layer_changed.connect(told.append)
    model.set_opacity("face", 0.25)
    model.set_opacity("face", 0.25)
    model.set_opacity("skull", 7.0)  # held at 1, where it is already
    model.set_visible("skull", False)
    assert told == ["face", "skull"]
    assert model.layer("face").opacity == 0.25


def test_events_call_everyone_in_order() -> None:
    event: Event[int] = Event()
    told: list[int] = []
    event.connect(told.append)
    event.connect(lambda value: told.append(10 * value))
    event.emit(3)
    assert told == [3, 30]
