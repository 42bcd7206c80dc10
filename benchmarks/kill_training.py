"""Kill training at random moments and see that it ends in the same weights.

    python benchmarks/kill_training.py MANIFEST --times 20 --folder killed

Fits a tiny network on prepared people twice: once in one go, once killed (SIGKILL) and started
again as often as asked, at moments drawn from the whole of a run: while it starts, steps, and
writes checkpoints.  Prints what each kill cost, and ends with status 1 if the weights, their
average or the optimiser differ by a bit, or if more than a checkpoint's interval was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

STEPS, INTERVAL = 120, 3
SETTINGS = f"""
[linear]
copies = 2
rank = 4
folds = 2
latents = 1
feature_band_mm = 16.0

[net]
width = 8
levels = 2

[fit]
steps = {STEPS}
batch = 1
checkpoint_every = {INTERVAL}
validate_every = 20
threads = 1
workers = 0
tensorboard = false
"""
_FIT = "import sys; from facegen_training.cli import main; main()"


@dataclass(frozen=True)
class Kill:
    """One kill: the last step in the record, the newest checkpoint after it, and what was cut."""

    step: int
    checkpoint: int
    half_written: bool

    @property
    def lost(self) -> int:
        """Steps to be done again."""
        return self.step - self.checkpoint


def start(manifest: Path, run: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start ``facegen-train fit``."""
    settings = run.with_suffix(".toml")
    settings.write_text(SETTINGS)
    command = [sys.executable, "-c", _FIT, "fit", str(manifest)]
    command += ["--run", str(run), "--config", str(settings)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=env)


def logged(run: Path) -> list[int]:
    """Return the steps in a run's record; a line half written is not counted."""
    path = run / "steps.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if "error" in data:
            found.append(int(data["step"]))
    return found


def newest(run: Path) -> int:
    """Return the step of the newest checkpoint, -1 where there is none."""
    found = sorted(path.name for path in run.glob("checkpoint-???????"))
    return int(found[-1].split("-")[1]) if found else -1


def kill_at(manifest: Path, run: Path, step: int, delay: float, log: Path) -> Kill | None:
    """Start a run, kill it `delay` seconds after a step; None where it ended before."""
    process = start(manifest, run, log)
    try:
        while process.poll() is None and (max(logged(run), default=0) < step or newest(run) < 0):
            time.sleep(0.002)
        time.sleep(delay)
    finally:
        process.kill()
        status = process.wait()
    if status == 0:
        return None
    if status != -9:
        raise SystemExit(f"fit ended with status {status}: {log.read_text()[-2000:]}")
    return Kill(max(logged(run), default=0), newest(run), any(run.glob("checkpoint-*.part")))


def killed(manifest: Path, folder: Path, times: int, seed: int = 0) -> list[Kill]:
    """Kill one run `times` times, let it end, and compare it with one that ran through."""
    dice = random.Random(seed)
    through, stopped, log = folder / "through", folder / "killed", folder / "log"
    kills: list[Kill] = []
    moments = sorted(dice.randrange(0, STEPS - 30) for _ in range(times))
    for step in moments:
        kill = kill_at(manifest, stopped, step, dice.uniform(0, 0.12), log)
        if kill is None:
            break
        kills.append(kill)
        if kill.lost > INTERVAL:
            raise SystemExit(f"Lost {kill.lost} steps, more than the interval of {INTERVAL}.")
    for run in (stopped, through):
        if start(manifest, run, log).wait() != 0:
            raise SystemExit(f"fit failed: {log.read_text()[-2000:]}")
    last = f"checkpoint-{STEPS:07d}"
    for name in ("weights", "average", "optimizer"):
        one, other = (run / last / f"{name}.safetensors" for run in (through, stopped))
        if one.read_bytes() != other.read_bytes():
            raise SystemExit(f"{name} differs from the run that was not killed.")
    if logged(stopped) != list(range(1, STEPS + 1)):
        raise SystemExit("The record does not hold every step once.")
    return kills


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        kills = killed(given.manifest, folder, given.times, given.seed)
    print(
        "| killed after step | went on from | lost | a checkpoint half written |\n|---|---|---|---|"
    )
    for kill in kills:
        print(f"| {kill.step} | {kill.checkpoint} | {kill.lost} | {kill.half_written} |")
    print(f"{len(kills)} kills, at most {max(k.lost for k in kills)} of {INTERVAL} steps lost;")
    print("weights, average and optimiser as in the run that was not killed, to the last bit.")


if __name__ == "__main__":
    main()
