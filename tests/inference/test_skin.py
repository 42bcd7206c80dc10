import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from facegen_inference.errors import NoHeadFound
from facegen_inference.skin import scanned, skin_distance, skin_level, skin_surface
from facegen_inference.volume import Grid, Volume

RADIUS = 75.0


def ball_volume(spacing=(2.0, 2.0, 2.0), top=95.0, bottom=95.0, turn=None, extras=True):
    """Sphere of tissue round (10, -20, 5) with cavity, nostril, airway, couch; partial volume."""
    turn = np.eye(3) if turn is None else turn
    matrix = np.eye(4)
    matrix[:3, :3] = turn[:, [2, 1, 0]] * np.array(spacing)
    shape = tuple(int(n) for n in np.array([190, 220, 190]) / spacing)
    matrix[:3, 3] = [10, -20, 5] - matrix[:3, :3] @ (np.array(shape) - 1) / 2
    grid = Grid(shape, matrix)
    points = grid.patient_points(np.indices(shape).reshape(3, -1).T.astype(float))
    x, y, z = ((points - [10, -20, 5]) @ turn).T

    def blend(distance):
        return np.clip(0.5 - distance / float(np.mean(spacing)), 0, 1)

    tissue = blend(np.linalg.norm([x, y, z], axis=0) - RADIUS)
    if extras:
        tissue *= 1 - blend(np.linalg.norm([x, y + 20, z], axis=0) - 15)  # sinus
        nostril = np.maximum(np.linalg.norm([x - 20, z], axis=0) - 4, np.abs(y + 45) - 40)
        tissue *= 1 - blend(nostril)  # a hole 8 mm wide from the skin into the depth
        airway = np.maximum(np.linalg.norm([x, y], axis=0) - 8, z - 10)
        tissue *= 1 - blend(airway)
        couch = np.maximum(np.abs(y - 86) - 2.5, np.abs(x) - 85)
        tissue = np.maximum(tissue, 0.85 * blend(couch))
    hu = np.where((z > top) | (z < -bottom), -1024, -1000 + 1040 * tissue)
    return Volume(np.round(hu).reshape(shape).astype(np.int16), matrix)


def from_centre(mesh):
    return np.linalg.norm(mesh.vertices - [10, -20, 5], axis=1) - RADIUS


def test_only_the_outer_skin_is_found():
    mesh = skin_surface(ball_volume(bottom=40.0))
    off = from_centre(mesh)
    # Away from the nostril there is nothing but the sphere; the airway leaves through the cut.
    clear = np.linalg.norm(mesh.vertices - [30, -92, 5], axis=1) > 15
    assert np.abs(off[clear]).max() < 0.3
    assert off.min() > -16  # the nostril is closed a few millimetres deep, the sinus is not there
    assert off.max() < 0.5  # no couch


def test_normals_point_out_of_the_head():
    mesh = skin_surface(ball_volume(extras=False))
    outward = (mesh.normals() * (mesh.vertices - [10, -20, 5])).sum(axis=1) / RADIUS
    assert outward.min() > 0.9


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (3.0, 4.6, 4.6), (2.5, 5.1, 5.1)])
def test_distance_is_that_to_the_sphere(spacing):
    volume = ball_volume(spacing, extras=False)
    grid = Grid(
        (60, 60, 60), np.array([[0, 0, 3, -78], [0, 3, 0, -108], [3, 0, 0, -80], [0, 0, 0, 1.0]])
    )
    distance, valid = skin_distance(volume, grid)
    points = grid.patient_points(np.indices(grid.shape).reshape(3, -1).T.astype(float))
    true = (np.linalg.norm(points - [10, -20, 5], axis=1) - RADIUS).reshape(grid.shape)
    error = (distance - np.clip(true, -40, 40))[valid]
    near = np.abs(true[valid]) < 10
    assert valid.mean() > 0.9
    assert abs(error[near].mean()) < 0.15
    assert np.abs(error[near]).mean() < 0.3
    assert np.abs(error).mean() < 0.8


def test_a_grid_in_another_space_is_carried_over():
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    volume = ball_volume(extras=False)
    grid = Grid((40, 40, 40), np.diag([4.0, 4, 4, 1]) @ np.eye(4))
    frame = np.eye(4)
    frame[:3, :3] = turn
    frame[:3, 3] = [90, -100, -70]
    turned, _ = skin_distance(volume, grid, frame)
    direct, _ = skin_distance(volume, Grid(grid.shape, frame @ grid.patient_from_voxel))
    assert np.allclose(turned, direct)


def test_a_cut_head_stays_open_and_unscanned_beyond():
    volume = ball_volume(top=30.0, bottom=30.0, extras=False)
    seen = scanned(volume)
    z = volume.grid.patient_points(np.argwhere(seen).astype(float))[:, 2]
    assert z.max() < 37
    assert z.min() > -27
    mesh = skin_surface(volume)
    assert np.abs(from_centre(mesh)).max() < 0.6  # no lid on the cut
    grid = Grid(
        (3, 1, 1), np.array([[0, 0, 1.0, 10], [0, 1, 0, -20], [40, 0, 0, -35], [0, 0, 0, 1]])
    )
    distance, valid = skin_distance(volume, grid)
    assert valid.ravel().tolist() == [False, True, False]
    assert distance[1, 0, 0] == -40


def test_any_axis_order_gives_the_same_skin():
    plain = skin_surface(ball_volume(extras=False))
    turn = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0.0]])
    turned = skin_surface(ball_volume(turn=turn, extras=False))
    for mesh in (plain, turned):
        assert np.abs(from_centre(mesh)).max() < 0.3
    signed = (
        np.einsum(
            "nx,nx->n",
            turned.vertices[turned.triangles[:, 0]],
            np.cross(
                turned.vertices[turned.triangles[:, 1]], turned.vertices[turned.triangles[:, 2]]
            ),
        ).sum()
        / 6
    )
    assert signed == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.02)  # positive: outward


def test_air_alone_has_no_skin():
    volume = Volume(np.full((30, 30, 30), -1000, dtype=np.int16), np.diag([5.0, 5, 5, 1]))
    with pytest.raises(NoHeadFound, match="no skin"):
        skin_surface(volume)


def coarse_ball(cut):
    """A ball averaged onto coarse voxels; what lies below `cut` HU is air, as beyond a mask."""
    fine = ball_volume((1.0, 1.25, 1.25), extras=False)
    size = (3, 4, 4)
    averaged = uniform_filter(fine.array.astype(float), size)[1::3, 2::4, 2::4]
    if cut is not None:
        averaged[averaged < cut] = -1000
    matrix = fine.patient_from_voxel.copy()
    matrix[:3, 3] += matrix[:3, :3] @ [1, 1.5, 1.5]
    matrix[:3, :3] *= size
    return Volume(np.round(averaged).astype(np.int16), matrix)


@pytest.mark.parametrize("cut", [None, -600, -500, -400])
def test_skin_of_a_coarse_scan_is_unbiased_whatever_its_mask_cut_away(cut):
    coarse = coarse_ball(cut)
    assert (skin_level(coarse) == -500) == (cut is None)
    off = from_centre(skin_surface(coarse))
    assert abs(off.mean()) < 0.25
    assert np.abs(off).mean() < 0.5


def test_steps_left_by_a_mask_are_smoothed_and_nothing_else():
    cut, whole = coarse_ball(-400), coarse_ball(None)
    steps = from_centre(skin_surface(cut, skin_level(cut)))
    assert from_centre(skin_surface(cut)).std() < 0.7 * steps.std()
    assert np.array_equal(skin_surface(whole).vertices, skin_surface(whole, -500.0).vertices)


def test_smoothing_does_not_wear_down_the_edge_of_a_cut_scan():
    whole = coarse_ball(-400)
    padded = whole.array.copy()
    padded[-22:] = -1000  # the scan ends 30 mm above the centre
    mesh = skin_surface(Volume(padded, whole.patient_from_voxel))
    end = mesh.vertices[:, 2] > mesh.vertices[:, 2].max() - 4
    assert 25 < mesh.vertices[:, 2].max() - 5 < 35
    assert abs(from_centre(mesh)[end].mean()) < 0.3
