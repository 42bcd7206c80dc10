"""The same head stored, cropped, resampled or tilted another way gives the same face.

On a 3 mm copy of the demonstration head, with a bony bump on the examinee's left that must stay
there.
"""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from facegen_inference.demo_head import head_volume, load_head_model, patient_from_frame
from facegen_inference.reconstruct import Request, prepare, reconstruct
from facegen_inference.scan import Scan
from facegen_inference.series import Series
from facegen_inference.volume import Volume

BUMP_IN_FRAME = np.array([52.0, -72.0, 48.0])
"""On the left of the frontal bone, frame mm."""
ORDERS = [
    (order, flips)
    for order in permutations(range(3))
    for flips in product((1, -1), repeat=3)
    if np.linalg.det(np.eye(3)[list(order)] * np.array(flips)) > 0
]


def resampled(volume: Volume, spacing: float, turn=None) -> Volume:
    """Return the volume on a grid of equal spacing; with `turn` the head itself is turned."""
    shape = np.array(volume.array.shape)
    size = shape * volume.spacing
    count = np.floor(size / spacing).astype(int)
    matrix = volume.patient_from_voxel @ np.diag([*(spacing / volume.spacing), 1.0])
    pull = np.eye(4) if turn is None else np.linalg.inv(turn)
    to_voxel = np.linalg.inv(volume.patient_from_voxel) @ pull @ matrix
    array = affine_transform(
        volume.array.astype(np.float32),
        to_voxel[:3, :3],
        to_voxel[:3, 3],
        output_shape=tuple(count),
        order=1,
        cval=-1000,
    )
    return Volume(np.round(array).astype(np.int16), matrix)


def face_of(volume: Volume):
    """Return (skull mesh, face mesh) of a volume."""
    prepared = prepare(Scan(volume, None, Series("1", "volume"), ()))
    return prepared.skull.mesh, reconstruct(prepared, Request(variants=0, device="cpu")).mesh


def apart(a, b) -> float:
    """Return the mean distance of a's vertices to b along b's normals, where b is near."""
    gap, nearest = cKDTree(b.vertices).query(a.vertices)
    across = ((a.vertices - b.vertices[nearest]) * b.normals()[nearest]).sum(axis=1)
    near = gap < 8  # what is left out is the rim, where one face ends a little before the other
    assert near.mean() > 0.95
    return float(np.abs(across[near]).mean())


@pytest.fixture(scope="module")
def bumped() -> Volume:
    volume = resampled(head_volume(load_head_model()), 3.0)
    placed = patient_from_frame()
    bump = placed[:3, :3] @ BUMP_IN_FRAME + placed[:3, 3]
    points = volume.grid.patient_points(np.argwhere(np.ones(volume.array.shape)).astype(float))
    near = np.linalg.norm(points - bump, axis=1) < 11
    array = volume.array.copy()
    array.reshape(-1)[near] = 1200
    return Volume(array, volume.patient_from_voxel)


@pytest.fixture(scope="module")
def reference(bumped):
    return face_of(bumped)


def bump_side(skull) -> float:
    """Return how much more bone stands out at the bump than at its mirror image, mm."""
    inverse = np.linalg.inv(patient_from_frame())
    frame = skull.vertices @ inverse[:3, :3].T + inverse[:3, 3]

    def reach(side: float) -> float:
        target = BUMP_IN_FRAME * [side, 1, 1]
        near = np.linalg.norm(frame - target, axis=1) < 20
        return float(np.max(frame[near] @ (target / np.linalg.norm(target))))

    return reach(1.0) - reach(-1.0)


@pytest.mark.parametrize(("order", "flips"), ORDERS)
def test_any_axis_order_gives_the_same_face_never_mirrored(bumped, reference, order, flips):
    array = bumped.array.transpose(order)[tuple(slice(None, None, f) for f in flips)]
    matrix = bumped.patient_from_voxel[:, [*order, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip < 0:
            matrix[:3, 3] += matrix[:3, axis] * (array.shape[axis] - 1)
            matrix[:3, axis] *= -1
    skull, face = face_of(Volume(np.ascontiguousarray(array), matrix))
    assert apart(face, reference[1]) < 1.0
    assert bump_side(skull) > 4.0


def test_a_cropped_scan_gives_the_same_face(bumped, reference):
    k, j, i = bumped.array.shape
    part = bumped.array[4 : k - 8, 2 : j - 6, 3 : i - 3]
    matrix = bumped.patient_from_voxel.copy()
    matrix[:3, 3] = bumped.grid.patient_points(np.array([[4.0, 2.0, 3.0]]))[0]
    _, face = face_of(Volume(np.ascontiguousarray(part), matrix))
    assert apart(face, reference[1]) < 1.0


def test_a_finer_scan_gives_the_same_face(reference):
    """1.5 mm against 3 mm voxels (without the bump: the face is compared away from it)."""
    _, face = face_of(resampled(head_volume(load_head_model()), 1.5))
    inverse = np.linalg.inv(patient_from_frame())
    frame = face.vertices @ inverse[:3, :3].T + inverse[:3, 3]
    away = face.kept(np.linalg.norm(frame - BUMP_IN_FRAME, axis=1) > 30)
    assert apart(away, reference[1]) < 1.0


@pytest.mark.parametrize("angles", [(20, 0, 0), (-20, 0, 0), (0, 20, 0), (0, 0, 20)])
def test_a_tilted_head_gives_the_same_face(bumped, reference, angles):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    middle = bumped.grid.patient_points(np.array([bumped.array.shape]) / 2.0)[0]
    turn[:3, 3] = middle - turn[:3, :3] @ middle
    skull, face = face_of(resampled(bumped, 3.0, turn))
    back = np.linalg.inv(turn)
    assert apart(face.transformed(back), reference[1]) < 1.0
    assert bump_side(skull.transformed(back)) > 4.0
