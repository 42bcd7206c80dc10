"""The skull from whole scans: what is kept, what goes, what is said to be there."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from facegen_inference.atlas import load_atlas
from facegen_inference.errors import NoHeadFound
from facegen_inference.mesh import Mesh
from facegen_inference.skull import (
    PARTS,
    Presence,
    Skull,
    bone_only,
    make_skull,
    skull_from_mesh,
)
from facegen_inference.volume import AIR_HU, Grid, Volume, matrix_from_sitk, resample

SPACING = 2.8


@dataclass(frozen=True)
class MeanHead:
    """The mean head as a scan, and where the Frankfurt frame lies in it."""

    volume: Volume
    frame: np.ndarray
    """(k, j, i, 3) Frankfurt frame mm of every voxel."""
    patient_from_frame: np.ndarray


@pytest.fixture(scope="module")
def mean_head() -> MeanHead:
    """The atlas's mean skull in soft tissue, its neck and a couch added; turned and shifted."""
    atlas = load_atlas()
    patient_from_frame = np.eye(4)
    patient_from_frame[:3, :3] = Rotation.from_euler("xyz", (12, -5, 8), True).as_matrix()
    patient_from_frame[:3, 3] = [20.0, -150.0, 400.0]
    matrix = np.eye(4)
    matrix[:3, :3] = SPACING * np.eye(3)[:, ::-1]
    matrix[:3, 3] = [-110.0, -330.0, 230.0]
    grid = Grid((108, 108, 94), matrix)
    back = np.linalg.inv(patient_from_frame)
    known = np.where(atlas.bone_people > 0, atlas.bone, np.float32(30.0))
    bone = resample(known, atlas.grid.patient_from_voxel, grid, 30.0, back)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    frame = (index @ matrix[:3, :3].T + matrix[:3, 3]) @ back[:3, :3].T + back[:3, 3]
    x, y, z = np.moveaxis(frame, -1, 0)
    hu = np.full(grid.shape, -1000.0)
    body = ((x / 85) ** 2 + ((y - 5) / 115) ** 2 + ((z - 10) / 145) ** 2 < 1) | (
        (np.hypot(x, y - 20) < 60) & (z < 0)
    )
    hu[body] = 45
    hu = np.maximum(hu, 45 + 900 * np.clip(0.5 - bone / SPACING, 0, 1))
    hu[(np.hypot(x, y - 5) < 13) & (z < -48)] = 700  # the spine
    hu[(y > 112) & (y < 122)] = 380  # a couch
    hu[(np.hypot(x - 40, y + 55) < 3) & (z < -40) & (z > -140)] = 600  # a tube beside the chin
    volume = Volume(np.round(hu).astype(np.int16), matrix, source="mean head")
    return MeanHead(volume, frame, patient_from_frame)


def at(skull: Skull, points: np.ndarray) -> np.ndarray:
    """Return the skull's distance at (N, 3) LPS points, mm."""
    voxel = skull.grid.voxel_points(points).T
    return map_coordinates(skull.distance, voxel, order=1, mode="nearest")


def in_patient(head: MeanHead, *frame: tuple[float, float, float]) -> np.ndarray:
    m = head.patient_from_frame
    return np.array(frame) @ m[:3, :3].T + m[:3, 3]


@pytest.fixture(scope="module")
def mean_skull(mean_head: MeanHead) -> Skull:
    return make_skull(mean_head.volume)


def test_couch_and_spine_go_and_the_skull_stays(mean_head: MeanHead, mean_skull: Skull) -> None:
    couch = in_patient(mean_head, (0, 117, 0), (60, 117, 40), (-60, 117, -60))
    spine = in_patient(mean_head, (0, 5, -70), (0, 5, -100))
    assert (at(mean_skull, couch) > 3).all()
    assert (at(mean_skull, spine) > 3).all()
    landmarks = load_atlas().landmarks
    on_bone = in_patient(mean_head, *(landmarks[c] for c in ("g", "gn", "zy-L", "zy-R", "op")))
    assert np.abs(at(mean_skull, on_bone)).max() < 4.0


def test_skull_says_where_it_is(mean_skull: Skull) -> None:
    assert mean_skull.distance.dtype == np.float32
    assert mean_skull.distance.shape == mean_skull.grid.shape == mean_skull.observed.shape
    assert mean_skull.distance.min() >= -40
    assert mean_skull.distance.max() <= 40
    assert set(mean_skull.parts) == set(PARTS)
    assert np.abs(at(mean_skull, mean_skull.mesh.vertices)).mean() < 0.4
    low, high = mean_skull.mesh.vertices.min(axis=0), mean_skull.mesh.vertices.max(axis=0)
    corners = mean_skull.grid.corners()
    assert (corners.min(axis=0) <= low - 38).all()
    assert (corners.max(axis=0) >= high + 38).all()


def test_bone_only_shows_nothing_but_bone_and_makes_the_same_skull(
    mean_head: MeanHead, mean_skull: Skull
) -> None:
    clean = bone_only(mean_head.volume, mean_skull.level_hu)
    assert set(np.unique(clean.array[clean.array < mean_skull.level_hu])) == {AIR_HU}
    kept = clean.array > AIR_HU
    assert np.array_equal(clean.array[kept], mean_head.volume.array[kept])
    assert not kept[(mean_head.frame[..., 1] > 110)].any()
    again = make_skull(clean)
    assert np.array_equal(again.distance, mean_skull.distance)


def test_soft_tissue_leaves_no_trace(mean_head: MeanHead, mean_skull: Skull) -> None:
    array = mean_head.volume.array.copy()
    soft = (array > -900) & (array < 200)
    array[soft] = (array[soft] - 90).astype(np.int16)  # another person's fat and muscle
    other = make_skull(replace(mean_head.volume, array=array))
    assert np.array_equal(other.distance, mean_skull.distance)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_missing_side_is_missed_on_that_side(mean_head: MeanHead, side: float) -> None:
    array = mean_head.volume.array.copy()
    x, y, z = np.moveaxis(mean_head.frame, -1, 0)
    array[(x * side > 8) & (y < -40) & (z > -12) & (array > 200)] = 45
    parts = make_skull(replace(mean_head.volume, array=array)).parts
    gone, there = ("left", "right") if side > 0 else ("right", "left")
    assert parts[f"{gone} orbit"] is Presence.ABSENT
    assert parts[f"{there} orbit"] is Presence.PRESENT


def test_a_missing_mandible_is_told_from_one_not_scanned(mean_head: MeanHead) -> None:
    array = mean_head.volume.array.copy()
    x, y, z = np.moveaxis(mean_head.frame, -1, 0)
    jaw = (z < -42) | ((np.abs(x) > 36) & (z < -8) & (y < -6) & (y > -45))
    array[jaw & (array > 200)] = 45
    assert make_skull(replace(mean_head.volume, array=array)).parts["mandible"] is Presence.ABSENT
    cut = replace(mean_head.volume, observed=z > -38)
    parts = make_skull(cut).parts
    assert parts["mandible"] is Presence.NOT_SCANNED
    assert parts["lower teeth"] is Presence.NOT_SCANNED
    assert parts["left orbit"] is Presence.PRESENT


def test_the_same_head_stored_along_other_axes_is_the_same_skull(
    mean_head: MeanHead, mean_skull: Skull
) -> None:
    volume = mean_head.volume
    matrix = volume.patient_from_voxel @ np.array(
        [[0, 0, -1, volume.array.shape[0] - 1], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    )
    # new (k, j, i) = old (i, j, last k - k)
    array = np.ascontiguousarray(volume.array.transpose(2, 1, 0)[:, :, ::-1])
    other = make_skull(replace(volume, array=array, patient_from_voxel=matrix.astype(float)))
    points = mean_skull.mesh.vertices[::20]
    assert np.abs(at(other, points)).mean() < 0.4


def test_a_mesh_of_the_skull_makes_the_same_skull(mean_skull: Skull) -> None:
    again = skull_from_mesh(mean_skull.mesh)
    assert np.abs(at(again, mean_skull.mesh.vertices[::20])).mean() < 0.4
    assert again.parts["mandible"] is Presence.PRESENT
    assert again.observed.all()
    assert np.isnan(again.level_hu)


def test_meshes_that_are_no_skulls_are_refused(mean_skull: Skull) -> None:
    mesh = mean_skull.mesh
    metres = Mesh(mesh.vertices / 1000, mesh.triangles)
    with pytest.raises(NoHeadFound, match=re.escape("a skull is 60 to 400 mm")):
        skull_from_mesh(metres)
    vertices = mesh.vertices.copy()
    vertices[3, 1] = np.nan
    with pytest.raises(NoHeadFound, match="no usable surface"):
        skull_from_mesh(Mesh(vertices, mesh.triangles))


def body(name: str) -> Volume:
    """Return something that is not a head: ``air``, ``water``, ``ball`` or ``knee``."""
    k, j, i = np.mgrid[:100, :100, :100].astype(np.float32) - 50
    array = np.full(k.shape, -1000, np.int16)
    radius = np.sqrt(k**2 + j**2 + i**2)
    across = np.hypot(j, i)
    if name in ("water", "ball"):
        array[radius < 46] = 40
    if name == "ball":
        array[(radius < 42) & (radius > 38)] = 900
    if name == "knee":
        array[across < 40] = 40
        array[(across < 17) & (across > 12)] = 900
        array[(np.abs(k) < 12) & (np.abs(k) > 3) & (across < 26)] = 500
    matrix = np.eye(4)
    matrix[:3, :3] = 1.8 * np.eye(3)[:, ::-1]
    return Volume(array, matrix, source=name)


@pytest.mark.parametrize("name", ["air", "water", "ball", "knee"])
def test_what_is_no_head_is_refused(name: str) -> None:
    with pytest.raises(NoHeadFound) as refusal:
        make_skull(body(name))
    assert refusal.value.advice
    with pytest.raises(NoHeadFound):
        bone_only(body(name))


def read(path: Path) -> Volume:
    image = sitk.ReadImage(str(path))
    return Volume(
        sitk.GetArrayFromImage(image).astype(np.int16), matrix_from_sitk(image), source=path.name
    )


REAL = {
    "visible_human_female": {"upper teeth": Presence.ABSENT, "lower teeth": Presence.PRESENT},
    "stanford_cthead": {"upper teeth": Presence.PRESENT, "lower teeth": Presence.PRESENT},
    "vtk_headsq_quarter": {"cranium": Presence.NOT_SCANNED, "mandible": Presence.PRESENT},
    "invesalius_cranium": {"mandible": Presence.NOT_SCANNED, "upper teeth": Presence.PRESENT},
}
"""What the catalogue says of each, where it differs from present."""


@pytest.mark.parametrize("name", REAL)
def test_real_heads_have_the_parts_the_catalogue_names(shared_ct: Path, name: str) -> None:
    skull = make_skull(read(shared_ct / "volumes" / f"{name}.nii.gz"))
    for part in ("maxilla", "left orbit", "right orbit"):
        assert skull.parts[part] is Presence.PRESENT
    for part, expected in REAL[name].items():
        assert skull.parts[part] is expected, part


def test_visible_human_has_no_straps_and_no_neck(shared_ct: Path) -> None:
    skull = make_skull(read(shared_ct / "volumes" / "visible_human_female.nii.gz"))
    low, high = skull.mesh.vertices.min(axis=0), skull.mesh.vertices.max(axis=0)
    # Chin at z ≈ 1525 and parietal bones 188–307 mm apart, read off the slices by hand.
    assert 1515 < low[2] < 1532
    assert low[0] > 176
    assert high[0] < 319
    spine = np.array([[247.0, 245.0, 1560.0], [247.0, 245.0, 1540.0]])
    assert (at(skull, spine) > 5).all()


@pytest.mark.parametrize("name", ["okbp_002", "okbp_003", "okbp_030", "okbp_054", "okbp_339"])
def test_coarse_planning_scans_keep_the_jaw_and_lose_the_shoulders(
    shared_ct: Path, name: str
) -> None:
    skull = make_skull(read(shared_ct / "openkbp" / f"{name}.nii.gz"))
    size = np.ptp(skull.mesh.vertices, axis=0)
    assert skull.parts["mandible"] is Presence.PRESENT
    assert 125 < size[0] < 190
    assert 150 < size[1] < 260
    assert size[2] < 260
    pieces = cKDTree(skull.mesh.vertices)
    assert pieces.n > 10_000


def test_phantom_has_no_couch(shared_dicom: dict[str, Path]) -> None:
    from facegen_inference.scan import open_scan

    volume = open_scan(shared_dicom["imagex_phantom"]).volume
    assert volume is not None
    skull = make_skull(volume)
    # The boards begin at y = −98 mm; the phantom's neck and shoulders lie below z = 300 mm.
    assert skull.mesh.vertices[:, 1].max() < -97
    assert skull.mesh.vertices[:, 2].min() > 300
    assert all(found is Presence.PRESENT for found in skull.parts.values())


def test_plastic_skull_has_no_cradle_and_is_partial(shared_dicom: dict[str, Path]) -> None:
    from facegen_inference.scan import open_scan

    volume = open_scan(shared_dicom["philips_dryskull_1mm"]).volume
    assert volume is not None
    skull = make_skull(volume)
    width = np.ptp(skull.mesh.vertices[:, 0])
    assert 130 < width < 145  # the cradle would make it 200
    assert skull.parts["cranium"] is Presence.PRESENT
    assert skull.parts["mandible"] is Presence.NOT_SCANNED
    assert any("Outside the scanned region" in note for note in skull.notes)
