from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from egg_heads import synthesize

from facegen_inference.errors import OutputError, UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import read_dataset, read_manifest, write_json
from facegen_training.cohort.key import Key, read_or_make_key
from facegen_training.cohort.sheet_list import note_sheet, noted_sheets, sheet_list
from facegen_training.cohort.wipe import wipe_files, wipe_prepared

SPEC = PreprocessSpec(shape=(16, 14, 12), spacing_mm=16.0)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return synthesize(tmp_path / "out" / "digest-1", SPEC, people=4)


def test_wiping_removes_people_and_is_recorded(manifest: Path) -> None:
    folder = manifest.parent
    (folder / "contact.html").write_text("faces")
    (folder / "scan-12.json").write_text("{}")
    (folder / "split.json").write_text("{}")
    (folder / "own notes.txt").write_text("mine")
    size = sum(p.stat().st_size for p in folder.glob("*.b2nd")) + len("faces") + len("{}")
    (done,) = wipe_prepared(folder.parent)
    wiped = done.wiped
    assert (wiped.files, wiped.bytes) == (6, size)
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["manifest.json", "own notes.txt", "split.json"]
    assert read_manifest(manifest)["wiped"] == {
        "time": wiped.time,
        "files": 6,
        "bytes": size,
        "sheets": True,
    }
    with pytest.raises(UserError, match=f"wiped on {wiped.time[:10]}"):
        read_dataset(manifest)


def test_a_file_is_overwritten_before_it_goes(tmp_path: Path) -> None:
    secret, link = tmp_path / "a.b2nd", tmp_path / "link"
    secret.write_bytes(b"face" * 500_000)
    link.hardlink_to(secret)
    wiped = wipe_files([secret])
    assert (wiped.files, wiped.bytes) == (1, 2_000_000)
    assert not secret.exists()
    assert link.read_bytes() == bytes(2_000_000)


def test_what_cannot_be_wiped_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        wipe_files([tmp_path / "missing"])
    with pytest.raises(UserError, match="Nothing was prepared"):
        wipe_prepared(tmp_path)


def test_a_sheet_that_was_never_noted_is_found_in_the_usual_place_only_with_its_own_key(
    manifest: Path, key: Key
) -> None:
    data = {**read_manifest(manifest), "encrypted": True, "key_id": key.id}
    sheet = key.path.with_name("digest-1.contact.html")
    sheet.write_text("faces", encoding="utf-8")
    other = read_or_make_key(key.path.with_name("other.key"), manifest.parent)
    write_json(manifest, data)
    assert wipe_prepared(manifest, other.path)[0].missing_sheet == sheet.name
    assert sheet.is_file()
    second = shutil.copytree(manifest.parent, manifest.parent.with_name("b") / "digest-1")
    note_sheet(key.path, sheet, second)
    assert noted_sheets(key.path, second) == [sheet]
    assert wipe_prepared(manifest, key.path)[0].missing_sheet == sheet.name
    assert sheet.is_file(), "by now it shows other people"
    sheet_list(key.path).unlink()
    assert not wipe_prepared(manifest, key.path)[0].missing_sheet
    assert not sheet.exists()


def test_the_command_says_which_sheet_it_did_not_find(
    manifest: Path, key: Key, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from facegen_training.cli import app

    write_json(manifest, {**read_manifest(manifest), "encrypted": True, "key_id": key.id})
    words = ["prepare", "--wipe", str(manifest.parent), "--key"]
    result = CliRunner().invoke(app, [*words, str(tmp_path / "none.key")])
    assert isinstance(result.exception, UserError)
    assert "digest-1.contact.html of" in str(result.exception)
    assert "Wiped 4 files" in result.output
    sheet = tmp_path / "anywhere.html"
    sheet.write_text("faces", encoding="utf-8")
    note_sheet(key.path, sheet, manifest.parent)
    result = CliRunner().invoke(app, [*words, str(key.path)])
    assert result.exit_code == 0, result.exception
    assert "Wiped 1 files, 5 bytes." in result.output
    assert not sheet.exists()


def test_a_damaged_list_of_sheets_stops_the_wiping_before_anything_goes(
    manifest: Path, key: Key
) -> None:
    sheet_list(key.path).write_text("{", encoding="ascii")
    with pytest.raises(UserError, match="list of contact sheets beside the key is damaged"):
        wipe_prepared(manifest, key.path)
    assert len(list(manifest.parent.glob("*.b2nd"))) == 4
