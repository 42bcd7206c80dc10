"""Time and memory of ``facegen reconstruct`` from a cold start: where the time goes.

    python benchmarks/reconstruct_phantom.py [SCAN] [--report]

Without SCAN the ImageX phantom (209 slices) of the shared head CTs is used.  Limits: 30 s and
3 GiB on two cores, the network at most 3 s of it.  Ends with status 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

SECONDS, GIB, NETWORK_SECONDS = 30.0, 3.0, 3.0
PHANTOM = "ct/dicom/imagex_phantom.tar.xz"


def phantom(folder: Path) -> Path:
    """Unpack the phantom into a folder and return it."""
    root = Path(__file__).resolve().parents[1]
    archive = Path(os.environ.get("FACEGEN_SHARED", root.parent / "shared")) / PHANTOM
    if not archive.is_file():
        sys.exit("The shared head CTs are not here: name a SCAN, or set FACEGEN_SHARED.")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def main() -> None:
    """Run once, print the times and the peak, and compare with the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", nargs="?", type=Path)
    parser.add_argument("--report", action="store_true", help="with the PDF report")
    parser.add_argument("--method", default="neural")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan = wanted.scan or phantom(Path(folder) / "scan")
        out = Path(folder) / "out"
        line = [sys.executable, "-m", "facegen_app.cli", "reconstruct", str(scan)]
        line += ["--out", str(out), "--device", "cpu", "--method", wanted.method]
        line += ["--report"] if wanted.report else []
        start = time.perf_counter()
        done = subprocess.run(line, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"facegen ended with status {done.returncode}")
        timings = json.loads((out / "result.json").read_text(encoding="utf-8"))["timings"]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    gib = used.ru_maxrss / 2**20
    network = timings.get("network", 0.0)
    for step, value in timings.items():
        print(f"{step:28}{value:8.2f} s")
    print(f"{'starting and the rest':28}{seconds - sum(timings.values()):8.2f} s")
    print(f"{'processor time':28}{used.ru_utime + used.ru_stime:8.2f} s")
    missed = []
    for name, value, limit, unit in (
        ("from start to files written", seconds, SECONDS, "s"),
        ("peak memory", gib, GIB, "GiB"),
        ("network, face and variants", network, NETWORK_SECONDS, "s"),
    ):
        print(f"{name:28}{value:8.2f} {unit} (limit {limit:g})")
        if value > limit:
            missed.append(name)
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
