"""Stored values to HU: every transfer syntax, sign and width, slopes, padding, multi-frame."""

from __future__ import annotations

from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import get_decoder
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from facegen_inference.scan import open_scan
from facegen_inference.volume import Volume

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big endian": "1.2.840.10008.1.2.2",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
@pytest.mark.parametrize(("signed", "bits"), [(False, 12), (True, 16), (False, 16), (True, 13)])
def test_transfer_syntaxes(series_folder, axial_head, syntax, signed, bits):
    folder = series_folder(transfer_syntax=syntax, signed=signed, bits_stored=bits)
    assert pydicom.dcmread(folder / "CT0001.dcm").file_meta.TransferSyntaxUID == syntax
    read = open_scan(folder).volume
    assert np.array_equal(read.array, axial_head.array)
    assert read.observed is None


@pytest.mark.parametrize(
    "syntax",
    [gdcm.TransferSyntax.JPEGLosslessProcess14, gdcm.TransferSyntax.JPEGLosslessProcess14_1],
)
@pytest.mark.parametrize("signed", [False, True])
def test_jpeg_lossless(series_folder, axial_head, syntax, signed):
    folder = series_folder(signed=signed, bits_stored=16)
    for path in folder.iterdir():
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    written = pydicom.dcmread(folder / "CT0001.dcm").file_meta.TransferSyntaxUID
    assert written in ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
    assert np.array_equal(open_scan(folder).volume.array, axial_head.array)


@pytest.mark.parametrize("uid", ["201", "202", "203"])
def test_high_throughput_jpeg_2000_can_be_decoded(uid):
    assert get_decoder(f"1.2.840.10008.1.2.4.{uid}").is_available


def test_rescale_differs_from_slice_to_slice(series_folder, axial_head):
    folder = series_folder(bits_stored=16)
    for n, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        hu = dataset.pixel_array.astype(int) - 1024
        dataset.RescaleSlope, dataset.RescaleIntercept = (1, -2000) if n % 2 else ("0.5", "-1500.5")
        stored = hu + 2000 if n % 2 else np.round((hu + 1500.5) / 0.5)
        dataset.PixelData = stored.astype("<u2").tobytes()
        dataset.save_as(path)
    assert np.array_equal(open_scan(folder).volume.array, axial_head.array)


def test_values_below_air_are_lifted_and_large_ones_kept(series_folder, axial_head):
    array = axial_head.array.copy()
    array[10, 20, 20], array[10, 20, 21] = -3000, 30000
    read = open_scan(
        series_folder(
            volume=Volume(array, axial_head.patient_from_voxel), signed=True, bits_stored=16
        )
    ).volume
    assert read.array[10, 20, 20] == -1024
    assert read.array[10, 20, 21] == 30000


def test_old_overlay_in_the_high_bits_is_removed(series_folder, axial_head):
    folder = series_folder(bits_stored=12)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        stored = np.frombuffer(dataset.PixelData, "<u2").copy()
        stored[::3] |= 0x8000
        dataset.PixelData = stored.tobytes()
        dataset.save_as(path)
    assert np.array_equal(open_scan(folder).volume.array, axial_head.array)


def circle(shape: tuple[int, ...]) -> np.ndarray:
    j, i = np.ogrid[: shape[1], : shape[2]]
    y, x = (2 * j + 1 - shape[1]) / shape[1], (2 * i + 1 - shape[2]) / shape[2]
    return np.broadcast_to(x * x + y * y <= 1.0, shape)


@pytest.mark.parametrize("signed", [True, False])
def test_padding_is_air_and_not_observed(series_folder, axial_head, signed):
    seen = circle(axial_head.array.shape)
    volume = Volume(axial_head.array, axial_head.patient_from_voxel, seen)
    # Unsigned, padding cannot lie below -1024: it then equals a value of air inside the circle.
    padding = -2000 if signed else -1024
    folder = series_folder(volume=volume, padding_hu=padding, signed=signed, bits_stored=16)
    read = open_scan(folder).volume
    assert (read.array[~seen] == -1000).all()
    assert np.array_equal(read.array[seen], axial_head.array[seen])
    expected = seen if signed else read.observed_mask() | seen
    assert np.array_equal(read.observed_mask(), expected)
    assert not read.observed_mask()[:, 0, 0].any()
    # All slices agree, so the mask costs one plane, not half the volume.
    assert read.observed.strides[0] == 0


def test_padding_value_within_the_body_stays_observed(series_folder, axial_head):
    """Writers that declare the value of air as padding must not make the sinuses unknown."""
    array = axial_head.array.copy()
    array[20:24, 24:30, 20:26] = -1024
    folder = series_folder(
        volume=Volume(array, axial_head.patient_from_voxel), tags={"PixelPaddingValue": 0}
    )
    read = open_scan(folder).volume
    assert read.observed_mask()[20:24, 24:30, 20:26].all()


def test_padding_with_the_wrong_sign_in_the_header(series_folder, axial_head):
    seen = circle(axial_head.array.shape)
    volume = Volume(axial_head.array, axial_head.patient_from_voxel, seen)
    folder = series_folder(volume=volume, padding_hu=-2000, signed=True, bits_stored=16)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
        dataset.save_as(path)
    read = open_scan(folder).volume
    assert np.array_equal(read.observed_mask(), seen)


def test_undeclared_fill_outside_the_circle_is_not_observed(series_folder, axial_head):
    seen = circle(axial_head.array.shape)
    array = np.where(seen, axial_head.array, -3024).astype(np.int16)
    volume = Volume(array, axial_head.patient_from_voxel)
    read = open_scan(series_folder(volume=volume, signed=True, bits_stored=16)).volume
    assert not read.observed_mask()[:, 0, 0].any()
    assert read.observed_mask()[:, 28, 24].all()
    assert read.array.min() >= -1024


def enhanced(volume: Volume, path: Path, order: np.ndarray, syntax: str) -> None:
    """Write an Enhanced CT object whose frames come in a given order."""
    matrix = volume.patient_from_voxel
    _, row_step, column_step = volume.spacing
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["e"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["s"])
    ds.Modality, ds.PatientID, ds.ImageType = "CT", "P", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    measures, plane, shared, rescale = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [float(row_step), float(column_step)]
    plane.ImageOrientationPatient = [
        *(matrix[:3, 2] / column_step).tolist(), *(matrix[:3, 1] / row_step).tolist()
    ]  # fmt: skip
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -1024, "HU"
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([plane])
    shared.PixelValueTransformationSequence = Sequence([rescale])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in order.tolist():
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = (matrix[:3, 3] + k * matrix[:3, 0]).round(6).tolist()
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.NumberOfFrames = len(frames)
    ds.Rows, ds.Columns = volume.array.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    stored = (volume.array[order].astype(int) + 1024).clip(0, 4095).astype("<u2")
    ds.add_new("PixelData", "OW", stored.tobytes())
    if syntax != ExplicitVRLittleEndian:
        ds.compress(syntax)
    ds.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, SYNTAXES["RLE"], SYNTAXES["JPEG-LS"]])
def test_enhanced_multi_frame(tmp_path, axial_head, syntax):
    order = np.random.default_rng(0).permutation(len(axial_head.array))
    path = tmp_path / "enhanced.dcm"
    enhanced(axial_head, path, order, syntax)
    scan = open_scan(path)
    assert np.array_equal(scan.volume.array, axial_head.array)
    assert np.allclose(scan.volume.patient_from_voxel, axial_head.patient_from_voxel)
    assert scan.files == (path,)
