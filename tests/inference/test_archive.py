"""Packed scans: zip and tar, inside each other, and archives that mean harm."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from facegen_inference.archive import Limits, unpacked
from facegen_inference.errors import ScanError
from facegen_inference.scan import inspect_scan, open_scan


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    """A temporary folder of our own, to see that nothing is left in it."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def pack_zip(folder: Path, out: Path) -> Path:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, f"export/{path.name}")
    return out


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.xz", "tar.bz2"])
def test_packed_series(series_folder, axial_head, tmp_path, temporary, ending):
    folder, out = series_folder(), tmp_path / f"scan.{ending}"
    if ending == "zip":
        pack_zip(folder, out)
    else:
        mode = {"tar": "w", "tgz": "w:gz"}.get(ending, f"w:{ending[4:]}")
        with tarfile.open(out, mode) as archive:
            archive.add(folder, "export")
    scan = open_scan(out)
    assert np.array_equal(scan.volume.array, axial_head.array)
    assert scan.files == (out,)
    assert inspect_scan(out).proposed.files == (out,)
    assert list(temporary.iterdir()) == []


def test_archive_in_an_archive(series_folder, axial_head, tmp_path):
    inner = pack_zip(series_folder(), tmp_path / "inner.zip")
    with tarfile.open(tmp_path / "outer.tar.gz", "w:gz") as archive:
        archive.add(inner, "a/inner.zip")
    assert np.array_equal(open_scan(tmp_path / "outer.tar.gz").volume.array, axial_head.array)


def test_archives_too_deep_are_refused(tmp_path, temporary):
    path = tmp_path / "0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"x")
    for n in range(1, 6):
        outer = tmp_path / f"{n}.zip"
        with zipfile.ZipFile(outer, "w") as archive:
            archive.write(path, path.name)
        path = outer
    with pytest.raises(ScanError, match="archives inside archives"):
        open_scan(path)
    assert list(temporary.iterdir()) == []


def test_zip_bomb_by_ratio(tmp_path, temporary):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(150 << 20))
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(ScanError, match=r"unpacks to over 300 times its own size"):
        open_scan(bomb)
    assert list(temporary.iterdir()) == []


def test_limits_on_count_and_size(tmp_path):
    packed = tmp_path / "many.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for n in range(20):
            archive.writestr(str(n), bytes(1000))
    with pytest.raises(ScanError, match="more than 10 files"), unpacked(packed, Limits(files=10)):
        pass
    few = Limits(total_bytes=5000)
    with pytest.raises(ScanError, match="more than"), unpacked(packed, few):
        pass


def test_names_cannot_leave_the_folder(tmp_path, temporary):
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as archive:
        for name in (
            "../../outside",
            "/etc/absolute",
            "..\\..\\windows",
            "C:drive",
            "same",
            "same",
        ):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with unpacked(evil) as folder:
        files = [p for p in folder.rglob("*") if not p.is_dir()]
        assert len(files) == 6
        assert all(p.resolve().is_relative_to(folder.resolve()) for p in files)
        assert not any(p.is_symlink() for p in files)
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("name", ["scan.zip", "scan.tar", "scan.tar.gz", "scan.tar.xz"])
def test_damaged_archive(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"this is no archive" * 100)
    with pytest.raises(ScanError, match="damaged or not an archive"):
        open_scan(path)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_archive_cut_short(series_folder, tmp_path, share, temporary):
    folder = series_folder()
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as archive:
        archive.add(folder, "export")
    data = (tmp_path / "whole.tar.gz").read_bytes()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ScanError, match="damaged"):
        open_scan(cut)
    assert list(temporary.iterdir()) == []


def test_locked_zip(tmp_path):
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"secret")
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + at] |= 1  # the flag that the entry is encrypted
    path.write_bytes(bytes(data))
    with pytest.raises(ScanError, match="locked with a password"):
        open_scan(path)


def test_archive_in_a_folder_is_mentioned(series_folder, tmp_path):
    folder = series_folder()
    pack_zip(series_folder("other"), folder / "other.zip")
    names = dict(inspect_scan(folder).set_aside)
    assert "open it by itself" in names["other.zip"]
