"""The wipe between skull and face, and the face coloured by its band: pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facegen_app.model.scene import SceneModel
from facegen_app.rendering.display_mesh import LIGHT_TRIANGLES, DisplayMesh, display_mesh
from facegen_app.rendering.pictures import save_snapshot
from facegen_app.rendering.scene import Scene3D
from facegen_inference.mesh import Mesh

SIZE = 200
GREEN, RED = (0.1, 0.9, 0.1), (1.0, 0.1, 0.1)


@pytest.fixture
def scene(made_up) -> Iterator[Scene3D]:
    """A green skull in a red face, seen from the front."""
    made = Scene3D(annotated=False)
    made.set_size(SIZE, SIZE)
    made.set_mesh("skull", display_mesh(made_up.prepared.skull.mesh))
    made.set_mesh("face", display_mesh(made_up.face.mesh))
    made.set_layer("skull", visible=True, opacity=1.0, colour=GREEN)
    made.set_layer("face", visible=True, opacity=0.3, colour=RED)
    made.set_view("frontal")
    yield made
    made.close()


def columns_of(scene: Scene3D) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns in which the last picture is clearly green, and clearly red."""
    red, green, _ = np.moveaxis(scene.render(SIZE, SIZE).astype(int), -1, 0)
    return (
        np.flatnonzero((green > 2 * red + 20).any(axis=0)),
        np.flatnonzero((red > 2 * green + 20).any(axis=0)),
    )


@pytest.mark.parametrize(
    ("view", "share"), [("frontal", 0.35), ("lateral-left", 0.6), ("vertex", 0.5)]
)
def test_skull_is_left_of_the_line_and_face_right_of_it_in_every_view(
    scene: Scene3D, view: str, share: float
) -> None:
    scene.set_view(view)
    scene.rotate(17, 8)
    scene.zoom(1.3)
    scene.pan(0.05, -0.1)
    scene.set_wipe(share)
    green, red = columns_of(scene)
    line = share * SIZE
    assert green.min() < line - 20
    assert red.max() > line + 20
    assert green.max() <= line + 1
    assert red.min() >= line - 2
    assert green.max() > line - 6  # both reach the line
    assert red.min() < line + 6


def test_without_the_wipe_both_are_whole_again(scene: Scene3D) -> None:
    before = scene.render(SIZE, SIZE)
    scene.set_wipe(0.5)
    assert np.abs(scene.render(SIZE, SIZE).astype(int) - before).mean() > 5
    scene.set_wipe(None)
    assert np.array_equal(scene.render(SIZE, SIZE), before)


def test_the_wipe_needs_both(scene: Scene3D) -> None:
    scene.set_wipe(0.5)
    assert scene.is_wiped
    scene.set_layer("face", visible=False, opacity=1.0, colour=RED)
    assert not scene.is_wiped
    green, _ = columns_of(scene)
    assert green.max() > 0.6 * SIZE  # the skull is whole, and can be clicked everywhere
    assert scene.pick(0.6 * SIZE, SIZE / 2) is not None


def test_clear_layers_are_solid_beside_the_line(scene: Scene3D) -> None:
    scene.set_layer("skull", visible=True, opacity=0.0, colour=GREEN)
    scene.set_wipe(0.5)
    green, red = columns_of(scene)
    assert green.size > 20
    assert red.size > 20


def test_a_saved_picture_shows_wipe_and_bands(scene: Scene3D, tmp_path: Path, monkeypatch) -> None:
    pictures = []
    monkeypatch.setattr(
        "facegen_app.rendering.pictures.write_png", lambda _path, picture: pictures.append(picture)
    )
    scene.render(SIZE, SIZE)
    for wipe, bands in ((None, False), (0.5, False), (0.5, True)):
        scene.set_wipe(wipe)
        scene.set_bands(bands)
        save_snapshot(scene.snapshot(), tmp_path / "seen.png", scale=1.0)
    one, two, three = (picture.astype(int) for picture in pictures)
    line = two[:, SIZE // 2 - 1 : SIZE // 2 + 1].min(axis=(1, 2))
    assert (line < 80).all()  # dark from top to bottom on paper
    aside = two[SIZE // 2 - 6 : SIZE // 2 + 6, SIZE // 2 + 4 : SIZE // 2 + 9]
    assert (aside[..., 0] > aside[..., 1] + 40).all()  # no handle hides the face
    assert np.abs(one - two).mean() > 5
    assert np.abs(two - three)[:, SIZE // 2 :].mean() > 5


def with_band(mesh: Mesh, low: float, high: float) -> DisplayMesh:
    """Return the mesh with a band that grows from below to above, mm."""
    z = mesh.vertices[:, 2]
    ramp = low + (high - low) * (z - z.min()) / np.ptp(z)
    return display_mesh(replace(mesh, vertex_data={"band90_mm": ramp.astype(np.float32)}))


def yellow(picture: np.ndarray) -> np.ndarray:
    """Return for each row how much more red than blue it is."""
    red, _, blue = np.moveaxis(picture.astype(int), -1, 0)
    return (red - blue).max(axis=1)


def test_a_wide_band_is_yellow_and_a_narrow_one_blue(scene: Scene3D, made_up) -> None:
    scene.set_mesh("face", with_band(made_up.face.mesh, 0.0, 8.0))
    scene.set_layer("face", visible=True, opacity=1.0, colour=RED)
    scene.set_bands(True)
    for moving in (False, True):
        rows = yellow(scene.render(SIZE, SIZE, moving=moving)[:, 80:120])
        assert rows[30:60].max() > 80
        assert rows[150:170].max() < 0
    scene.set_bands(False)
    assert yellow(scene.render(SIZE, SIZE)[:, 80:120])[150:170].max() > 80  # red as before


def test_the_scale_of_the_colours_is_the_mesh_s_own_in_whole_millimetres(made_up) -> None:
    assert with_band(made_up.face.mesh, 0.0, 8.0).band_top_mm == 8.0
    assert with_band(made_up.face.mesh, 1.0, 3.3).band_top_mm == 4.0
    assert display_mesh(made_up.face.variants[0].mesh).band_top_mm is None
    unknown = np.full(len(made_up.face.mesh.vertices), np.nan, np.float32)
    mesh = replace(made_up.face.mesh, vertex_data={"band90_mm": unknown})
    assert display_mesh(mesh).band_top_mm is None


def test_the_light_copy_carries_the_band_of_the_same_places() -> None:
    side = np.linspace(-80, 80, 250)
    x, z = np.meshgrid(side, side)
    vertices = np.stack([x.ravel(), np.sin(x / 20).ravel(), z.ravel()], -1)
    corner = (np.arange(249)[:, None] * 250 + np.arange(249)).ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 1, corner + 250], -1),
         np.stack([corner + 1, corner + 251, corner + 250], -1)]
    )  # fmt: skip
    made = with_band(Mesh(vertices, triangles.astype(np.int32)), 0.0, 8.0)
    assert made.triangles > LIGHT_TRIANGLES
    light = made.light
    assert light.GetNumberOfCells() < LIGHT_TRIANGLES * 1.1
    for index in range(0, light.GetNumberOfPoints(), 500):
        expected = 8 * (light.GetPoint(index)[2] + 80) / 160
        assert light.GetPointData().GetScalars().GetTuple1(index) == pytest.approx(
            expected, abs=0.1
        )


def test_the_fade_goes_from_bare_skull_to_face_alone() -> None:
    model = SceneModel()
    seen = []
    for blend in (0.0, 0.5, 0.8, 1.0, 7.0):
        model.set_blend(blend)
        seen.append((model.layer("skull").opacity, model.layer("face").opacity))
    assert seen == [(1, 0), (1, 0.5), (pytest.approx(0.5), 0.8), (0, 1), (0, 1)]


def test_line_and_bare_skull_in_the_model() -> None:
    model, told, layers = SceneModel(), [], []
    model.compared.connect(lambda: told.append(model.wipe))
    model.layer_changed.connect(layers.append)
    model.move_wipe(1.7)
    model.set_wiping(False)
    model.set_wiping(True)  # it stands where it stood
    model.set_blend(0.4)
    assert told == [1.0, None, 1.0, None]
    layers.clear()
    model.set_blend(1.0)
    model.set_bare(True)
    assert (model.shown("skull").opacity, model.shown("face").visible) == (1.0, False)
    assert layers[-2:] == ["skull", "face"]
    model.set_bare(False)
    assert model.shown("face") == model.layer("face")
