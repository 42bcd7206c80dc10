"""Half-written files, and what is left of people who withdrew."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facegen_training.cohort.arrays import this_host, write_whole, writer_of
from facegen_training.cohort.key import Key
from facegen_training.cohort.leftovers import left_behind, prune, remove_abandoned
from facegen_training.cohort.names import note_name, tidy_names


def _dead_process() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def test_only_what_nobody_writes_any_more_is_removed(tmp_path: Path) -> None:
    here, dead = this_host(), _dead_process()
    other = "0" * 8
    kept = {
        ".x.part",
        f".a.b2nd.{here}.{os.getpid()}.part",
        f".a.b2nd.{other}.{dead}.part",
        ".note.from.elsewhere.part",
    }
    removed = {f".b.b2nd.{here}.{dead}.part", f".c.b2nd.{other}.{os.getpid()}.part"}
    for name in kept | removed:
        (tmp_path / name).write_text("half")
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(tmp_path / f".c.b2nd.{other}.{os.getpid()}.part", (long_ago, long_ago))
    os.utime(tmp_path / ".x.part", (long_ago, long_ago))
    remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_file_being_written_says_who_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    finish = Path.replace

    def watched(temporary: Path, target: Path) -> Path:
        seen.append(temporary)
        return finish(temporary, target)

    monkeypatch.setattr(Path, "replace", watched)
    write_whole(tmp_path / "a.b2nd", b"array")
    assert (tmp_path / "a.b2nd").read_bytes() == b"array"
    assert [writer_of(path) for path in seen] == [(this_host(), os.getpid())]


def test_pruning_takes_records_and_names_too(tmp_path: Path, key: Key) -> None:
    folder, other = tmp_path / "out" / "one-1", tmp_path / "out" / "two-1"
    for place in (folder, other):
        place.mkdir(parents=True)
    record = '{"stamp": "", "outcomes": [{"id": "%s"}]}'
    for name in ("gone", "both", "here", "failed"):
        note_name((f"p-{name}", f"p-{name}-1", name, f"{name}.nii"), key)
        (folder / f"scan-{name}.json").write_text(record % f"p-{name}-1", encoding="utf-8")
        if name != "failed":
            (folder / f"p-{name}-1.b2nd").write_bytes(b"array")
    (other / "p-both-1.b2nd").write_bytes(b"array")
    (folder / "split.json").write_text("{}", encoding="utf-8")
    left = left_behind(folder, {"p-here-1"}, {"scan-here.json"})
    assert prune(left, key).files == 5
    assert {path.name for path in folder.iterdir()} == {
        "p-here-1.b2nd",
        "scan-here.json",
        "split.json",
    }
    lines = key.names.read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[1] for line in lines] == ["scan", "p-both-1", "p-here-1"]
    assert key.names.stat().st_mode & 0o077 == 0
    assert tidy_names(key) == 0
