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

from facegen_training.cohort.dataset import MANIFEST, read_dataset

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
KILLS = 3
COMMAND = "from facegen_training.cli import main; main()"


def test_a_killed_run_ends_in_the_same_manifest(lab: Path, spec_file: Path, tmp_path: Path) -> None:
    def words(out: Path) -> list[str]:
        return [
            *(sys.executable, "-c", COMMAND, "prepare", str(lab), "--out", str(out)),
            *("--spec", str(spec_file), "--key", str(tmp_path / "lab.key"), "--workers", "2"),
        ]

    through, broken = tmp_path / "through", tmp_path / "broken"
    start = time.monotonic()
    subprocess.run(words(through), check=True, capture_output=True, timeout=200)
    whole = time.monotonic() - start
    dice = random.Random(1)
    lengths = []
    for _ in range(KILLS):
        process = subprocess.Popen(
            words(broken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        moment = dice.uniform(0.2, 0.95) * whole
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        lengths.append(moment)
        for path in broken.rglob("*.json"):
            assert path.read_bytes()[-1:] == b"}", "a file is there whole or not at all"
    time.sleep(1.0)  # workers notice within half a second that their parent is gone
    subprocess.run(words(broken), check=True, capture_output=True, timeout=200)
    one, other = (next(place.glob(f"*/{MANIFEST}")) for place in (through, broken))
    assert one.read_bytes() == other.read_bytes(), lengths
    names = [sorted(path.name for path in place.parent.iterdir()) for place in (one, other)]
    assert names[0] == names[1]
    data = read_dataset(other)
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
