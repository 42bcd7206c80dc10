"""What a method is shown under each condition: the right bone gone, the rest where it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cohort_lab import write_nifti
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facegen_inference.face_region import landmarks_in_frame
from facegen_inference.reconstruct import Prepared
from facegen_inference.scan import Scan, open_scan
from facegen_inference.skull import bone_only
from facegen_inference.skull_parts import Presence
from facegen_inference.volume import AIR_HU, Volume
from facegen_training.evaluation.conditions import CONDITIONS, Shown, applies, show
from facegen_training.evaluation.damage import facial_bone_missing, without_mandible
from facegen_training.evaluation.outer_surface import carved, made_of
from facegen_training.evaluation.protocol import HEADLINE


@pytest.fixture(scope="module")
def scan(head_3mm: Volume, tmp_path_factory: pytest.TempPathFactory) -> Scan:
    return open_scan(write_nifti(head_3mm, tmp_path_factory.mktemp("scan") / "head.nii.gz"))


@pytest.fixture(scope="module")
def own(scan: Scan) -> Prepared:
    return show(HEADLINE, scan, None).prepared


@pytest.fixture(scope="module")
def bone(head_3mm: Volume) -> Volume:
    return bone_only(head_3mm, 250.0)


def points_of(bone: Volume) -> NDArray[np.float64]:
    index = np.argwhere(bone.array > AIR_HU)
    return bone.grid.patient_points(index.astype(np.float64))


def in_frame(points: NDArray[np.float64], own: Prepared) -> NDArray[np.float64]:
    m = own.frame.frame_from_patient
    return np.asarray(points @ m[:3, :3].T + m[:3, 3])


def moved(shown: Shown, own: Prepared) -> tuple[float, float]:
    """How far and by what angle the head is placed otherwise than in the whole scan, mm and deg."""
    found = shown.scan_from_shown @ shown.prepared.frame.patient_from_frame
    change = own.frame.frame_from_patient @ found
    turn = np.degrees(np.arccos(np.clip((np.trace(change[:3, :3]) - 1) / 2, -1, 1)))
    return float(np.linalg.norm(change[:3, 3])), float(turn)


def test_the_mandible_is_taken_away_and_nothing_else(bone: Volume, own: Prepared) -> None:
    left = cKDTree(points_of(without_mandible(bone, own)))
    whole = cKDTree(points_of(bone))

    def gap(tree: cKDTree, code: str) -> float:
        return float(tree.query(np.array(own.landmarks[code].position))[0])

    for code in ("me", "pg", "go-L", "go-R", "iC-L", "iC-R"):
        assert gap(whole, code) < 4
        assert gap(left, code) > 10
    for code in ("n", "ans", "pr", "zy-L", "zy-R", "or-L", "or-R", "po-L", "po-R"):
        assert gap(left, code) == gap(whole, code)
    assert 0.05 < 1 - left.n / whole.n < 0.3


def test_a_fifth_of_the_facial_bone_breaks_out_in_lumps(bone: Volume, own: Prepared) -> None:
    broken = facial_bone_missing(bone, own)
    gone = (bone.array > AIR_HU) & (broken.array == AIR_HU)
    assert np.array_equal(facial_bone_missing(bone, own).array, broken.array)
    points = in_frame(bone.grid.patient_points(np.argwhere(gone).astype(float)), own)
    assert points[:, 1].max() < -20  # the face's side of the head
    assert points[:, 2].max() < 55
    x, y, z = in_frame(points_of(bone), own).T
    facial = np.count_nonzero((y < -25) & (z < 42) & (z > -105) & (np.abs(x) < 75))
    assert 0.15 < np.count_nonzero(gone) / facial < 0.25
    # Lumps, not salt and pepper: hardly a voxel is gone whose neighbours all stayed.
    nearest = cKDTree(points).query(points, k=2)[0][:, 1]
    assert (nearest < 5).mean() > 0.97


def test_only_the_outside_is_left_of_a_surface_scan(own: Prepared, scan: Scan) -> None:
    skull = own.skull
    solid = carved(own)
    m = own.frame.patient_from_frame

    def at(x: float, y: float, z: float) -> tuple[int, ...]:
        place = m[:3, :3] @ np.array([x, y, z]) + m[:3, 3]
        return tuple(np.round(skull.grid.voxel_points(place[None])[0]).astype(int))

    assert skull.distance[at(0, 0, 60)] > 5  # the cavity of the brain
    assert solid[at(0, 0, 60)] < 0
    orbit = np.mean([own.landmarks["or-L"].position, own.landmarks["mso-L"].position], axis=0)
    x, y, z = in_frame(orbit[None], own)[0]
    assert solid[at(x, y - 2, z)] > 0  # a camera in front sees into the orbit
    outside = solid > 0
    assert np.array_equal(solid[outside], skull.distance[outside])
    step = float(skull.grid.spacing[0])
    filled = np.count_nonzero((solid < 0) & (skull.distance > 0)) * step**3 / 1000
    assert 900 < filled < 1700  # ml, most of it the brain's

    made = made_of(solid, scan, own)
    assert max(moved(Shown(made, np.eye(4)), own)) < 2.5
    assert made.scan.volume is None  # nothing of the scan is left to look at
    gap = cKDTree(skull.mesh.vertices).query(made.skull.mesh.vertices)[0]
    front = in_frame(made.skull.mesh.vertices, own)[:, 1] < -40
    assert np.median(gap[front]) < 1.5


def test_a_turned_head_is_given_back_where_it_was(own: Prepared, scan: Scan) -> None:
    shown = show("pose", scan, own)
    assert max(moved(shown, own)) < 2.0
    turn = shown.scan_from_shown[:3, :3]
    assert np.linalg.det(turn) == pytest.approx(1.0)
    assert 19.9 < np.degrees(np.arccos((np.trace(turn) - 1) / 2)) < 40.1
    points = landmarks_in_frame(shown.prepared.landmarks, shown.prepared.frame)
    before = landmarks_in_frame(own.landmarks, own.frame)
    assert np.linalg.norm(points["zy-L"] - before["zy-L"]) < 5  # left has stayed left


def test_slices_are_thickened_where_they_are_thinner(own: Prepared, scan: Scan) -> None:
    shown = show("slices-4", scan, own)
    assert shown.prepared.scan.volume is not None
    assert shown.prepared.scan.volume.spacing == pytest.approx([4.0, 3.0, 3.0])
    assert max(moved(shown, own)) < 3.0
    volume = scan.volume
    assert volume is not None
    assert applies("slices-4", volume)
    assert not applies("slices-0.5", volume)
    thick = replace(volume, patient_from_voxel=volume.patient_from_voxel @ np.diag([2, 1, 1, 1.0]))
    assert not applies("slices-4", thick)
    sharp = replace(volume, patient_from_voxel=volume.patient_from_voxel @ np.diag([0.3] * 3 + [1]))
    assert applies("slices-0.5", sharp)


def test_a_head_without_mandible_is_prepared_as_such(own: Prepared, scan: Scan) -> None:
    shown = show("no-mandible", scan, own)
    assert shown.prepared.skull.parts["mandible"] is Presence.ABSENT
    assert max(moved(shown, own)) < 1.0
    assert set(CONDITIONS) >= {"no-mandible", "outer-surface", HEADLINE}
