import numpy as np
import pytest

from facegen_inference.closest import ClosestOnSurface, sample_surface
from facegen_inference.compare import compare, summarize
from facegen_inference.errors import UserError
from facegen_inference.frame import Frame
from facegen_inference.mesh import Mesh
from facegen_inference.surface import isosurface, ray_hits
from facegen_inference.volume import Volume

STILL = Frame(np.eye(4), "given", 0.0, 1.0)


def grid_points(step=3.0, reach=126.0):
    z, y, x = np.meshgrid(*[np.arange(-reach, reach + 1, step)] * 3, indexing="ij")
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[0, 0, step], [0, step, 0], [step, 0, 0]])
    matrix[:3, 3] = -reach
    return x, y, z, matrix


def ball(radius):
    x, y, z, matrix = grid_points()
    field = (np.sqrt(x**2 + y**2 + z**2) - radius).astype(np.float32)
    return isosurface(field, matrix, 0.0)


def head(cheek=0.0, nose=0.0):
    """An ellipsoid with a swollen left cheek and a nose."""
    x, y, z, matrix = grid_points()
    r = np.sqrt((x / 75) ** 2 + (y / 100) ** 2 + (z / 110) ** 2)
    field = (r - 1) * 85
    field = field - cheek * np.exp(-((x - 45) ** 2 + (y + 75) ** 2 + (z + 25) ** 2) / 800)
    field = np.minimum(field, np.sqrt(x**2 + (y + 96) ** 2 + (z + 15) ** 2) - 8 - nose)
    return isosurface(field.astype(np.float32), matrix, 0.0)


def test_concentric_balls_differ_by_their_radii():
    larger = compare(ball(100), ball(97), STILL)
    assert larger.closest.mean == pytest.approx(3.0, abs=0.1)
    assert larger.closest.median == pytest.approx(3.0, abs=0.1)
    assert larger.closest.p95 == pytest.approx(3.0, abs=0.15)
    assert larger.closest.signed_mean == pytest.approx(3.0, abs=0.1)
    assert larger.along_normals.signed_mean == pytest.approx(3.0, abs=0.1)
    assert larger.closest.below_2_5_mm == 0
    assert larger.met == pytest.approx(100, abs=1)
    assert larger.normal_angle < 2
    smaller = compare(ball(97), ball(100), STILL)
    assert smaller.closest.signed_mean == pytest.approx(-3.0, abs=0.1)
    assert smaller.along_normals.signed_mean == pytest.approx(-3.0, abs=0.1)


def test_a_face_equals_itself():
    skin = head(cheek=6, nose=4)
    same = compare(skin, skin, STILL)
    assert same.closest.mean < 0.01
    assert same.closest.below_2_mm == 100
    assert same.landmarks["pronasale"] == 0
    assert set(same.regions) >= {"brow", "orbits", "nose", "lips", "chin", "cheeks", "jaw line"}


def test_a_mirrored_face_scores_badly_where_it_was_uneven():
    skin = head(cheek=12, nose=4)
    mirrored = skin.transformed(np.diag([-1.0, 1, 1, 1]))
    result = compare(mirrored, skin, STILL)
    assert result.regions["cheeks"].mean > 2.5
    assert result.closest.mean > 10 * compare(skin, skin, STILL).closest.mean
    assert result.closest.p95 > 6


def test_the_region_that_is_wrong_is_named():
    result = compare(head(nose=9), head(nose=4), STILL)
    worst = max(result.regions, key=lambda name: result.regions[name].mean)
    assert worst == "nose"
    assert result.regions["nose"].signed_mean > 1
    assert result.regions["cheeks"].mean < 0.2
    assert result.landmarks["pronasale"] == pytest.approx(5, abs=0.6)


def test_no_alignment_is_done():
    moved = np.eye(4)
    moved[1, 3] = -5  # forward
    result = compare(head().transformed(moved), head(), STILL)
    assert result.regions["chin"].signed_mean > 2
    assert result.closest.mean > 1.5


def test_the_frame_is_used_not_the_axes_of_the_scan():
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = [300, -200, 40]
    frame = Frame(matrix, "given", 0.0, 1.0)
    here = compare(head(nose=9), head(nose=4), STILL)
    there = compare(head(nose=9).transformed(matrix), head(nose=4).transformed(matrix), frame)
    assert there.closest.mean == pytest.approx(here.closest.mean, abs=1e-6)
    assert there.regions["nose"].mean == pytest.approx(here.regions["nose"].mean, abs=1e-6)


def test_masked_skin_is_not_scored():
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])[[2, 1, 0, 3]]
    matrix[:3, 3] = [-130, -130, -130]
    array = np.zeros((130, 130, 130), dtype=np.int16)
    points = np.indices(array.shape).reshape(3, -1).T @ matrix[:3, :3].T + matrix[:3, 3]
    array.ravel()[np.linalg.norm(points - [0, -100, -15], axis=1) < 34] = 1
    mask = Volume(array, matrix)
    plain = compare(head(nose=9), head(nose=4), STILL)
    masked = compare(head(nose=9), head(nose=4), STILL, excluded=mask)
    assert plain.regions["nose"].mean > 1
    assert masked.closest.mean < 0.05
    assert masked.left_out > plain.left_out


def test_where_the_scan_ends_nothing_is_scored():
    whole = ball(97)
    cut = whole.kept(whole.vertices[:, 2] < 10)  # the scan ends at the eyes
    result = compare(ball(100), cut, STILL)
    assert result.closest.mean == pytest.approx(3.0, abs=0.1)
    assert result.left_out > 10


def test_the_band_of_a_face_is_checked():
    face = ball(100)
    count = len(face.vertices)
    face.vertex_data["band50_mm"] = np.full(count, 2.0, dtype=np.float32)
    face.vertex_data["band90_mm"] = np.full(count, 4.0, dtype=np.float32)
    assert compare(face, ball(97), STILL).band_coverage == {"50": 0.0, "90": 100.0}


def test_the_spread_is_ranked_against_the_true_distance():
    face, truth = head(nose=9), head(nose=4)  # only the nose differs
    off = np.linalg.norm(face.vertices - [0, -100, -15], axis=1)
    face.vertex_data["spread_mm"] = (50 - off).astype(np.float32)  # most at the nose
    face.vertex_data["band50_mm"] = np.full(len(off), 1.0, dtype=np.float32)
    face.vertex_data["band90_mm"] = np.full(len(off), 20.0, dtype=np.float32)
    found = compare(face, truth, STILL)
    assert found.spread_rank > 0.2
    assert found.region_coverage["nose"]["50"] < found.region_coverage["cheeks"]["50"]
    assert found.region_coverage["nose"]["90"] == 100.0
    face.vertex_data["spread_mm"] = off.astype(np.float32)
    assert compare(face, truth, STILL).spread_rank < -0.2
    face.vertex_data["spread_mm"] = np.full(len(off), 2.0, dtype=np.float32)
    assert compare(face, truth, STILL).spread_rank is None


@pytest.mark.parametrize("shift", [400.0, 4000.0])
def test_a_face_of_another_scan_is_refused(shift):
    moved = np.eye(4)
    moved[0, 3] = shift
    with pytest.raises(UserError, match="do not meet"):
        compare(ball(97).transformed(moved), ball(97), STILL)


def test_an_empty_face_is_refused():
    empty = Mesh(np.empty((0, 3)), np.empty((0, 3), dtype=np.int32))
    with pytest.raises(UserError, match="do not meet"):
        compare(empty, ball(97), STILL)


def test_the_table_and_the_data_hold_the_figures():
    result = compare(ball(100), ball(97), STILL)
    assert "whole face" in result.table()
    assert "+3.0" in result.table()
    assert result.as_data()["closest"]["samples"] > 10000


def test_directions_weigh_the_same():
    result = summarize(np.full(10, 1.0), np.full(1000, -3.0), np.empty(0))
    assert result.mean == 2.0
    assert result.signed_mean == -1.0
    assert result.samples == 1010


def test_samples_are_even_and_repeatable():
    mesh = ball(97)
    points, triangle = sample_surface(mesh, 1.0, seed=3)
    again, _ = sample_surface(mesh, 1.0, seed=3)
    assert (points == again).all()
    assert len(points) == pytest.approx(4 * np.pi * 97**2, rel=0.01)
    assert np.bincount(triangle).max() < 15


def test_the_closest_point_is_on_the_face_edge_or_corner():
    mesh = Mesh(
        np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0.0]]), np.array([[0, 1, 2]], dtype=np.int32)
    )
    points = np.array([[2, 2, 5], [5, -3, 0], [-3, -4, 0], [20, 0, 0], [8, 8, 0.0]])
    found = ClosestOnSurface(mesh).query(points)
    assert np.allclose(found.distance, [5, 3, 5, 10, 3 * np.sqrt(2)])
    assert np.allclose(found.point[4], [5, 5, 0])


def test_rays_look_both_ways_for_the_nearest_hit():
    mesh = ball(50)
    origins = np.array([[40.0, 0.3, 0.2], [-47.0, 0.3, 0.2], [0, 0.3, 100.0]])
    directions = np.array([[1.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]])
    along, triangle = ray_hits(mesh, origins, directions, 30.0)
    assert along[0] == pytest.approx(10, abs=0.05)
    assert along[1] == pytest.approx(-3, abs=0.05)
    assert np.isnan(along[2])
    assert triangle[2] == -1
