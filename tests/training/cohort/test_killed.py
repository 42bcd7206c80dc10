"""A real run is killed at random moments; what is done stays, and the end is the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cohort_lab import Run, command, command_line

from facegen_training.cohort.dataset import read_dataset

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
KILLS = 2


def test_a_killed_run_ends_in_the_same_manifest(prepared: Run, lab: Path, tmp_path: Path) -> None:
    line = command_line(lab, "--out", tmp_path / "out", *prepared.words)
    dice = random.Random(1)
    moments = [dice.uniform(0.3, 0.95) * prepared.seconds for _ in range(KILLS)]
    for moment in moments:
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        for path in (tmp_path / "out").rglob("*.json"):
            assert path.read_bytes()[-1:] == b"}", "a file is there whole or not at all"
    time.sleep(1.0)  # workers notice within half a second that their parent is gone
    done = command(lab, "--out", tmp_path / "out", *prepared.words)
    assert done.returncode == 0, done.stderr
    manifest = Path(done.stdout.strip())
    assert manifest.read_bytes() == prepared.manifest.read_bytes(), moments
    names = [sorted(p.name for p in m.parent.iterdir()) for m in (manifest, prepared.manifest)]
    assert names[0] == names[1]
    data = read_dataset(manifest)
    for row in range(len(data.people)):
        data.fields(row)


def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\n"
        "from facegen_training.cohort.pool import worker_pool\n"
        "if __name__ == '__main__':\n"
        "    with worker_pool(2) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        time.sleep(60)\n",
        encoding="utf-8",
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    os.kill(worker, 0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(50):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker is still there")
