"""Atlases from files: read like the one that ships, and refused when they cannot be one."""

import numpy as np
import pytest

from facegen_inference.atlas import load_atlas
from facegen_inference.errors import UserError


def arrays(**changes):
    atlas = load_atlas()
    return {
        "bone": atlas.bone,
        "skin": atlas.skin,
        "skin_sd": atlas.skin_sd,
        "bone_people": atlas.bone_people,
        "skin_people": atlas.skin_people,
        "frame_from_voxel": atlas.grid.patient_from_voxel,
        "landmark_codes": np.array(list(atlas.landmarks)),
        "landmark_positions": np.array(list(atlas.landmarks.values())),
        "people": np.array(7),
    } | changes


def test_another_atlas_is_read_once_and_again_when_it_changed(tmp_path):
    path = tmp_path / "fold.npz"
    np.savez(path, **arrays(skin=load_atlas().skin + np.float32(1)))
    atlas = load_atlas(path)
    assert atlas.people == 7
    assert np.allclose(atlas.skin, load_atlas().skin + 1)
    assert atlas.landmarks == load_atlas().landmarks
    assert load_atlas(path) is atlas
    np.savez_compressed(path, **arrays(people=np.array(8)))
    assert load_atlas(path).people == 8
    assert load_atlas() is load_atlas()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"skin": np.zeros((3, 3, 3), dtype=np.float32)}, "shape"),
        ({"skin": np.full(load_atlas().skin.shape, np.nan)}, "not numbers"),
        ({"skin": np.full(load_atlas().skin.shape, 9.0)}, "no skin"),
        ({"frame_from_voxel": np.zeros((4, 4))}, "voxels lie"),
        ({"people": np.array(0)}, "not possible"),
        ({"landmark_codes": np.array(["n"])}, ""),
        ({"landmark_codes": np.array([{}] * 41, dtype=object)}, "pickle"),
    ],
)
def test_a_file_that_is_no_atlas_is_refused(tmp_path, change, why):
    path = tmp_path / "fold.npz"
    np.savez(path, **arrays(**change))
    with pytest.raises(UserError, match=r"fold\.npz is not an atlas") as caught:
        load_atlas(path)
    assert why in str(caught.value.details["reason"])


def test_missing_incomplete_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(UserError):
        load_atlas(tmp_path / "nothing.npz")
    path = tmp_path / "fold.npz"
    few = arrays()
    del few["skin_sd"]
    np.savez(path, **few)
    with pytest.raises(UserError):
        load_atlas(path)
    np.savez_compressed(path, **arrays())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError):
        load_atlas(path)
    path.write_bytes(whole[:4000] + bytes(4000) + whole[8000:])
    with pytest.raises(UserError):
        load_atlas(path)
    path.write_text("no archive")
    with pytest.raises(UserError):
        load_atlas(path)
