"""A killed program loses nothing that it had finished, and leaves nothing that cannot be opened."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import case_worker
import pytest

from facegen_app.casework.audit_log import broken_at
from facegen_app.casework.case_actions import write_note
from facegen_app.casework.case_opening import create_case, open_case
from facegen_app.casework.case_seal import seal_state
from facegen_app.casework.case_state import replay

KILLS = int(os.environ.get("FACEGEN_KILLS", "25"))


def worked_until_killed(path: Path, seed: int, seconds: float) -> dict[int, str]:
    """Let a program work on a case for a while and kill it; number → hash of what it finished."""
    worker = subprocess.Popen(
        [sys.executable, case_worker.__file__, str(path), str(seed)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdout is not None
    first = worker.stdout.readline()  # by then it works: what follows is killed anywhere
    time.sleep(seconds)
    worker.kill()
    rest, complaint = worker.communicate(timeout=30)
    assert complaint == ""
    assert first.startswith("open ")
    lines = [line.split() for line in rest.splitlines() if line.startswith("stored ")]
    return {int(words[1]): words[2] for words in lines if len(words) == 3 and len(words[2]) == 64}


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_every_finished_action_outlives_a_kill_at_any_moment(tmp_path):
    path = tmp_path / "worked.facegen"
    chance = random.Random(5)
    finished: dict[int, str] = {}
    found = {"open": 0, "sealed": 0}
    for kill in range(KILLS):
        finished |= worked_until_killed(path, kill, chance.uniform(0.0, 0.15))
        found[seal_state(path, "rw")] += 1
        with open_case(path) as case:
            log = case.log()
            assert not case.read_only
            assert broken_at(log) is None
            assert {n: log[n - 1].sha256 for n in finished} == finished
            state = {table: {} for table in case.state()}
            assert all(replay(state, entry.changed()) for entry in log)
            assert state == case.state()
            for row in case.rows("meshes").values():
                case.content(row["sha256"])
        assert seal_state(path, "ro") == "sealed"
        assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert len(finished) > KILLS
    assert found["open"] > 0


def left_by_a_power_cut(path: Path, to: Path) -> Path:
    """Copy a case as it lies on the disk at this moment, with what lies beside it."""
    to.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        if not file.name.endswith(("-lock", "-shm")):  # the memory of a process that is no more
            shutil.copyfile(file, to / file.name)
    return to / path.name


def test_a_torn_write_ahead_log_costs_no_more_than_what_was_torn(tmp_path):
    path = tmp_path / "case" / "worked.facegen"
    lengths = []
    with create_case(path) as case:
        for number in range(12):
            case.act(write_note(str(number), "scan", "x" * 300 * (number + 1)))
            lengths.append(path.with_name(path.name + "-wal").stat().st_size)
        log = case.log()
        chance = random.Random(3)
        for number in range(40):
            left = left_by_a_power_cut(path, tmp_path / str(number))
            wal = left.with_name(left.name + "-wal")
            content = wal.read_bytes()
            cut = chance.randrange(len(content))
            wal.write_bytes(content[:cut] + chance.randbytes(chance.choice((0, 100, 9000))))
            whole = sum(length <= cut for length in lengths)
            with open_case(left) as again:
                assert again.log()[: 1 + whole] == log[: 1 + whole]
                assert broken_at(again.log()) is None
                assert len(again.rows("notes")) == whole
            assert seal_state(left, "ro") == "sealed"


def test_a_power_cut_amid_writing_without_a_write_ahead_log(tmp_path, monkeypatch):
    monkeypatch.setattr("facegen_app.casework.case_file.is_local_disk", lambda _path: False)
    path = tmp_path / "case" / "worked.facegen"
    with create_case(path) as case:
        case.act(write_note("1", "scan", "x" * 300_000))
        before, log = case.state(), case.log()
        case._connection.execute("PRAGMA cache_size = 2")
        case._connection.execute("BEGIN IMMEDIATE")
        case._connection.execute("UPDATE notes SET text = replace(text, 'x', 'y')")
        left = left_by_a_power_cut(path, tmp_path / "left")
        case._connection.execute("ROLLBACK")
    assert left.read_bytes() != path.read_bytes()
    assert left.with_name(left.name + "-journal").stat().st_size > 0
    with open_case(left) as again:
        assert again.state() == before
        assert again.log()[:-1] == log
    assert seal_state(left, "ro") == "sealed"
    assert [file.name for file in left.parent.iterdir()] == [left.name]
