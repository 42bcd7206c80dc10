"""The demonstration scan: geometry, Hounsfield values, no mirror, same bytes.

The machinery is tested on a head of ellipsoids that stands in for the averaged one; the shipped
model is tested for what it must show.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from facegen_inference import demo_head
from facegen_inference.demo_head import HeadModel, head_volume, make_demo_scan
from facegen_inference.demo_teeth import teeth_distance, teeth_rows
from facegen_inference.errors import OutputError
from facegen_inference.scan import open_scan
from facegen_inference.volume import Grid, Volume

NOSE = np.array([0.0, -100.0, -20.0])
LEFT_EAR = np.array([72.0, 5.0, 0.0])
POINTS = {
    "pr": (0.0, -80.0, -30.0),
    "id": (0.0, -76.0, -50.0),
    "sC-L": (16.0, -72.0, -24.0),
    "ecm2s-L": (28.0, -50.0, -24.0),
    "iC-L": (14.0, -71.0, -56.0),
    "ecm2i-L": (30.0, -49.0, -56.0),
}
POINTS |= {code[:-1] + "R": (-p[0], *p[1:]) for code, p in POINTS.items() if code[-1] == "L"}
TEETH = teeth_rows(POINTS)


def ball(points: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Signed distance to an ellipsoid (first order), negative inside."""
    scaled = np.linalg.norm((points - centre) / radii, axis=-1)
    return (scaled - 1) * radii.min()


@pytest.fixture(scope="module")
def model() -> HeadModel:
    """An ellipsoid head with a nose and, on its left side only, an ear."""
    step = 4.0
    matrix = np.zeros((4, 4))
    matrix[[2, 1, 0], [0, 1, 2]] = step
    matrix[:3, 3] = (-92.0, -120.0, -100.0)
    matrix[3, 3] = 1
    grid = Grid((58, 56, 47), matrix)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    points = index @ matrix[:3, :3].T + matrix[:3, 3]
    centre, radii = np.array([0, -10.0, 10.0]), np.array([70.0, 90.0, 105.0])
    skin = np.minimum(ball(points, centre, radii), ball(points, NOSE, np.array([9.0, 14, 14])))
    skin = np.minimum(skin, ball(points, LEFT_EAR, np.array([10.0, 12, 16])))
    outer, inner = ball(points, centre, radii - 14), ball(points, centre, radii - 24)
    bone = np.maximum(outer, -inner)
    return HeadModel(skin.astype(np.float32), bone.astype(np.float32), grid, TEETH, 3)


@pytest.fixture(scope="module")
def volume(model: HeadModel) -> Volume:
    return head_volume(model)


def hu_at(volume: Volume, frame_points: np.ndarray, reach: int = 1) -> float:
    """Mean HU in a small cube about a point of the Frankfurt frame."""
    lie = demo_head.patient_from_frame()
    patient = np.atleast_2d(frame_points) @ lie[:3, :3].T + lie[:3, 3]
    k, j, i = np.rint(volume.grid.voxel_points(patient))[0].astype(int)
    cube = volume.array[
        k - reach : k + reach + 1, j - reach : j + reach + 1, i - reach : i + reach + 1
    ]
    assert cube.size == (2 * reach + 1) ** 3
    return float(cube.mean())


def test_the_head_does_not_lie_along_the_scanner_axes(volume: Volume) -> None:
    lie = demo_head.patient_from_frame()
    assert np.linalg.det(lie[:3, :3]) == pytest.approx(1.0)
    angle = np.degrees(np.arccos((np.trace(lie[:3, :3]) - 1) / 2))
    assert 5 < angle < 15
    assert np.allclose(volume.spacing, 1.0)
    axes = volume.patient_from_voxel[:3, :3]
    assert np.allclose(axes[:, 0], [0, 0, 1])
    assert np.allclose(axes[:, 1], [0, 1, 0])
    assert np.allclose(axes[:, 2], [1, 0, 0])


def test_left_is_left(volume: Volume) -> None:
    assert hu_at(volume, LEFT_EAR) > -150
    assert hu_at(volume, LEFT_EAR * [-1, 1, 1] - [2, 0, 0]) < -850


@pytest.mark.parametrize(
    ("where", "low", "high"),
    [
        ((0, -10, 60), 20, 50),  # brain
        ((0, -10, -50), 40, 70),  # deep below the base
        ((0, -10, 96), 450, 620),  # diploe
        ((0, -112, 60), -1010, -990),  # air in front
        ((-65, -10, 10), -110, -60),  # fat between dermis and bone
    ],
)
def test_tissues_have_their_values(
    volume: Volume, where: tuple[float, float, float], low: float, high: float
) -> None:
    assert low < hu_at(volume, np.array(where), 0 if low == 450 else 1) < high


def test_cortex_is_denser_than_what_lies_between() -> None:
    skin = np.full((1, 5), -30.0, dtype=np.float32)
    bone = np.array([[3.0, -1.0, -1.4, -4.0, -6.0]], dtype=np.float32)
    hu = demo_head.tissues(skin, bone, 50.0)[0]
    assert hu[0] == pytest.approx(demo_head.BRAIN_HU)
    assert hu[1] == pytest.approx(demo_head.CORTEX_HU)
    assert hu[3:] == pytest.approx(demo_head.DIPLOE_HU)


def test_the_skin_at_half_maximum_is_where_the_model_has_it(volume: Volume) -> None:
    """Along a line from the air into the forehead the -500 HU crossing is the model's zero."""
    lie = demo_head.patient_from_frame()
    ys = np.arange(-112, -80, 0.5)
    frame = np.stack([np.zeros_like(ys), ys, np.full_like(ys, 10.0)], axis=1)
    patient = frame @ lie[:3, :3].T + lie[:3, 3]
    from scipy.ndimage import map_coordinates

    at = volume.grid.voxel_points(patient).T
    hu = map_coordinates(volume.array.astype(np.float32), at, order=1)
    crossing = np.interp(-500, hu[: np.argmax(hu > -200) + 1], ys[: np.argmax(hu > -200) + 1])
    assert crossing == pytest.approx(-100.0, abs=0.5)


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of the voxels, where their size does not matter."""
    monkeypatch.setattr(demo_head, "SPACING_MM", 2.0)


def test_two_rows_of_fourteen_stand_on_the_landmarks() -> None:
    assert len(TEETH) == 28
    upper = [tooth for tooth in TEETH if tooth.neck > tooth.bite]
    assert len(upper) == 14
    lower = [tooth for tooth in TEETH if tooth.neck < tooth.bite]
    assert min(tooth.bite for tooth in upper) > max(tooth.bite for tooth in lower)
    centres = np.array([tooth.centre for tooth in TEETH])
    assert np.allclose(sorted(centres[:, 0]), sorted(-centres[:, 0]))
    for code, at in POINTS.items():
        inside = np.array(at) * [0.9, 1, 1]
        inside[1] += 3.0 * (code in ("pr", "id"))
        inside[2] = -35.0 if at[2] > -40 else -45.0
        assert teeth_distance(TEETH, inside[None])[0] < 1.0, code
    assert teeth_distance(TEETH, np.array([[0, -40.0, -40]]))[0] > 5


def test_no_landmarks_no_teeth() -> None:
    assert teeth_rows({code: p for code, p in POINTS.items() if code != "iC-R"}) == ()


@pytest.mark.usefixtures("coarse")
def test_teeth_are_dense_and_nothing_else_changes(model: HeadModel) -> None:
    volume, bare = head_volume(model), head_volume(replace(model, teeth=()))
    changed = np.argwhere(volume.array != bare.array)
    assert len(changed) > 300
    patient = volume.grid.patient_points(changed.astype(np.float64))
    lie = np.linalg.inv(demo_head.patient_from_frame())
    frame = patient @ lie[:3, :3].T + lie[:3, 3]
    depth = teeth_distance(TEETH, frame)
    assert depth.max() < 1.0
    values = volume.array[tuple(changed[depth < -1.5].T)]
    assert 1700 < values.mean() < 1900


def test_holder_and_couch_stay_clear_of_the_head(volume: Volume, model: HeadModel) -> None:
    """The solid parts of both lie at least 5 mm outside the skin, and are there at all."""
    to_frame = np.linalg.inv(demo_head.patient_from_frame()) @ volume.patient_from_voxel
    skin = demo_head._sampled(model.skin, model.grid, to_frame, volume.grid.shape)
    solid = (volume.array > -400) & (skin > 3.0)
    assert solid.sum() > 20_000
    assert skin[solid].min() > 5.0


def test_reading_it_back_gives_the_same_volume(
    model: HeadModel, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_head, "load_head_model", lambda: model)
    steps: list[float] = []
    folder = make_demo_scan(tmp_path / "scan", lambda fraction, step: steps.append(fraction))
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    back = open_scan(folder).volume
    assert back is not None
    assert np.allclose(back.patient_from_voxel, volume.patient_from_voxel, atol=1e-6)
    assert np.array_equal(back.array, volume.array)
    assert not back.warnings
    header = pydicom.dcmread(next(folder.glob("*.dcm")), stop_before_pixels=True)
    assert header.BitsStored == 12
    assert "averaged over 3 people" in header.ImageComments
    assert "smooth cap" in header.ImageComments
    assert "ynthetic" in header.SeriesDescription


@pytest.mark.usefixtures("coarse")
def test_the_same_bytes_each_time(
    model: HeadModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_head, "load_head_model", lambda: model)

    def digest(folder: Path) -> str:
        total = hashlib.sha256()
        for path in sorted(folder.iterdir()):
            total.update(path.name.encode() + path.read_bytes())
        return total.hexdigest()

    first, second = (digest(make_demo_scan(tmp_path / name)) for name in ("a", "b"))
    assert first == second


@pytest.mark.usefixtures("coarse")
def test_a_folder_in_use_is_refused(
    model: HeadModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_head, "load_head_model", lambda: model)
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(OutputError):
        make_demo_scan(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


class TestShippedModel:
    """What ships: at least fifty people, small, left-right symmetric, bone within skin."""

    def test_it_is_an_average_of_many_and_small(self) -> None:
        from importlib.resources import files

        model = demo_head.load_head_model()
        assert model.people >= 50
        assert len((files("facegen_resources") / "demo_head.npz").read_bytes()) <= 6_000_000
        assert len(model.teeth) == 28

    def test_a_head_is_in_it(self) -> None:
        """A closed vault, a face in front, bone inside the skin, about as large as people are."""
        model = demo_head.load_head_model()
        voxel = float(np.prod(model.grid.spacing))
        bone = model.bone < 0
        assert 300e3 < bone.sum() * voxel < 1.5e6
        assert (model.skin[bone] < 0.5).mean() > 0.995
        above = model.grid.patient_points(np.argwhere(bone).astype(np.float64))
        assert above[:, 2].max() > 85
        assert model.skin[-1].min() > 0
        width = np.ptp(above[:, 0])
        assert 120 < width < 165
