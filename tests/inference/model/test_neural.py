from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from facegen_inference.errors import ModelError, UserError
from facegen_inference.face import Profile
from facegen_inference.face_surface import LEAST_SLOPE, face_from_field, thickness
from facegen_inference.frame import Frame
from facegen_inference.mesh import Mesh
from facegen_inference.neural import predict_face
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.progress import Cancelled, silent
from facegen_inference.reconstruct import Request
from facegen_inference.skull import Presence, Skull
from facegen_inference.volume import Grid

NO_MESH = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32))
UPRIGHT = Frame(np.eye(4), "given", 0.0, 1.0)
RADII = np.array([62.0, 80.0, 92.0])
MIDDLE = np.array([0.0, -20.0, -10.0])

Write = Callable[..., Path]


def egg(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed distance (about) to an egg in the place of a head, frame mm."""
    inner = np.linalg.norm((points - MIDDLE) / RADII, axis=1)
    slope = np.linalg.norm((points - MIDDLE) / RADII**2, axis=1)
    return np.asarray(inner * (inner - 1) / np.maximum(slope, 1e-6))


def skull_in(frame: Frame, spacing: float = 4.0) -> Skull:
    """The egg as bone, on an axis-aligned grid of patient space around it."""
    count = int(300 / spacing)
    matrix = np.eye(4)
    matrix[:3, :3] = spacing * np.eye(3)[:, ::-1]
    centre = frame.patient_from_frame[:3, :3] @ MIDDLE + frame.patient_from_frame[:3, 3]
    matrix[:3, 3] = centre - 150
    grid = Grid((count, count, count), matrix)
    points = grid.patient_points(np.indices(grid.shape).reshape(3, -1).T.astype(float))
    m = frame.frame_from_patient
    distance = np.clip(egg(points @ m[:3, :3].T + m[:3, 3]), -40, 40).astype(np.float32)
    observed = np.ones(grid.shape, dtype=bool)
    return Skull(distance.reshape(grid.shape), grid, observed, NO_MESH)


def turned() -> Frame:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [30, -50, 100], degrees=True).as_matrix()
    matrix[:3, 3] = [12, -300, 700]
    return Frame(matrix, "given", 0.0, 1.0)


def predict(path: Path, frame: Frame = UPRIGHT, **wishes: Any):  # type: ignore[no-untyped-def]
    request = Request(model=path, device="cpu", **wishes)
    return predict_face(skull_in(frame), frame, {}, request, silent)


def test_the_face_lies_where_the_model_puts_it(write_model: Write) -> None:
    face = predict(write_model(), variants=0)
    data = face.mesh.vertex_data
    assert np.nanmedian(data["thickness_mm"]) == pytest.approx(12, abs=0.5)
    assert np.abs(egg(face.mesh.vertices) - 12).mean() < 1.0
    # An egg lacks much of a skull's bone, so the bands grow; least where it lies as a skull does.
    assert data["band50_mm"].min() == pytest.approx(0.6745 * 2, abs=0.02)
    assert data["band90_mm"].min() == pytest.approx(1.6449 * 2 * 1.5, abs=0.02)
    assert (data["spread_mm"] > data["band50_mm"]).all()
    assert (data["spread_mm"] < data["band90_mm"]).all()
    assert (data["predicted"] == 1).all()
    assert face.variants == ()


def test_the_face_is_cut_to_the_front_and_seen_from_outside(write_model: Write) -> None:
    mesh = predict(write_model(), variants=0).mesh
    assert mesh.vertices[:, 1].max() < 5
    assert mesh.vertices[:, 2].max() < 90
    outward = (mesh.normals() * (mesh.vertices - MIDDLE)).sum(axis=1)
    assert (outward > 0).mean() > 0.98


def test_it_follows_the_scan_however_that_lies(write_model: Write) -> None:
    path, frame = write_model(), turned()
    upright = predict(path, variants=0).mesh
    moved = predict(path, frame, variants=0).mesh.transformed(frame.frame_from_patient)
    gap, _ = cKDTree(upright.vertices).query(moved.vertices)
    assert np.median(np.abs(egg(moved.vertices) - egg(upright.vertices).mean())) < 0.5
    assert np.quantile(gap, 0.95) < 8
    assert np.abs(moved.vertices.mean(axis=0) - upright.vertices.mean(axis=0)).max() < 1.0


def test_thin_average_and_heavy_differ_visibly_and_in_order(write_model: Write) -> None:
    face = predict(write_model(), variants=5, seed=3)
    names = [variant.name for variant in face.variants]
    assert names == ["thin", "average", "heavy", "alternative 1", "alternative 2"]
    thin, average, heavy = (egg(v.mesh.vertices).mean() for v in face.variants[:3])
    assert average - thin > 1.5
    assert heavy - average > 1.5
    for mesh in (variant.mesh for variant in face.variants):
        assert "spread_mm" in mesh.vertex_data


def test_the_build_of_the_profile_chooses_the_face(write_model: Write) -> None:
    path = write_model()
    plain = predict(path, variants=0)
    heavy = predict(path, variants=0, profile=Profile(sex="female", age=50, build="heavy"))
    assert egg(heavy.mesh.vertices).mean() > egg(plain.mesh.vertices).mean() + 3
    assert any("heavy" in note for note in heavy.notes)
    assert any("sex and age had no influence" in note for note in heavy.notes)
    assert not any("no influence" in note for note in plain.notes)


def test_missing_bone_is_said(write_model: Write) -> None:
    skull = replace(skull_in(UPRIGHT), parts={"mandible": Presence.ABSENT})
    request = Request(model=write_model(), device="cpu", variants=0)
    face = predict_face(skull, UPRIGHT, {}, request, silent)
    assert any("mandible" in note for note in face.notes)


def test_the_face_carries_card_hash_and_device(write_model: Write) -> None:
    face = predict(write_model(), variants=1)
    assert face.model is not None
    assert face.model["name"] == "eight millimetres"
    assert len(str(face.model["sha256"])) == 64
    assert "CPU" in face.device
    assert {"preprocess", "network", "surface"} <= set(face.timings)


def test_the_same_request_gives_the_same_bytes(write_model: Write) -> None:
    path = write_model()
    one, two = (predict(path, variants=4, seed=9) for _ in range(2))
    assert one.mesh.vertices.tobytes() == two.mesh.vertices.tobytes()
    last = (one.variants[-1].mesh.vertices.tobytes(), two.variants[-1].mesh.vertices.tobytes())
    assert last[0] == last[1]


def test_variants_depend_on_the_seed_from_the_fourth_on(write_model: Write) -> None:
    path = write_model()
    one, two = (predict(path, variants=4, seed=seed) for seed in (0, 1))
    assert one.variants[2].mesh.vertices.tobytes() == two.variants[2].mesh.vertices.tobytes()
    assert one.variants[3].mesh.vertices.tobytes() != two.variants[3].mesh.vertices.tobytes()
    assert [variant.name for variant in predict(path, variants=2).variants] == ["thin", "average"]


def test_the_card_says_where_thin_and_heavy_lie(write_model: Write, card: dict[str, Any]) -> None:
    builds = {**card["calibration"], "thin_sd": -0.5, "heavy_sd": 2.0}
    path = write_model(card=json.dumps({**card, "calibration": builds}))
    thin, average, heavy = (egg(v.mesh.vertices).mean() for v in predict(path).variants)
    assert average - thin == pytest.approx(0.5 * 4, abs=0.5)
    assert heavy - average == pytest.approx(2.0 * 4, abs=1.5)


def test_alternatives_that_are_alike_are_said_to_be(
    write_model: Write, card: dict[str, Any]
) -> None:
    apart = predict(write_model(), variants=4)
    assert not any("alternatives lie less" in note for note in apart.notes)
    near = {**card["calibration"], "thin_sd": -0.1, "heavy_sd": 0.1}
    path = write_model(card=json.dumps({**card, "calibration": near}))
    assert any("lie less than 1.5 mm apart" in note for note in predict(path, variants=4).notes)


def test_cancel_stops_it(write_model: Write) -> None:
    def cancel(fraction: float, step: str) -> None:
        raise Cancelled

    request = Request(model=write_model(), device="cpu")
    with pytest.raises(Cancelled):
        predict_face(skull_in(UPRIGHT), UPRIGHT, {}, request, cancel)


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        predict(tmp_path / "none.onnx")


def field_of(spec: PreprocessSpec, offset: float) -> NDArray[np.float32]:
    points = spec.grid.patient_points(np.indices(spec.shape).reshape(3, -1).T.astype(float))
    return (egg(points) - offset).reshape(spec.shape).astype(np.float32)


def test_skin_is_never_under_bone(spec: PreprocessSpec) -> None:
    skull = skull_in(UPRIGHT)
    fine = PreprocessSpec(shape=(64, 52, 48), spacing_mm=4.0)
    spread = np.ones(fine.shape, dtype=np.float32)
    mesh = face_from_field(field_of(fine, -9.0), spread, fine.grid, skull, UPRIGHT, {})
    assert np.quantile(egg(mesh.vertices), 0.05) > 1.0
    assert np.abs(egg(mesh.vertices) - 1.5).mean() < 0.5


def test_a_flat_field_has_its_spread_stretched_along_the_normal(spec: PreprocessSpec) -> None:
    """A mean over skins that lie apart rises by less than a millimetre a millimetre."""
    fine = PreprocessSpec(shape=(64, 52, 48), spacing_mm=4.0)
    field, spread = field_of(fine, 12.0), np.full(fine.shape, 2.0, dtype=np.float32)
    for slope, stretched in ((1.0, 2.0), (0.5, 4.0), (0.1, 2.0 / LEAST_SLOPE)):
        flat = (slope * field).astype(np.float32)
        mesh = face_from_field(flat, spread, fine.grid, skull_in(UPRIGHT), UPRIGHT, {})
        found = mesh.vertex_data["spread_mm"]
        assert np.median(found) == pytest.approx(stretched, rel=0.05)
        assert found.min() > 0.95 * stretched


def test_a_field_without_a_face_is_refused(spec: PreprocessSpec) -> None:
    empty = np.full(spec.shape, 30.0, dtype=np.float32)
    nothing = replace(skull_in(UPRIGHT), distance=np.full_like(skull_in(UPRIGHT).distance, 40.0))
    with pytest.raises(UserError, match="No face"):
        face_from_field(empty, np.ones_like(empty), spec.grid, nothing, UPRIGHT, {})


def test_outside_the_scan_nothing_counts_as_predicted(spec: PreprocessSpec) -> None:
    skull = skull_in(UPRIGHT)
    points = skull.grid.patient_points(np.indices(skull.grid.shape).reshape(3, -1).T.astype(float))
    cut = replace(skull, observed=(points[:, 2] < 0).reshape(skull.grid.shape))
    spread = np.ones(spec.shape, dtype=np.float32)
    mesh = face_from_field(field_of(spec, 12.0), spread, spec.grid, cut, UPRIGHT, {})
    above, below = mesh.vertices[:, 2] > 20, mesh.vertices[:, 2] < -5
    assert (mesh.vertex_data["predicted"][above] == 0).all()
    assert (mesh.vertex_data["predicted"][below] == 1).all()


def test_thickness_is_not_a_number_where_no_bone_is_met() -> None:
    skull = skull_in(UPRIGHT)
    away = np.array([[0.0, -20, 125], [10, -20, 125], [0, -10, 125]])
    facing_up = Mesh(away, np.array([[0, 1, 2]], dtype=np.int32))
    assert thickness(facing_up, skull) == pytest.approx(43, abs=2)
    facing_down = Mesh(away, np.array([[0, 2, 1]], dtype=np.int32))
    assert np.isnan(thickness(facing_down, skull)).all()
