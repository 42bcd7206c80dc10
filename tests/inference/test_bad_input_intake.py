"""Bad input to the intake: one clear sentence and an advice each, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from facegen_inference.errors import UserError
from facegen_inference.mesh import Mesh
from facegen_inference.mesh_files import write_mesh
from facegen_inference.scan import NotACt, inspect_scan, open_scan
from facegen_inference.volume import Volume

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffdb004300") + bytes(200)


def refusal(path: Path, **options) -> UserError:
    """Open what cannot be opened and check the manners of the error."""
    with pytest.raises(UserError) as caught:
        open_scan(path, **options)
    error = caught.value
    assert error.exit_status == 2
    assert error.message.endswith((".", "!"))
    assert error.message[0].isupper() or error.message[0].isalnum()
    assert len(error.message) < 300
    assert error.advice
    assert "Traceback" not in str(error)
    assert error.as_data()["message"] == error.message
    return error


def edit(path: Path, **values) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_place_that_is_not_there(tmp_path):
    assert "nothing at" in refusal(tmp_path / "nowhere").message


def test_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").message == "The folder empty is empty."


def test_folder_of_jpegs(tmp_path):
    for n in range(5):
        (tmp_path / f"photo{n}.jpg").write_bytes(JPEG)
    assert "no scan that can be read (5 .jpg)" in refusal(tmp_path).message
    assert len(inspect_scan(tmp_path).set_aside) == 5


@pytest.mark.parametrize("name", ["notes.txt", "photo.jpg", "scan.dcm", "no_ending"])
def test_a_file_that_is_something_else(tmp_path, name):
    (tmp_path / name).write_bytes(JPEG)
    assert "no scan that can be read" in refusal(tmp_path / name).message


def test_one_slice(series_folder):
    folder = series_folder()
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    assert "only one slice" in refusal(folder).message
    assert "only one slice" in refusal(folder / "CT0001.dcm").message


def test_two_patients_mixed(series_folder):
    folder = series_folder()
    edit(folder / "CT0012.dcm", PatientID="SOMEONE ELSE")
    error = refusal(folder)
    assert "two patients are mixed" in error.message
    assert "CT0012" in error.message


@pytest.mark.parametrize("share", [0.2, 0.7, 0.97])
@pytest.mark.parametrize("syntax", ["1.2.1", "1.2.5", "1.2.4.80", "1.2.1.99"])
def test_truncated_file(series_folder, share, syntax):
    folder = series_folder(transfer_syntax=f"1.2.840.10008.{syntax}")
    path = folder / "CT0030.dcm"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    error = refusal(folder)
    assert "CT0030" in error.message


def test_damaged_last_slice_is_warned_about(series_folder):
    """Nothing proves that a slice at the end is missing, so the file is named."""
    folder = series_folder()
    path = folder / "CT0050.dcm"
    path.write_bytes(path.read_bytes()[:600])
    scan = open_scan(folder)
    assert scan.volume.array.shape[0] == 49
    assert any("CT0050.dcm" in w for w in scan.volume.warnings)


@pytest.mark.parametrize("keep", [140, 400, 900])
def test_file_cut_in_its_header(series_folder, keep):
    folder = series_folder()
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:keep])
    refusal(folder)


@pytest.mark.parametrize("claimed", ["1.2.4.90", "1.2.5", "1.2.4.80", "1.2.4.70"])
def test_wrong_transfer_syntax(series_folder, claimed):
    """Raw values in files that claim to be compressed."""
    claimed = f"1.2.840.10008.{claimed}"
    folder = series_folder()
    for path in folder.iterdir():
        data = path.read_bytes()
        old = b"1.2.840.10008.1.2.1\0"
        assert data.count(old) == 1
        value = claimed.encode() + b"\0" * (len(claimed) % 2)
        at = data.index(old)
        data = data[: at - 2] + len(value).to_bytes(2, "little") + value + data[at + len(old) :]
        grown = int.from_bytes(data[140:144], "little") + len(value) - len(old)
        path.write_bytes(data[:140] + grown.to_bytes(4, "little") + data[144:])
    error = refusal(folder)
    assert "transfer syntax" in error.message


def test_video_is_no_ct(series_folder):
    folder = series_folder()
    for path in folder.iterdir():
        data = path.read_bytes()
        path.write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"))
    refusal(folder)


def test_mr(series_folder):
    error = refusal(series_folder(modality="MR"))
    assert isinstance(error, NotACt)
    assert "kind MR, not a CT" in error.message


def test_mr_that_calls_itself_ct(series_folder, axial_head):
    values = np.abs(axial_head.array // 3)
    folder = series_folder(volume=Volume(values, axial_head.patient_from_voxel))
    error = refusal(folder)
    assert isinstance(error, NotACt)
    assert "does not hold Hounsfield units" in error.message


def test_no_rescale(series_folder):
    folder = series_folder()
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.RescaleIntercept
        dataset.save_as(path)
    assert "Hounsfield units" in refusal(folder).message


def test_zip_bomb(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(100 << 20))
    assert "unpacks to" in refusal(tmp_path / "bomb.zip").message


def test_stl_with_nans_and_in_metres(tmp_path):
    turns = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    ring = np.stack([0.07 * np.cos(turns), 0.09 * np.sin(turns), 0 * turns], axis=1)
    points = np.vstack([ring, [[0, 0, 0.08], [0, 0, -0.08]]])
    n = np.arange(30)
    top = np.stack([n, (n + 1) % 30, np.full(30, 30)], axis=1)
    low = np.stack([(n + 1) % 30, n, np.full(30, 31)], axis=1)
    triangles = np.vstack([top, low]).astype(np.int32)
    path = tmp_path / "skull.stl"
    write_mesh(Mesh(points, triangles), path)
    path.write_bytes(path.read_bytes().replace(b"UNITS=mm", b"        "))
    error = refusal(path)
    assert "looks like metres" in error.message
    assert "--units m" in error.advice
    points[3, 1] = np.nan
    write_mesh(Mesh(points, triangles), path)
    assert "not numbers" in refusal(path).message


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps permissions elsewhere")
def test_no_permission(series_folder, tmp_path):
    """As an unprivileged user: root reads everything, so the check runs as another user."""
    folder = series_folder()
    locked = folder / "CT0003.dcm"
    locked.chmod(0)
    script = (
        "import sys; from pathlib import Path\n"
        "from facegen_inference.scan import open_scan\n"
        "from facegen_inference.errors import UserError\n"
        "for place in sys.argv[2:]:\n"
        "    import os\n"
        "    if os.geteuid() == 0: os.setuid(int(sys.argv[1]))\n"
        "    try: open_scan(Path(place)); print('read')\n"
        "    except UserError as error: print(error.exit_status, error.message)\n"
    )
    closed = tmp_path / "closed"
    closed.mkdir()
    single = tmp_path / "single.nii"
    single.write_bytes(bytes(400))
    for path in (closed, single):
        path.chmod(0)
    folder.chmod(0o755)
    for parent in folder.parents:  # pytest makes its folders for their owner only
        if parent.is_relative_to(Path("/tmp")) and parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    run = subprocess.run(
        [sys.executable, "-c", script, "65534", str(folder), str(closed), str(single)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    for path in (closed, single, locked):
        path.chmod(0o700)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].startswith("2 ")
    assert "CT0003.dcm" in lines[0] or "missing" in lines[0]
    assert lines[1] == "2 There is no permission to read closed."
    assert lines[2] == "2 There is no permission to read single.nii."


def test_random_bytes_never_cause_a_bug(series_folder):
    """Flipped bytes in headers: read or refused, nothing else."""
    folder = series_folder()
    path = folder / "CT0010.dcm"
    good = path.read_bytes()
    rng = np.random.default_rng(7)
    for path_other in folder.iterdir():  # five slices are enough to open
        if path_other.name not in {f"CT{n:04d}.dcm" for n in range(8, 14)}:
            path_other.unlink()
    refused = 0
    for _ in range(150):
        data = bytearray(good)
        for at in rng.integers(0, 1400, 6):
            data[at] = rng.integers(0, 256)
        path.write_bytes(bytes(data))
        try:
            open_scan(folder)
        except UserError:
            refused += 1
    assert refused > 10
