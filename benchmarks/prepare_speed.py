"""How much longer `facegen-train prepare` takes than reading and preprocessing alone.

Makes scans of the synthetic head (or takes those in a folder), works through them twice with the
same processes: once reading and preprocessing only, once with all that prepare does besides
(hashes, checks, pictures, compression, records, duplicates, split, contact sheet).  The limit is
1.2 times.  Where others use the machine too, trust the ratio of processor time.

    python benchmarks/prepare_speed.py [--scans FOLDER] [--count 8] [--workers 2] [--encrypt]
        [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK

LIMIT = 1.2


def make_scans(folder: Path, count: int) -> Path:
    """Write synthetic heads of different widths, 1 mm, as NIfTI."""
    from facegen_inference.demo_head import head_volume, load_head_model
    from facegen_inference.volume import Volume

    folder.mkdir(parents=True, exist_ok=True)
    head = head_volume(load_head_model())
    for number in range(count):
        matrix = head.patient_from_voxel @ np.diag([1.0, 1.0, 0.92 + 0.16 * number / count, 1.0])
        image = Volume(head.array, matrix).to_sitk()
        SimpleITK.WriteImage(image, str(folder / f"head_{number:03d}.nii.gz"))
    return folder


def read_and_preprocess(path: Path) -> int:
    """Do what cannot be left away for one scan; return the bytes of its fields, 0 if refused."""
    from facegen_inference.errors import UserError
    from facegen_inference.preprocess import PreprocessSpec
    from facegen_inference.scan import open_scan
    from facegen_training.cohort.prepare import fields_of

    try:
        volume = open_scan(path).volume
        assert volume is not None
        return fields_of(volume, PreprocessSpec())[0].nbytes
    except UserError:
        return 0


def cpu_seconds() -> float:
    """Return processor time used by this process and by its workers that have ended."""
    own, ended = (resource.getrusage(who) for who in _WHO)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def pure_seconds(paths: list[Path], workers: int) -> tuple[float, float]:
    """Return wall-clock and processor seconds of reading and preprocessing alone."""
    from facegen_training.cohort.pool import each, worker_pool

    begin, used = time.perf_counter(), cpu_seconds()
    with worker_pool(workers) as pool:
        results = [result for _, result in each(pool, read_and_preprocess, paths)]
    assert sum(isinstance(result, int) and result > 0 for result in results) > len(paths) / 2
    return time.perf_counter() - begin, cpu_seconds() - used


def prepare_seconds(scans: Path, out: Path, workers: int, encrypt: bool) -> tuple[float, float]:
    """Return wall-clock and processor seconds of all that prepare does."""
    from facegen_training.cohort.key import read_or_make_key
    from facegen_training.cohort.prepare_cohort import Wishes, prepare_cohort

    key = read_or_make_key(out.parent / "benchmark.key", out)
    begin, used = time.perf_counter(), cpu_seconds()
    prepare_cohort(scans, out, key, Wishes(workers=workers, encrypt=encrypt))
    return time.perf_counter() - begin, cpu_seconds() - used


def main() -> None:
    """Measure, print, and write JSON where wished."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=Path)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--encrypt", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        scans = arguments.scans or make_scans(Path(room, "scans"), arguments.count)
        paths = sorted(scans.glob("*.nii.gz"))
        pure = pure_seconds(paths, arguments.workers)
        whole = prepare_seconds(scans, Path(room, "out"), arguments.workers, arguments.encrypt)
        again = pure_seconds(paths, arguments.workers)
        resumed = prepare_seconds(scans, Path(room, "out"), arguments.workers, arguments.encrypt)
    wall, cpu = ((one + two) / 2 for one, two in zip(pure, again, strict=True))
    result = {
        "scans": len(paths),
        "workers": arguments.workers,
        "encrypted": arguments.encrypt,
        "read_and_preprocess_s": [round(pure[0], 2), round(again[0], 2)],
        "prepare_s": round(whole[0], 2),
        "prepare_again_s": round(resumed[0], 2),
        "ratio": round(whole[0] / wall, 3),
        "cpu_ratio": round(whole[1] / cpu, 3),
        "limit": LIMIT,
        "machine": platform.machine(),
    }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
