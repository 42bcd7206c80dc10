"""Landmarks in the picture: clicked where they are seen, drawn where they lie, never mirrored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from facegen_app.rendering.camera import VIEWS
from facegen_app.rendering.display_mesh import display_mesh
from facegen_app.rendering.markers import Marker
from facegen_app.rendering.scene import Scene3D
from facegen_inference.frame import Frame
from facegen_inference.mesh import Mesh

WIDTH, HEIGHT = 300, 240
GREEN = (0.1, 1.0, 0.1)


@pytest.fixture
def scene(made_up) -> Iterator[Scene3D]:
    """The egg that stands for a skull, lying askew; x is the examinee's left."""
    turn = np.eye(4)
    c, s = np.cos(0.5), np.sin(0.5)
    turn[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, c, -s], [0, s, c]]
    )
    turn[:3, 3] = 40.0, -150.0, 800.0
    skull: Mesh = made_up.prepared.skull.mesh.transformed(turn)
    made = Scene3D(annotated=False)
    made.set_size(WIDTH, HEIGHT)
    made.set_frame(Frame(turn, "given", 0.0, 1.0))
    made.set_mesh("skull", display_mesh(skull))
    made.set_layer("skull", visible=True, opacity=1.0, colour=(0.8, 0.8, 0.8))
    yield made
    made.close()


def on_egg(scene: Scene3D, x: float, y: float, z: float) -> np.ndarray:
    """Return the point of the egg that lies in a direction of its own frame, LPS mm."""
    unit = np.array([x, y, z]) / np.linalg.norm([x / 0.8, y, z / 1.2])
    matrix = scene.snapshot().patient_from_frame
    return matrix[:3, :3] @ (70 * unit) + matrix[:3, 3]


def green(picture: np.ndarray) -> np.ndarray:
    """Return (row, column) of the middle of what is green; NaN where nothing is."""
    values = picture.astype(int)
    there = np.argwhere(values[..., 1] > values[..., 0] + 60)
    return there.mean(axis=0) if len(there) else np.full(2, np.nan)


@pytest.mark.parametrize("view", list(VIEWS))
def test_a_click_finds_the_point_that_is_seen_there(scene: Scene3D, view: str) -> None:
    scene.set_view(view)
    scene.zoom(1.2)
    scene.pan(0.1, -0.05)
    scene.render(WIDTH, HEIGHT)
    turned = scene.snapshot().patient_from_frame[:3, :3]
    facing = turned.T @ scene.pose.toward_camera
    for aside in ([0.0, 0, 0], [0.2, 0.1, 0.2], [-0.2, -0.1, 0.1]):
        truth = on_egg(scene, *(facing + np.array(aside)))
        spot = scene.pick(*scene.pose.pixel_of(truth, (WIDTH, HEIGHT)))
        assert spot is not None
        assert np.linalg.norm(spot - truth) < 2.0  # a pixel is 0.8 mm, a facet of the egg 9 mm


def test_a_click_beside_the_skull_finds_nothing(scene: Scene3D) -> None:
    scene.set_view("frontal")
    scene.render(WIDTH, HEIGHT)
    assert scene.pick(2, 2) is None
    scene.set_layer("skull", visible=False, opacity=1.0, colour=(0.8, 0.8, 0.8))
    assert scene.pick(WIDTH / 2, HEIGHT / 2) is None


def test_a_face_over_the_skull_is_looked_through(scene: Scene3D, made_up) -> None:
    matrix = scene.snapshot().patient_from_frame
    scene.set_mesh("face", display_mesh(made_up.face.mesh.transformed(matrix)))
    scene.set_layer("face", visible=True, opacity=1.0, colour=(0.8, 0.5, 0.4))
    scene.set_view("frontal")
    scene.render(WIDTH, HEIGHT)
    truth = on_egg(scene, 0, -1, 0)
    spot = scene.pick(*scene.pose.pixel_of(truth, (WIDTH, HEIGHT)))
    assert np.linalg.norm(spot - truth) < 2.0  # the face lies 10 mm farther out


def test_a_marker_is_drawn_where_its_point_is(scene: Scene3D) -> None:
    truth = on_egg(scene, 0.6, -1, 0.3)
    scene.set_markers([Marker((truth[0], truth[1], truth[2]), GREEN)])
    scene.set_view("frontal")
    row, column = green(scene.render(WIDTH, HEIGHT))
    x, y = scene.pose.pixel_of(truth, (WIDTH, HEIGHT))
    assert abs(column - x) < 2
    assert abs(row - y) < 2
    assert column > WIDTH / 2 + 10  # the examinee's left is at the viewer's right
    scene.set_view("lateral-right")
    assert np.isnan(green(scene.render(WIDTH, HEIGHT))).all()  # behind the bone
    scene.set_markers([])
    scene.set_view("frontal")
    assert np.isnan(green(scene.render(WIDTH, HEIGHT))).all()


def test_markers_keep_their_size_when_one_looks_closer(scene: Scene3D) -> None:
    truth = on_egg(scene, 0, -1, 0)
    scene.set_markers([Marker((truth[0], truth[1], truth[2]), GREEN)])
    scene.set_view("frontal")
    areas = []
    for _ in range(2):
        values = scene.render(WIDTH, HEIGHT).astype(int)
        areas.append(int((values[..., 1] > values[..., 0] + 60).sum()))
        scene.zoom(3.0)
    assert areas[0] > 30
    assert abs(areas[1] - areas[0]) < 0.3 * areas[0]


@pytest.mark.parametrize(
    ("direction", "view"), [((1, 0, 0), "lateral-left"), ((-1, 0.1, 0), "lateral-right"),
                            ((0, 0, 1), "vertex"), ((0, 1, 0), None), ((0, 0, -1), None)],
)  # fmt: skip
def test_the_head_can_be_turned_to_any_point(scene: Scene3D, direction, view) -> None:
    truth = on_egg(scene, *direction)
    scene.turn_to(on_egg(scene, *(-np.array(direction))))  # seen from behind
    assert scene.hides(truth)
    assert scene.view_showing(truth) == view
    if view is None:
        scene.turn_to(truth)
    else:
        scene.set_view(view)
    scene.centre_on(truth)
    assert not scene.hides(truth)
    pose = scene.pose
    assert np.allclose(pose.pixel_of(truth, (WIDTH, HEIGHT)), ((WIDTH - 1) / 2, (HEIGHT - 1) / 2))
    axes = np.stack([pose.right, pose.up, pose.toward_camera])
    assert np.allclose(axes @ axes.T, np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_a_saved_picture_has_the_marks_and_names_that_were_seen(scene: Scene3D) -> None:
    truth = on_egg(scene, 0.3, -1, 0)
    scene.set_markers([Marker((truth[0], truth[1], truth[2]), GREEN, "Porion, left", True)])
    scene.set_view("frontal")
    scene.render(WIDTH, HEIGHT)
    other = Scene3D(annotated=False)
    try:
        other.show_snapshot(scene.snapshot())
        named = other.render(WIDTH, HEIGHT)
        assert np.isfinite(green(named)).all()
        other.set_markers([Marker((truth[0], truth[1], truth[2]), GREEN, "", True)])
        bare = other.render(WIDTH, HEIGHT)
    finally:
        other.close()
    changed = np.argwhere(np.abs(named.astype(int) - bare).max(axis=-1) > 40)[:, 1]
    x, _ = scene.pose.pixel_of(truth, (WIDTH, HEIGHT))
    assert changed.min() > x  # the name stands outward of the point
