"""Pixels: nothing mirrored, nothing vanishing, true to scale, the same bytes each time."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from facegen_app.rendering.camera import VIEWS, direction_letters, pose_for, round_length
from facegen_app.rendering.display_mesh import LIGHT_TRIANGLES, display_mesh, print_mesh
from facegen_app.rendering.pictures import PICTURE_VIEWS, save_pictures, save_snapshot
from facegen_app.rendering.scene import Scene3D
from facegen_inference.errors import OutputError
from facegen_inference.frame import Frame
from facegen_inference.mesh import Mesh

GREY, RED = (0.8, 0.8, 0.8), (1.0, 0.1, 0.1)
SIZE = 200


def ball(radius: float, centre: tuple[float, float, float], points: int = 24) -> Mesh:
    """Return a sphere, triangles counter-clockwise seen from outside."""
    polar, around = np.meshgrid(
        np.linspace(0.02, np.pi - 0.02, points), np.arange(2 * points) * np.pi / points,
        indexing="ij",
    )  # fmt: skip
    unit = np.stack(
        [np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)], -1
    ).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(points - 1), np.arange(2 * points), indexing="ij")
    here, right = row * 2 * points + column, row * 2 * points + (column + 1) % (2 * points)
    below, across = here + 2 * points, right + 2 * points
    triangles = np.concatenate(
        [np.stack([here, below, right], -1).reshape(-1, 3),
         np.stack([right, below, across], -1).reshape(-1, 3)]
    )  # fmt: skip
    return Mesh(np.array(centre) + radius * unit, triangles.astype(np.int32))


def turned(degrees: float) -> NDArray[np.float64]:
    """Return a rotation about the vertical, 4×4."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(4)
    matrix[:2, :2] = [[c, -s], [s, c]]
    return matrix


def frame_of(matrix: NDArray[np.float64]) -> Frame:
    return Frame(matrix, "given", 0.0, 1.0)


@pytest.fixture
def scene() -> Iterator[Scene3D]:
    made = Scene3D(annotated=False)
    made.set_frame(frame_of(np.eye(4)))
    made.set_size(SIZE, SIZE)
    yield made
    made.close()


def show(scene: Scene3D, layer: str, mesh: Mesh, opacity: float = 1.0, colour=GREY) -> None:
    scene.set_mesh(layer, display_mesh(mesh))
    scene.set_layer(layer, visible=True, opacity=opacity, colour=colour)


def reddish(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    red, green, _ = np.moveaxis(picture.astype(int), -1, 0)
    return red > green + 40


def test_a_translucent_face_over_an_opaque_skull_does_not_vanish(scene: Scene3D) -> None:
    show(scene, "skull", ball(60, (0, 0, 0)))
    scene.set_view("frontal")
    alone = scene.render(SIZE, SIZE)
    show(scene, "face", ball(75, (0, 0, 0)), opacity=0.5, colour=RED)
    over = scene.render(SIZE, SIZE)
    moving = scene.render(SIZE, SIZE, moving=True)
    show(scene, "face", ball(75, (0, 0, 0)), opacity=1.0, colour=RED)
    solid = scene.render(SIZE, SIZE)
    middle = np.s_[80:120, 80:120]
    assert np.abs(over[middle].astype(int) - alone[middle]).mean() > 15
    assert np.abs(over[middle].astype(int) - solid[middle]).mean() > 15
    assert np.abs(over.astype(int) - moving).mean() < 6  # no peeling while moving: nearly the same


def test_hidden_and_clear_layers_leave_no_trace(scene: Scene3D) -> None:
    show(scene, "skull", ball(60, (0, 0, 0)))
    show(scene, "face", ball(75, (0, 0, 0)), opacity=0.0, colour=RED)
    scene.set_view("frontal")
    clear = scene.render(SIZE, SIZE)
    scene.set_layer("face", visible=False, opacity=1.0, colour=RED)
    hidden = scene.render(SIZE, SIZE)
    assert np.array_equal(clear, hidden)
    assert not reddish(clear).any()


@pytest.mark.parametrize("yaw", [0.0, 35.0, 180.0])
def test_a_marker_on_the_left_is_seen_where_the_left_is(scene: Scene3D, yaw: float) -> None:
    """The head lies turned in the scanner; views follow the frame, and nothing is mirrored."""
    matrix = turned(yaw)
    matrix[:3, 3] = (30.0, -200.0, 900.0)
    show(scene, "skull", ball(60, (0, 0, 0)).transformed(matrix))
    show(scene, "face", ball(15, (58, -10, 0)).transformed(matrix), colour=RED)  # on the left
    scene.set_frame(frame_of(matrix))
    columns = {}
    for view in VIEWS:
        scene.set_view(view)
        seen = reddish(scene.render(SIZE, SIZE))
        columns[view] = np.argwhere(seen)[:, 1].mean() - SIZE / 2 if seen.any() else None
    assert columns["frontal"] > 40  # the examinee's left is at the viewer's right
    assert columns["vertex"] < -40  # seen from above with the face up: left is left
    assert columns["lateral-right"] is None  # behind the head
    assert abs(columns["lateral-left"]) < 30
    assert columns["three-quarter-left"] > 10


def test_pictures_are_true_to_scale(scene: Scene3D) -> None:
    show(scene, "skull", ball(50, (10, 20, 30)))
    scene.set_view("frontal")
    picture = scene.render(SIZE, SIZE)
    background = picture[0, 0].astype(int)
    wide = (np.abs(picture.astype(int) - background).sum(axis=-1) > 30).any(axis=0).sum()
    assert wide == pytest.approx(100 * SIZE / (2 * scene.pose.half_height), abs=2)


def test_turning_moving_and_zooming(scene: Scene3D) -> None:
    show(scene, "skull", ball(50, (0, 0, 0)))
    show(scene, "face", ball(10, (0, -50, 0)), colour=RED)  # a nose
    scene.set_view("frontal")

    def nose() -> tuple[float, float]:
        row, column = np.argwhere(reddish(scene.render(SIZE, SIZE))).mean(axis=0)
        return float(column), float(row)

    column, row = nose()
    scene.rotate(20, 0)
    assert nose()[0] > column + 10  # dragged to the right, the nose goes right
    scene.rotate(-20, 15)
    assert nose()[1] > row + 8  # dragged down, the nose goes down
    scene.set_view("frontal")
    scene.pan(0.1, 0.0)
    assert nose()[0] == pytest.approx(column + 0.1 * SIZE, abs=2)
    half = scene.pose.half_height
    scene.zoom(2.0)
    assert scene.pose.half_height == pytest.approx(half / 2)


def test_letters_of_directions() -> None:
    assert direction_letters(np.array([1.0, 0.0, 0.0])) == "L"
    assert direction_letters(np.array([0.0, -1.0, 0.0])) == "A"
    assert direction_letters(np.array([0.0, 0.1, -0.99])) == "I"
    assert direction_letters(np.array([-0.71, -0.70, 0.0])) == "RA"


@pytest.mark.parametrize(
    ("view", "right"),
    [("frontal", "L"), ("lateral-left", "P"), ("lateral-right", "A"), ("vertex", "R")],
)
def test_what_is_written_at_the_right_of_a_standard_view(view: str, right: str) -> None:
    pose = pose_for(VIEWS[view], np.eye(4), np.array([[-50.0, -60, -70], [50, 60, 70]]), 1.5)
    assert direction_letters(pose.right) == right


def test_a_standard_view_shows_everything_in_a_narrow_window() -> None:
    points = np.random.default_rng(1).uniform(-80, 80, (100, 3)) + np.array([10, 20, 900])
    for aspect in (0.4, 2.5):
        pose = pose_for(VIEWS["three-quarter-left"], turned(20), points, aspect)
        across = (points - pose.centre) @ pose.right
        up = (points - pose.centre) @ pose.up
        assert np.abs(up).max() < pose.half_height
        assert np.abs(across).max() < pose.half_height * aspect


def test_scale_bar_lengths_are_round() -> None:
    assert [round_length(x) for x in (0.9, 1.0, 4.9, 57.0, 130.0)] == [0.5, 1.0, 2.0, 50.0, 100.0]


def test_a_large_mesh_gets_a_light_one_of_the_same_place() -> None:
    mesh = ball(80, (5, 6, 7), points=200)
    made = display_mesh(mesh)
    assert made.triangles == len(mesh.triangles) > LIGHT_TRIANGLES
    assert made.light.GetNumberOfCells() < LIGHT_TRIANGLES * 1.1
    assert np.allclose(made.light.GetBounds(), made.full.GetBounds(), atol=1.0)
    small = display_mesh(ball(80, (5, 6, 7)))
    assert small.light is small.full
    assert print_mesh(mesh).triangles == len(mesh.triangles)


def read_png(path: Path) -> tuple[NDArray[np.uint8], dict[bytes, bytes]]:
    """Read what `write_png` writes: filter 2 on every row."""
    data, chunks, at = path.read_bytes(), {}, 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length :][:4])[0]
        chunks[kind], at = body, at + 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert (rows[:, 0] == 2).all()
    pixels = np.cumsum(rows[:, 1:].astype(np.uint64), axis=0).astype(np.uint8)
    return pixels.reshape(height, width, 3), chunks


def test_pictures_of_a_result(tmp_path: Path) -> None:
    skull, face = ball(60, (0, 0, 0)), ball(70, (0, -10, 0))
    frame = frame_of(turned(15))
    told: list[float] = []
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
        files = save_pictures(
            skull, face, frame, folder, size=(160, 140), progress=lambda f, _: told.append(f)
        )
    assert len(files) == 3 * len(PICTURE_VIEWS) == len(list(second.iterdir()))
    assert told[-1] == 1.0
    for path in files:
        assert path.read_bytes() == (first / path.name).read_bytes()
    shown = {
        kind: read_png(second / f"frontal-{kind}.png")[0] for kind in ("skull", "face", "overlay")
    }
    assert shown["skull"].shape == (140, 160, 3)
    assert np.abs(shown["overlay"].astype(int) - shown["skull"]).mean() > 3
    assert np.abs(shown["overlay"].astype(int) - shown["face"]).mean() > 1
    assert b"pHYs" in read_png(second / "frontal-skull.png")[1]


def test_without_a_face_only_the_skull_is_drawn(tmp_path: Path) -> None:
    files = save_pictures(
        ball(60, (0, 0, 0)), None, frame_of(np.eye(4)), tmp_path, size=(80, 80), views=("frontal",)
    )
    assert [path.name for path in files] == ["frontal-skull.png"]


def test_a_snapshot_is_drawn_on_another_thread(scene: Scene3D, tmp_path: Path) -> None:
    show(scene, "skull", ball(60, (0, 0, 0)))
    show(scene, "face", ball(12, (58, 0, 0)), colour=RED)
    scene.set_view("frontal")
    scene.render(SIZE, SIZE)
    path = tmp_path / "seen.png"
    thread = threading.Thread(target=save_snapshot, args=(scene.snapshot(), path))
    thread.start()
    thread.join()
    picture, _ = read_png(path)
    assert picture.shape == (2 * SIZE, 2 * SIZE, 3)
    assert np.argwhere(reddish(picture))[:, 1].mean() > 1.4 * SIZE
    with pytest.raises(OutputError):
        save_snapshot(scene.snapshot(), tmp_path / "no such folder" / "seen.png")
