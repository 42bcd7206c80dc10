from __future__ import annotations

import numpy as np
import pytest

from facegen_inference.atlas import load_atlas
from facegen_inference.bands import FACTOR90, Bands, blended
from facegen_inference.card import Calibration, RegionBands
from facegen_inference.face_region import REGION_NAMES, face_regions, predicted_region
from facegen_inference.mesh import Mesh
from facegen_inference.missing_bone import MissingBone, missing_bone
from facegen_inference.surface import isosurface, largest_piece

SPREAD_MM = 2.0


@pytest.fixture(scope="module")
def face() -> Mesh:
    """The mean face, in the Frankfurt frame."""
    atlas = load_atlas()
    skin = largest_piece(isosurface(atlas.skin, atlas.grid.patient_from_voxel, 0.0))
    return skin.kept(predicted_region(skin.vertices, atlas.landmarks))


@pytest.fixture(scope="module")
def codes(face: Mesh) -> np.ndarray:
    return face_regions(face.vertices, load_atlas().landmarks)


def spread_of(face: Mesh) -> np.ndarray:
    return np.full(len(face.vertices), SPREAD_MM, dtype=np.float32)


def test_without_calibration_the_bands_are_a_gaussians(face: Mesh) -> None:
    found = Bands().at(spread_of(face), face.vertices)
    assert found["spread_mm"] == pytest.approx(SPREAD_MM, abs=1e-3)
    assert found["band50_mm"] == pytest.approx(0.6745 * SPREAD_MM, abs=1e-3)
    assert found["band90_mm"] == pytest.approx(1.6449 * SPREAD_MM, abs=1e-3)


def test_a_region_has_its_own_factor_and_others_keep_theirs(face: Mesh, codes: np.ndarray) -> None:
    calibration = Calibration(
        factor50=1.0,
        factor90=1.0,
        regions=(RegionBands(name="nose", factor50=2.0, factor90=3.0),),
        people=1,
        note="",
    )
    bands = Bands.of(calibration).at(spread_of(face), face.vertices, load_atlas().landmarks)
    tip = face.vertices[:, 1].argmin()
    assert codes[tip] == REGION_NAMES.index("nose")
    assert bands["band90_mm"][tip] == pytest.approx(3 * FACTOR90 * SPREAD_MM, rel=0.05)
    far = np.abs(face.vertices[:, 0]) > 50
    assert bands["band90_mm"][far] == pytest.approx(FACTOR90 * SPREAD_MM, rel=0.01)
    assert bands["band50_mm"][tip] / bands["band50_mm"][far].mean() == pytest.approx(2, rel=0.1)


def test_no_step_stands_between_regions(face: Mesh, codes: np.ndarray) -> None:
    values = {name: 1.0 + (n % 2) for n, name in enumerate(REGION_NAMES) if n}
    factor = blended(values, 1.0, face.vertices, load_atlas().landmarks)
    ends = np.concatenate([face.triangles[:, [0, 1]], face.triangles[:, [1, 2]]])
    length = np.linalg.norm(face.vertices[ends[:, 0]] - face.vertices[ends[:, 1]], axis=1)
    jump = np.abs(factor[ends[:, 0]] - factor[ends[:, 1]])
    crossing = codes[ends[:, 0]] != codes[ends[:, 1]]
    assert np.count_nonzero(crossing) > 200
    assert jump.max() < 0.4, "a whole factor would be the step without blending"
    assert np.quantile(jump[crossing] / length[crossing], 0.95) < 0.1, "per mm"
    for n, name in enumerate(REGION_NAMES):
        if n and (codes == n).sum() > 300:
            assert np.median(factor[codes == n]) == pytest.approx(values[name], abs=0.25), name


def test_points_off_the_face_have_the_general_factor() -> None:
    far = np.array([[0.0, 120.0, 0.0], [5.0, 125.0, 3.0]])
    assert blended({"nose": 5.0}, 1.5, far, None) == pytest.approx(1.5)
    assert len(blended({"nose": 5.0}, 1.5, np.zeros((0, 3)), None)) == 0


def bone_without_mandible() -> np.ndarray:
    """The mean skull's field with what lies below the upper teeth taken away, +30 there."""
    atlas = load_atlas()
    shape = atlas.grid.shape
    points = atlas.grid.patient_points(np.indices(shape).reshape(3, -1).T.astype(float))
    x, y, z = points.T
    ramus = (np.abs(x) > 36) & (z < -8) & (y < 8)
    gone = (z < -52 - 0.1 * (y + 80)) | ramus
    depth = np.maximum(-52 - 0.1 * (y + 80) - z, np.minimum(np.abs(x) - 36, -8 - z))
    bone = np.where(gone, np.maximum(atlas.bone.reshape(-1), depth), atlas.bone.reshape(-1))
    return np.clip(bone, -30, 30).astype(np.float32).reshape(shape)


def test_where_the_mandible_is_missing_the_spread_grows_and_only_there(
    face: Mesh, codes: np.ndarray
) -> None:
    atlas = load_atlas()
    whole = missing_bone(np.clip(atlas.bone, -30, 30), atlas.grid)
    lacking = missing_bone(bone_without_mandible(), atlas.grid)
    spread = spread_of(face)
    before, after = (m.widened(spread, face.vertices) for m in (whole, lacking))
    chin = codes == REGION_NAMES.index("chin")
    lower = np.isin(codes, [REGION_NAMES.index(name) for name in ("chin", "jaw line")])
    upper = np.isin(codes, [REGION_NAMES.index(name) for name in ("brow", "orbits", "nose")])
    assert before[lower].mean() < 1.1 * SPREAD_MM
    assert after[lower].mean() > 2.0 * SPREAD_MM
    assert after[chin].mean() > 2.5 * SPREAD_MM
    assert np.abs(after[upper] - before[upper]).max() < 0.2
    assert (after >= spread).all()


def test_bone_that_was_not_scanned_is_missing_too(face: Mesh) -> None:
    atlas = load_atlas()
    nothing = missing_bone(np.full(atlas.grid.shape, 30.0, dtype=np.float32), atlas.grid)
    wide = nothing.widened(spread_of(face), face.vertices)
    assert np.median(wide) > 1.5 * SPREAD_MM
    assert wide.max() <= np.hypot(float(nothing.prior.max()), SPREAD_MM) + 1e-3


def test_what_is_needed_is_what_widens_to_it() -> None:
    grid = load_atlas().grid
    shape = grid.shape
    half = MissingBone(np.full(shape, 0.5, np.float32), np.full(shape, 4.0, np.float32), grid)
    points = np.array([[0.0, -90.0, -20.0]] * 3)
    spread = np.array([0.5, 2.0, 9.0], np.float32)
    wide = half.widened(spread, points)
    assert wide == pytest.approx(np.sqrt(spread**2 + 8), abs=1e-5)
    assert half.needed(wide, points) == pytest.approx(spread, abs=1e-3)
    assert half.needed(np.full(3, 2.0, np.float32), points) == pytest.approx(0), "wide enough"


def test_bands_keep_their_order_whatever_the_factors(face: Mesh) -> None:
    found = Bands(factors=(5.0, 0.5)).at(spread_of(face), face.vertices)
    assert (found["band90_mm"] >= found["band50_mm"]).all()
