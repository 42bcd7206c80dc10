from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from facegen_inference.errors import UserError
from facegen_training.cluster import staging


@pytest.fixture
def people(tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    (folder / "more").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "more" / "a.b2nd").write_bytes(b"x" * 1000)
    (folder / "contact.html").write_text("faces")
    (folder / "p-1.jpg").write_text("a face")
    return folder


def events(record: Path) -> list[str]:
    text = "".join(path.read_text() for path in record.glob("*.jsonl"))
    return [json.loads(line)["event"] for line in text.splitlines()]


def test_a_copy_is_whole_private_and_wiped_and_that_is_recorded(
    people: Path, tmp_path: Path
) -> None:
    target, record = tmp_path / "scratch" / "job", tmp_path / "record"
    assert staging.copy(people, target, record) == 1002
    assert (target / "more" / "a.b2nd").read_bytes() == b"x" * 1000
    assert sorted(path.name for path in target.iterdir()) == ["manifest.json", "more"]
    os.link(target / "more" / "a.b2nd", tmp_path / "what the disk still holds")
    assert target.stat().st_mode & 0o077 == 0
    assert [line["folder"] for line in staging.left_behind(record)] == [str(target)]
    staging.wipe(target, record)
    assert not target.exists()
    assert (tmp_path / "what the disk still holds").read_bytes() == bytes(1000)
    assert staging.left_behind(record) == []
    assert events(record) == ["copying", "copied", "wiped"]


def test_a_copy_of_a_killed_start_is_replaced(people: Path, tmp_path: Path) -> None:
    target, record = tmp_path / "job", tmp_path / "record"
    target.mkdir()
    (target / "half a file").touch()
    staging.copy(people, target, record)
    assert not (target / "half a file").exists()


def test_a_full_scratch_disk_is_said_before_anything_is_copied(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "SPARE", 1e15)
    with pytest.raises(UserError, match="GB are needed"):
        staging.copy(people, tmp_path / "job", tmp_path / "record")
    assert not (tmp_path / "job").exists()


def test_what_cannot_be_wiped_is_recorded(people: Path, tmp_path: Path) -> None:
    target, record = tmp_path / "job", tmp_path / "record"
    target.write_text("a file where a folder should be")
    with pytest.raises(UserError, match="could not be removed"):
        staging.wipe(target, record)
    assert events(record) == ["not wiped"]


def test_it_runs_as_the_batch_script_runs_it_and_imports_nothing_slow(
    people: Path, tmp_path: Path
) -> None:
    module = "facegen_training.cluster.staging"
    command = [sys.executable, "-X", "importtime", "-m", module, "copy", str(people)]
    command += [str(tmp_path / "job"), "--record", str(tmp_path / "record")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "torch" not in done.stderr
    assert "numpy" not in done.stderr
    gone = [sys.executable, "-m", module, "copy", str(tmp_path / "no"), "x", "--record", "y"]
    done = subprocess.run(gone, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("no is not a folder of prepared people.")
