from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from facegen_inference.atlas import load_atlas
from facegen_inference.closest import ClosestOnSurface
from facegen_inference.face import Profile
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmark
from facegen_inference.mean_face import build_steps
from facegen_inference.methods import METHODS
from facegen_inference.progress import silent
from facegen_inference.reconstruct import Request
from facegen_inference.skull import Skull
from facegen_inference.surface import isosurface
from facegen_inference.template_model import shipped_template
from facegen_inference.volume import Grid


@pytest.fixture(scope="module")
def mean_skull():
    """The mean skull lying turned and moved in a scan, with its landmarks and frame."""
    atlas = load_atlas()
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    matrix[:3, 3] = [200, -120, 900]
    placed = Grid(atlas.grid.shape, matrix @ atlas.grid.patient_from_voxel)
    mesh = isosurface(atlas.bone, placed.patient_from_voxel, 0.0)
    skull = Skull(atlas.bone, placed, np.ones(atlas.grid.shape, dtype=bool), mesh)
    landmarks = {}
    for code, point in atlas.landmarks.items():
        x, y, z = (matrix[:3, :3] @ point + matrix[:3, 3]).tolist()
        landmarks[code] = Landmark(code, (x, y, z), "automatic", 0.9)
    return skull, Frame(matrix, "given", 0.0, 1.0), landmarks


def made(mean_skull, method, **request):
    return METHODS[method](*mean_skull, Request(method=method, **request), silent)


def rms_between(a, b):
    return float(np.sqrt((ClosestOnSurface(b).query(a.vertices).distance ** 2).mean()))


@pytest.mark.parametrize("method", ["mean-face", "tissue-depth", "template"])
def test_a_method_gives_a_face_over_the_mean_skull(mean_skull, method):
    face = made(mean_skull, method)
    atlas = load_atlas()
    mean = isosurface(atlas.skin, mean_skull[0].grid.patient_from_voxel, 0.0)
    assert face.method == method
    assert rms_between(face.mesh, mean) < (0.5 if method == "mean-face" else 5.0)
    assert {"spread_mm", "band50_mm", "band90_mm", "thickness_mm", "predicted"} <= set(
        face.mesh.vertex_data
    )
    # Both profiles of the face are there, and its front: nothing was cut away by mistake.
    frame = face.mesh.transformed(mean_skull[1].frame_from_patient).vertices
    assert frame[:, 0].min() < -60
    assert frame[:, 0].max() > 60
    assert frame[:, 1].min() < -115
    names = [variant.name for variant in face.variants]
    assert names == ["thin", "average", "heavy"]
    for n, one in enumerate(face.variants):
        for other in face.variants[n + 1 :]:
            assert rms_between(one.mesh, other.mesh) > 1.5
    if method == "template":
        assert face.model["sha256"] == sha256(shipped_template().read_bytes()).hexdigest()


@pytest.mark.parametrize("method", ["tissue-depth", "template"])
def test_a_cheekbone_swollen_on_the_left_swells_the_left_of_the_face(mean_skull, method):
    skull, frame, landmarks = mean_skull
    atlas = load_atlas()
    cheek = np.array(atlas.landmarks["zy-L"])

    def swelling(points):
        return 5 * np.exp(-((points - cheek) ** 2).sum(axis=-1) / (2 * 22.0**2))

    at = np.indices(atlas.grid.shape).reshape(3, -1).T.astype(float)
    more = swelling(atlas.grid.patient_points(at)).reshape(atlas.grid.shape)
    swollen = replace(skull, distance=(skull.distance - more).astype(np.float32))
    outward = frame.patient_from_frame[:3, 0]
    marks = {
        code: replace(
            mark,
            position=tuple(mark.position + swelling(np.array(atlas.landmarks[code])) * outward),
        )
        for code, mark in landmarks.items()
    }
    plain = made(mean_skull, method, variants=0).mesh
    face = made((swollen, frame, marks), method, variants=0).mesh
    moved = ClosestOnSurface(plain).query(face.vertices).distance
    x, _, z = face.transformed(frame.frame_from_patient).vertices.T
    level = np.abs(z - cheek[2]) < 20
    assert moved[level & (x > 55)].mean() > 1.5
    assert moved[level & (x < -55)].mean() < 0.3


@pytest.mark.parametrize("method", ["mean-face", "tissue-depth", "template"])
def test_a_childs_age_is_warned_of_by_methods_of_adults(mean_skull, method):
    child = made(mean_skull, method, variants=0, profile=Profile(age=6))
    assert "6 years" in child.warnings[0]
    assert child.notes[: len(child.warnings)] == child.warnings
    assert made(mean_skull, method, variants=0, profile=Profile(age=18)).warnings == ()


def test_build_chooses_the_face_and_sex_has_no_influence(mean_skull):
    plain = made(mean_skull, "mean-face", variants=3)
    heavy = made(
        mean_skull, "mean-face", variants=0, profile=Profile(sex="male", age=40, build="heavy")
    )
    assert rms_between(heavy.mesh, plain.variants[2].mesh) < 1e-6
    assert heavy.variants == ()
    assert any("heavy" in note for note in heavy.notes)
    assert any("sex and age had no influence" in note for note in heavy.notes)


def test_further_variants_differ_and_are_always_the_same():
    steps = build_steps(12)
    assert len(steps) == 12
    assert len({round(v, 6) for v in steps.values()}) == 12
    assert max(map(abs, steps.values())) < 1.7
    assert build_steps(12) == steps
    assert list(build_steps(2)) == ["thin", "average"]


@pytest.mark.parametrize("method", ["mean-face", "tissue-depth"])
def test_another_mean_head_is_used_when_asked_for(mean_skull, method, tmp_path):
    atlas = load_atlas()
    path = tmp_path / "thicker.npz"
    np.savez(
        path,
        bone=atlas.bone,
        skin=atlas.skin - np.float32(4),
        skin_sd=atlas.skin_sd,
        bone_people=atlas.bone_people,
        skin_people=atlas.skin_people,
        frame_from_voxel=atlas.grid.patient_from_voxel,
        landmark_codes=np.array(list(atlas.landmarks)),
        landmark_positions=np.array(list(atlas.landmarks.values())),
        people=np.array(5),
    )
    plain = made(mean_skull, method, variants=0)
    other = made(mean_skull, method, variants=0, atlas=path)
    apart = rms_between(other.mesh, plain.mesh)
    assert apart > 3.5 if method == "mean-face" else 0.05 < apart < 4
