"""A killed program loses nothing that it had finished, and leaves nothing that cannot be opened."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import case_worker
import pytest

from facegen_app.casework.audit_log import broken_at
from facegen_app.casework.case_opening import open_case
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
