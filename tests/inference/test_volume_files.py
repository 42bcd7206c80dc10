"""NIfTI, NRRD and MetaImage: values and place as written, or the reason why not believed."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from facegen_inference.errors import ScanError
from facegen_inference.scan import NotACt, inspect_scan, open_scan
from facegen_inference.volume import Volume, sitk_image

ENDINGS = [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"]


def write(volume: Volume, path: Path, array: np.ndarray | None = None) -> Path:
    values = volume.array if array is None else array
    sitk.WriteImage(sitk_image(values, volume.patient_from_voxel), str(path))
    return path


def patch(path: Path, offset: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(bytes(content))


def oblique(heads):
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0],
                     [0, 0, 1]])  # fmt: skip
    return heads.sample(heads.centred(turn @ heads.columns, heads.shape), heads.shape)


@pytest.mark.parametrize("ending", ENDINGS)
def test_values_and_place(heads, tmp_path, ending):
    volume = oblique(heads)
    path = write(volume, tmp_path / f"head{ending}")
    scan = open_scan(path)
    assert np.array_equal(scan.volume.array, volume.array)
    assert np.allclose(scan.volume.patient_from_voxel, volume.patient_from_voxel, atol=1e-3)
    assert np.abs(heads.marker_centre(scan.volume) - heads.marker).max() < 1.5
    assert len(scan.files) == (2 if ending in (".nhdr", ".mhd") else 1)
    found = inspect_scan(path).proposed
    assert found.shape == volume.array.shape
    assert np.allclose(found.spacing_mm, 4.0)


def test_both_handednesses_of_a_grid(heads, tmp_path):
    """A grid stored right to left is no mirrored head: the matrix carries it."""
    columns = heads.columns * [1.0, 1.0, -1.0]
    volume = heads.sample(heads.centred(columns, heads.shape), heads.shape)
    for ending in (".nii.gz", ".nrrd", ".mha"):
        read = open_scan(write(volume, tmp_path / f"flipped{ending}")).volume
        assert np.abs(heads.marker_centre(read) - heads.marker).max() < 1.5


def test_nifti_by_sform_or_qform_alone(heads, tmp_path):
    volume = oblique(heads)
    for name, offset in (("s", 252), ("q", 254)):  # switch the other one off
        path = write(volume, tmp_path / f"{name}.nii")
        patch(path, offset, struct.pack("<h", 0))
        read = open_scan(path).volume
        assert np.abs(heads.marker_centre(read) - heads.marker).max() < 1.5


def test_nifti_without_position_is_refused(axial_head, tmp_path):
    path = write(axial_head, tmp_path / "head.nii")
    patch(path, 252, struct.pack("<hh", 0, 0))
    with pytest.raises(ScanError, match="does not say where its voxels lie"):
        open_scan(path)
    assert "where its voxels lie" in inspect_scan(path).series[0].reason


def test_nifti_without_units_needs_them_named(axial_head, tmp_path):
    path = write(axial_head, tmp_path / "head.nii")
    patch(path, 123, b"\x00")
    with pytest.raises(ScanError, match=r"does not say the unit.*--units mm"):
        open_scan(path)
    assert np.allclose(open_scan(path, units="mm").volume.spacing, 4.0)
    assert np.allclose(open_scan(path, units="cm").volume.spacing, 40.0)


def test_nifti_in_metres_is_scaled(heads, axial_head, tmp_path):
    path = write(axial_head, tmp_path / "head.nii")
    content = path.read_bytes()
    pixdim = np.frombuffer(content, "<f4", 8, 76).copy()
    pixdim[1:4] /= 1000
    patch(path, 76, pixdim.tobytes())
    patch(path, 268, (np.frombuffer(content, "<f4", 15, 268) / 1000).astype("<f4").tobytes())
    patch(path, 123, b"\x01")
    read = open_scan(path).volume
    assert np.allclose(read.spacing, 4.0, atol=1e-3)
    assert np.abs(heads.marker_centre(read) - heads.marker).max() < 1.5


def test_nifti_whose_matrices_disagree_on_left_and_right(axial_head, tmp_path):
    path = write(axial_head, tmp_path / "head.nii")
    rows = np.frombuffer(path.read_bytes(), "<f4", 12, 280).copy()
    rows[:4] *= -1
    patch(path, 280, rows.tobytes())
    with pytest.raises(ScanError, match="contradict each other"):
        open_scan(path)


def test_nifti_of_four_dimensions_with_one_volume(axial_head, tmp_path):
    path = write(axial_head, tmp_path / "head.nii")
    patch(path, 40, struct.pack("<5h", 4, *axial_head.array.shape[::-1], 1))
    read = open_scan(path).volume
    assert np.array_equal(read.array, axial_head.array)
    assert np.allclose(read.patient_from_voxel, axial_head.patient_from_voxel, atol=1e-3)


def test_sheared_nifti_is_refused(axial_head, tmp_path):
    path = write(axial_head, tmp_path / "head.nii")
    rows = np.frombuffer(path.read_bytes(), "<f4", 12, 280).copy()
    rows[2] += 1.5  # k moves along x as well
    patch(path, 280, rows.tobytes())
    patch(path, 252, struct.pack("<h", 0))
    with pytest.raises(ScanError, match="not perpendicular"):
        open_scan(path)


def test_nrrd_spaces(heads, axial_head, tmp_path):
    path = write(axial_head, tmp_path / "head.nhdr")
    text = path.read_text(encoding="latin-1")
    assert "space: left-posterior-superior" in text
    path.write_text(text.replace("left-posterior-superior", "right-anterior-superior"))
    turned = open_scan(path).volume
    assert np.abs(heads.marker_centre(turned) - heads.marker * [-1, -1, 1]).max() < 1.5
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("space:")))
    with pytest.raises(ScanError, match="does not say where its voxels lie"):
        open_scan(path)


def test_meta_without_orientation_is_refused(axial_head, tmp_path):
    path = write(axial_head, tmp_path / "head.mhd")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "TransformMatrix" not in line))
    with pytest.raises(ScanError, match="left and right cannot be told apart"):
        open_scan(path)


def test_header_without_its_data(axial_head, tmp_path):
    path = write(axial_head, tmp_path / "head.mhd")
    next(tmp_path.glob("*.*raw")).unlink()
    with pytest.raises(ScanError, match=r"needs the file head\.z?raw"):
        open_scan(path)


def test_not_a_number_is_not_observed(axial_head, tmp_path):
    array = axial_head.array.astype(np.float32)
    array[:, :3] = np.nan
    read = open_scan(write(axial_head, tmp_path / "head.nii.gz", array)).volume
    assert not read.observed_mask()[:, :3].any()
    assert read.observed_mask()[:, 3:].all()
    assert (read.array[:, :3] == -1000).all()


def test_floats_are_rounded(axial_head, tmp_path):
    array = axial_head.array.astype(np.float64) + 0.4
    assert np.array_equal(
        open_scan(write(axial_head, tmp_path / "head.nrrd", array)).volume.array, axial_head.array
    )


def test_values_that_are_no_hounsfield_units(axial_head, tmp_path):
    offset = (axial_head.array.astype(int) + 1024).clip(0).astype(np.uint16)
    with pytest.raises(NotACt, match=r"stored without its offset.*subtract 1024"):
        open_scan(write(axial_head, tmp_path / "offset.nii.gz", offset))
    mr = np.abs(axial_head.array // 4).astype(np.int16)
    with pytest.raises(NotACt, match="none stands for air"):
        open_scan(write(axial_head, tmp_path / "mr.nii.gz", mr))
    mask = (axial_head.array > 300).astype(np.uint8)
    with pytest.raises(NotACt, match="a mask"):
        open_scan(write(axial_head, tmp_path / "mask.nii.gz", mask))
    soft = np.minimum(axial_head.array, 80)
    with pytest.raises(NotACt, match="no bone"):
        open_scan(write(axial_head, tmp_path / "soft.nii.gz", soft))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_truncated(axial_head, tmp_path, ending, share):
    path = write(axial_head, tmp_path / f"head{ending}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ScanError, match=r"damaged|does not say where"):
        open_scan(path)


def test_two_dimensional_picture_is_refused(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((20, 20), np.int16))
    sitk.WriteImage(image, str(tmp_path / "flat.nii"))
    patch(tmp_path / "flat.nii", 123, b"\x02")
    with pytest.raises(ScanError, match="not one three-dimensional volume"):
        open_scan(tmp_path / "flat.nii")


def test_real_volumes(shared_ct):
    for path in sorted((shared_ct / "volumes").glob("*.nii.gz")):
        found = inspect_scan(path).proposed
        assert found is not None, path.name
    read = open_scan(shared_ct / "volumes" / "vtk_headsq_quarter.nii.gz").volume
    image = sitk.ReadImage(str(shared_ct / "volumes" / "vtk_headsq_quarter.nii.gz"))
    assert np.array_equal(read.array, np.maximum(sitk.GetArrayFromImage(image), -1024))
    assert np.allclose(read.grid.patient_points(np.array([[3.0, 2, 1]]))[0],
                       image.TransformIndexToPhysicalPoint([1, 2, 3]), atol=1e-3)  # fmt: skip


def test_gzip_that_is_none(tmp_path):
    path = tmp_path / "head.nii.gz"
    path.write_bytes(gzip.compress(b"hello")[:-4])
    with pytest.raises(ScanError, match="damaged"):
        open_scan(path)
