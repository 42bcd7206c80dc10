"""Where slices are: order, orientation, tilt, uneven spacing, and what cannot be a stack."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from facegen_inference.errors import ScanError
from facegen_inference.scan import inspect_scan, open_scan

# 6 orders of the axes, each with the 4 sign choices that keep the head right-handed or turn it.
AXIS_ORDERS = [
    (order, signs)
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
    if np.linalg.det(np.eye(3)[:, list(order)] * signs) > 0
]


def edit(path: Path, **values) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def rotation(degrees: float, axis: int) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.eye(3)
    a, b = [n for n in range(3) if n != axis]
    turn[a, a] = turn[b, b] = np.cos(angle)
    turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
    return turn


def test_there_are_24_axis_orders():
    assert len(AXIS_ORDERS) == 24


@pytest.mark.parametrize(("order", "signs"), AXIS_ORDERS)
def test_marker_stays_on_the_left_in_every_axis_order(heads, tmp_path, order, signs, series_folder):
    columns = np.eye(3)[:, list(order)] * signs * 5.0
    shape = (40, 44, 38)
    volume = heads.sample(heads.centred(columns, shape), shape)
    read = open_scan(series_folder(volume=volume)).volume
    assert np.abs(heads.marker_centre(read) - heads.marker).max() < 2.5
    # What was written at a place is read at the same place, whatever the order of slices.
    expected = heads.hu(
        read.grid.patient_points(np.argwhere(np.ones(read.array.shape)).astype(float))
    )
    assert (read.array.ravel() == expected).mean() > 0.999


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_oblique_series(heads, series_folder, axis):
    columns = rotation(25, axis) @ rotation(10, (axis + 1) % 3) @ heads.columns
    volume = heads.sample(heads.centred(columns, heads.shape), heads.shape)
    read = open_scan(series_folder(volume=volume)).volume
    assert np.abs(heads.marker_centre(read) - heads.marker).max() < 1.5
    assert np.allclose(read.spacing, 4.0, atol=1e-6)
    assert not read.warnings


def test_names_and_instance_numbers_do_not_matter(heads, series_folder, axial_head):
    folder = series_folder()
    files = sorted(folder.iterdir())
    for n, path in enumerate(np.random.default_rng(1).permutation(files)):
        edit(path, InstanceNumber=n)
        path.rename(folder / f"x{n:03d}")
    read = open_scan(folder).volume
    assert np.array_equal(read.array, axial_head.array)
    assert np.allclose(read.patient_from_voxel, axial_head.patient_from_voxel)


@pytest.mark.parametrize("degrees", [20.0, -12.0])
def test_gantry_tilt_is_undone(heads, series_folder, degrees):
    tilted = rotation(degrees, 0) @ heads.columns
    columns = np.column_stack([[0.0, 0.0, 4.0], tilted[:, 1], tilted[:, 2]])  # table moves along z
    volume = heads.sample(heads.centred(columns, heads.shape), heads.shape)
    scan = open_scan(series_folder(volume=volume))
    read = scan.volume
    axes = read.patient_from_voxel[:3, :3] / read.spacing
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6), "the grid must have no shear"
    assert scan.geometry["tilt_undone_degrees"] == pytest.approx(abs(degrees), abs=0.01)
    assert any("tilted by" in w for w in read.warnings)
    assert np.abs(heads.marker_centre(read) - heads.marker).max() < 2.0
    index = np.argwhere(read.observed_mask())
    expected = heads.hu(read.grid.patient_points(index.astype(float)))
    values = read.array[tuple(index.T)]
    assert np.abs(values.astype(float) - expected).mean() < 60  # half-pixel blur at edges only
    assert (np.abs(values - expected) < 5).mean() > 0.85
    assert 0.5 < read.observed_mask().mean() < 0.98
    assert (read.array[~read.observed_mask()] == -1000).all()


def test_two_stacks_are_resampled_with_a_warning(heads, series_folder, tmp_path):
    depths = np.concatenate([np.arange(0, 60, 3.0), 60 + np.arange(0, 60, 6.0)])
    matrix = heads.centred(heads.columns, heads.shape)
    folder = tmp_path / "stacks"
    for k, depth in enumerate(depths):
        at = matrix.copy()
        at[:3, 3] += [0, 0, 40 + depth]
        one = heads.sample(at, (1, *heads.shape[1:]))
        part = series_folder(f"part{k}", volume=one)
        folder.mkdir(exist_ok=True)
        path = folder / f"{k:02d}.dcm"
        (part / "CT0001.dcm").rename(path)
        edit(path, SOPInstanceUID=f"1.2.3.{k}")
    scan = open_scan(folder)
    assert scan.geometry["resampled"] is True
    assert scan.volume.spacing[0] == pytest.approx(3.0, abs=0.01)
    assert any("resampled to 3.00 mm" in w for w in scan.volume.warnings)
    assert np.abs(heads.marker_centre(scan.volume) - heads.marker).max() < 2.0


def test_missing_slice_is_named(series_folder):
    folder = series_folder()
    (folder / "CT0021.dcm").unlink()
    with pytest.raises(ScanError, match=r"1 slice is missing.*CT0020.*CT0022.*8\.00 mm"):
        open_scan(folder)


def test_two_missing_slices_are_counted(series_folder):
    folder = series_folder()
    for n in (10, 30):
        (folder / f"CT00{n}.dcm").unlink()
    with pytest.raises(ScanError, match="2 slices are missing"):
        open_scan(folder)


def test_duplicate_position_is_named(series_folder):
    folder = series_folder()
    position = pydicom.dcmread(folder / "CT0010.dcm").ImagePositionPatient
    edit(folder / "CT0011.dcm", ImagePositionPatient=position)
    with pytest.raises(ScanError, match=r"taken twice.*CT001[01].*CT001[01]"):
        open_scan(folder)


def test_a_second_copy_of_each_file_is_harmless(series_folder, axial_head):
    folder = series_folder()
    copies = folder / "again"
    copies.mkdir()
    for path in list(folder.glob("*.dcm")):
        (copies / path.name).write_bytes(path.read_bytes())
    assert np.array_equal(open_scan(folder).volume.array, axial_head.array)


def test_mixed_sizes_are_named(heads, series_folder):
    folder = series_folder()
    matrix = heads.centred(heads.columns, heads.shape)
    small = heads.sample(matrix, (1, 30, 30))
    odd = series_folder("odd", volume=small) / "CT0001.dcm"
    series = pydicom.dcmread(folder / "CT0001.dcm")
    edit(odd, SeriesInstanceUID=series.SeriesInstanceUID, SOPInstanceUID="1.2.3")
    (folder / "CT0001.dcm").unlink()
    odd.rename(folder / "odd.dcm")
    with pytest.raises(ScanError, match=r"mixes image sizes.*30×30"):
        open_scan(folder)


def test_position_missing_from_the_header_is_named(series_folder):
    folder = series_folder()
    edit(folder / "CT0005.dcm", ImagePositionPatient=None)
    with pytest.raises(ScanError, match=r"CT0005.dcm does not say its position"):
        open_scan(folder)


def test_jitter_of_rounded_positions_is_no_resampling(series_folder):
    folder = series_folder()
    for k, path in enumerate(sorted(folder.iterdir())):
        position = pydicom.dcmread(path).ImagePositionPatient
        edit(path, ImagePositionPatient=[*position[:2], float(position[2]) + 0.05 * (-1) ** k])
    assert open_scan(folder).geometry["resampled"] is False


def _sitk_volume(folder: Path) -> tuple[np.ndarray, sitk.Image]:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    return sitk.GetArrayFromImage(image), image


@pytest.mark.parametrize(
    ("name", "inside", "shape", "spacing"),
    [
        ("imagex_phantom", "ct", (209, 512, 512), (2.0, 0.9765625, 0.9765625)),
        ("philips_dryskull_1mm", "S2020", (140, 512, 512), (1.0, 0.451171875, 0.451171875)),
    ],
)
def test_real_series_equal_simpleitk(shared_dicom, name, inside, shape, spacing):
    scan = open_scan(shared_dicom[name])
    assert scan.volume.array.shape == shape
    assert np.allclose(scan.volume.spacing, spacing)
    values, image = _sitk_volume(shared_dicom[name] / inside)
    assert np.array_equal(scan.volume.array, np.maximum(values, -1024))
    for voxel in ([0, 0, 0], [shape[0] - 1, 0, 511], [50, 511, 100]):
        point = scan.volume.grid.patient_points(np.array([voxel], dtype=float))[0]
        assert np.allclose(
            point, image.TransformIndexToPhysicalPoint([int(v) for v in voxel[::-1]]), atol=1e-3
        )


@pytest.mark.parametrize(
    ("name", "tilt", "spacing", "resampled"),
    [
        ("philips_dryskull_gantry_tilt", 16.5, 2.397, False),
        ("ge_irregular_spacing", 18.5, 4.002, True),
    ],
)
def test_real_tilted_series_are_straightened(shared_dicom, name, tilt, spacing, resampled):
    scan = open_scan(shared_dicom[name])
    read = scan.volume
    assert scan.geometry["tilt_undone_degrees"] == pytest.approx(tilt, abs=0.02)
    assert read.spacing[0] == pytest.approx(spacing, abs=0.002)
    assert scan.geometry["resampled"] is resampled
    assert len(read.warnings) == 1 + resampled
    # A pixel of an original file is found in the grid where that file says it lies.
    for path in (scan.files[0], scan.files[len(scan.files) // 2], scan.files[-1]):
        original = pydicom.dcmread(path)
        stored = original.pixel_array.astype(float)
        hu = stored * float(original.RescaleSlope) + float(original.RescaleIntercept)
        along_row, down = np.array(original.ImageOrientationPatient, dtype=float).reshape(2, 3)
        step = np.array(original.PixelSpacing, dtype=float)
        origin = np.array(original.ImagePositionPatient, dtype=float)
        rows, columns = np.mgrid[150:400:7, 150:400:7].reshape(2, -1)
        points = origin + np.outer(rows * step[0], down) + np.outer(columns * step[1], along_row)
        k, j, i = read.grid.voxel_points(points).T
        if resampled and abs(k[0] - round(k[0])) > 0.02:
            continue
        low = np.floor(j).astype(int)
        part = j - low
        k, i = np.rint(k).astype(int), np.rint(i).astype(int)
        value = read.array[k, low, i] * (1 - part) + read.array[k, low + 1, i] * part
        smooth = np.abs(np.gradient(hu, axis=0))[rows, columns] < 15
        assert smooth.sum() > 50
        assert np.abs(value - np.maximum(hu[rows, columns], -1024))[smooth].mean() < 12


@pytest.mark.parametrize(
    ("name", "inside", "count"),
    [("philips_dryskull_gantry_tilt", "S3010", 58), ("philips_dryskull_1mm", "S2020", 140)],
)
def test_real_index_of_a_disc(shared_dicom, name, inside, count):
    inspection = inspect_scan(shared_dicom[name] / inside / "DIRFILE")
    assert inspection.proposed is not None
    assert inspection.proposed.slice_count == count
    assert inspection.set_aside == ()
