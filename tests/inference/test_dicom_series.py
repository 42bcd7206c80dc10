"""Several series told apart, the CT of a head proposed, all else set aside with its reason."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.fileset import FileSet
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from facegen_inference.errors import ScanError
from facegen_inference.scan import NotACt, inspect_scan, open_scan


def edit_all(folder: Path, **values) -> None:
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)


def small(heads, count: int, step: float = 4.0):
    columns = heads.columns.copy()
    columns[:, 0] *= step / 4.0
    shape = (count, *heads.shape[1:])
    return heads.sample(heads.centred(columns, shape), shape)


def object_without_image(path: Path, sop_class: str, modality: str) -> None:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.SeriesInstanceUID, ds.Modality, ds.PatientID = generate_uid(), modality, "FACEGEN"
    ds.save_as(path, enforce_file_format=True)


def test_a_study_as_an_archive_exports_it(heads, series_folder, tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    parts = {
        "thin": series_folder("thin", seed="thin", series_description="Head 1.0 H60"),
        "thick": series_folder("thick", volume=small(heads, 25, 8.0), seed="thick"),
        "chest": series_folder(
            "chest", seed="chest", series_description="Thorax", tags={"BodyPartExamined": "CHEST"}
        ),
        "scout": series_folder("scout", volume=small(heads, 1), seed="scout"),
        "capture": series_folder("capture", volume=small(heads, 1), seed="capture"),
        "mr": series_folder("mr", modality="MR", seed="mr"),
        "derived": series_folder("derived", seed="derived"),
    }
    edit_all(parts["scout"], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    edit_all(parts["capture"], SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    edit_all(parts["derived"], ImageType=["DERIVED", "SECONDARY", "MPR"])
    for name, folder in parts.items():  # all in one folder, names interleaved
        for path in folder.iterdir():
            path.rename(study / f"{path.stem}-{name}")
    object_without_image(study / "report", "1.2.840.10008.5.1.4.1.1.88.67", "SR")
    (study / "readme.txt").write_text("viewer")
    inspection = inspect_scan(study)
    proposed = inspection.proposed
    assert proposed is inspection.series[0]
    assert proposed.description == "Head 1.0 H60"
    assert proposed.slice_count == 50
    usable = {s.slice_count for s in inspection.series if s.usable}
    assert usable == {50, 25}
    reasons = " ".join(reason for _, reason in inspection.set_aside)
    for words in ("localiser", "secondary capture", "kind MR", "report", "not a kind of file"):
        assert words in reasons, words
    assert not next(s for s in inspection.series if s.modality == "MR").usable
    scan = open_scan(study)
    assert scan.series.uid == proposed.uid
    assert len(scan.files) == 50
    thick = next(s for s in inspection.series if s.slice_count == 25)
    assert open_scan(study, thick.uid).volume.spacing[0] == pytest.approx(8.0)
    data = inspection.as_data()
    assert data["series"][0]["proposed"] is True
    assert data["series"][0]["spacing_mm"] == [4.0, 4.0, 4.0]


def test_localiser_inside_the_series_is_split_off(heads, series_folder, axial_head):
    folder = series_folder()
    uid = pydicom.dcmread(folder / "CT0001.dcm").SeriesInstanceUID
    sagittal = np.array([[4.0, 0, 0], [0, 0, 4.0], [0, -4.0, 0]]).T
    scout = heads.sample(heads.centred(sagittal, (1, 56, 48)), (1, 56, 48))
    other = series_folder("scout", volume=scout, tags={"SeriesInstanceUID": uid}, seed="scout")
    (other / "CT0001.dcm").rename(folder / "scout.dcm")
    inspection = inspect_scan(folder)
    assert {s.uid for s in inspection.series} == {uid, f"{uid}#2"}
    assert np.array_equal(open_scan(folder).volume.array, axial_head.array)


def test_two_kernels_under_one_series_are_told_apart(series_folder, axial_head):
    folder = series_folder(tags={"ConvolutionKernel": "H30"})
    uid = pydicom.dcmread(folder / "CT0001.dcm").SeriesInstanceUID
    other = series_folder(
        "sharp", seed="sharp", tags={"ConvolutionKernel": "H60", "SeriesInstanceUID": uid}
    )
    for path in other.iterdir():
        path.rename(folder / f"sharp-{path.name}")
    inspection = inspect_scan(folder)
    assert [s.slice_count for s in inspection.series] == [50, 50]
    assert all(s.usable for s in inspection.series)
    assert np.array_equal(open_scan(folder).volume.array, axial_head.array)


def test_one_file_stands_for_its_series(series_folder, axial_head):
    folder = series_folder("one", seed="one")
    for path in series_folder("two", seed="two", series_description="other").iterdir():
        path.rename(folder / f"two-{path.name}")
    scan = open_scan(folder / "two-CT0007.dcm")
    assert scan.series.description == "other"
    assert np.array_equal(scan.volume.array, axial_head.array)
    assert all(p.name.startswith("two-") for p in scan.files)


def test_dicomdir(series_folder, axial_head, tmp_path):
    fileset = FileSet()
    for path in sorted(series_folder(tags={"StudyDate": "20000101", "StudyTime": "120000",
                                           "StudyID": "1"}).iterdir()):  # fmt: skip
        fileset.add(path)
    fileset.write(tmp_path / "disc")
    with warnings.catch_warnings():  # pydicom leaves its temporary folder to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        del fileset
        gc.collect()
    scan = open_scan(tmp_path / "disc" / "DICOMDIR")
    assert np.array_equal(scan.volume.array, axial_head.array)
    assert np.array_equal(open_scan(tmp_path / "disc").volume.array, axial_head.array)
    images = [p for p in (tmp_path / "disc").rglob("*") if p.is_file() and p.name != "DICOMDIR"]
    for path in images:
        path.unlink()
    with pytest.raises(ScanError, match="None of the images that DICOMDIR lists"):
        open_scan(tmp_path / "disc" / "DICOMDIR")


def test_two_patients_in_two_series_must_be_chosen_from(series_folder, tmp_path):
    series_folder("both/a", patient_id="A", seed="a")
    series_folder("both/b", patient_id="B", seed="b")
    with pytest.raises(ScanError, match="scans of 2 patients"):
        open_scan(tmp_path / "both")
    uids = [s.uid for s in inspect_scan(tmp_path / "both").series]
    assert open_scan(tmp_path / "both", uids[1]).series.uid == uids[1]


def test_unknown_series_names_those_there(series_folder):
    folder = series_folder()
    uid = inspect_scan(folder).series[0].uid
    with pytest.raises(ScanError, match=r"no series 1\.2\.3.*" + uid):
        open_scan(folder, "1.2.3")


def test_reason_of_a_refused_series_is_raised_when_it_is_named(series_folder):
    folder = series_folder(modality="MR")
    uid = inspect_scan(folder).series[0].uid
    with pytest.raises(NotACt, match="kind MR"):
        open_scan(folder, uid)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [({}, None), ({"RecognizableVisualFeatures": "NO"}, True),
     ({"RecognizableVisualFeatures": "YES"}, False),
     ({"DeidentificationMethod": "pydeface defacing"}, True),
     ({"PatientIdentityRemoved": "YES"}, None)],
)  # fmt: skip
def test_removed_face_is_reported(series_folder, tags, expected):
    assert open_scan(series_folder(tags=tags)).deidentified is expected


def test_writing_twice_gives_the_same_bytes(series_folder):
    one, two = series_folder("one"), series_folder("two")
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_progress_runs_to_the_end(series_folder):
    seen: list[float] = []
    open_scan(series_folder(), progress=lambda fraction, step: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
