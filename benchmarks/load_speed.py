"""How fast training reads prepared people, beside the same arrays as .nii.gz.

Writes heads of the synthetic kind once as `facegen-train prepare` does and once as .nii.gz, then
reads both with the same processes, nothing kept in memory, taking turns; both end in the same
tensor.  The limit is five times the samples a second.

    python benchmarks/load_speed.py [--people 16] [--workers 2] [--repeat 3] [--encrypt]
        [--json FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import SimpleITK
import torch

from facegen_inference.demo_head import load_head_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.volume import resample
from facegen_training.cohort.arrays import ENCRYPTED, PLAIN, encrypted, packed
from facegen_training.cohort.dataset import (
    MANIFEST,
    Prepared,
    as_stored,
    as_tensor,
    read_dataset,
    write_json,
)
from facegen_training.cohort.key import Key, read_or_make_key
from facegen_training.cohort.pool import worker_pool

LIMIT = 5.0


def head(spec: PreprocessSpec, number: int) -> np.ndarray:
    """Return the fields of a synthetic head, its tissue made thicker by `number`."""
    model = load_head_model()
    bone, skin = (
        np.clip(resample(a, model.grid.patient_from_voxel, spec.grid, 30.0), -30, 30)
        for a in (model.bone, model.skin)
    )
    seen = np.ones_like(bone)
    return as_stored(np.stack([bone - 0.02 * number, seen, skin - 0.1 * number, seen]))


def write(folder: Path, people: int, key: Key | None) -> Path:
    """Write people in both forms and return the manifest."""
    spec = PreprocessSpec()
    rows = []
    for number in range(people):
        name, stored = f"synthetic_{number:03d}", head(spec, number)
        data = packed(stored)
        data = encrypted(data, name, key) if key else data
        (folder / f"{name}{ENCRYPTED if key else PLAIN}").write_bytes(data)
        image = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(a) for a in stored])
        SimpleITK.WriteImage(image, str(folder / f"{name}.nii.gz"))
        digest = hashlib.sha256(data).hexdigest()
        person = Prepared(name, "synthetic", "train", digest, digest, "given", 0.0)
        rows.append(asdict(person))
    content: dict[str, Any] = {
        "spec": json.loads(spec.to_json()), "people": rows, "failed": {},
        "encrypted": key is not None, "key_id": key.id if key else None,
    }  # fmt: skip
    write_json(folder / MANIFEST, content)
    return folder / MANIFEST


def read_prepared(task: tuple[Path, Path | None, int]) -> tuple[int, float]:
    """Read all people some times over, nothing kept; return how many and the seconds it took."""
    manifest, key, rounds = task
    torch.set_num_threads(1)
    data = read_dataset(manifest, key, cache_bytes=0)
    data.fields(0)
    begin = time.perf_counter()
    for _ in range(rounds):
        for row in range(len(data.people)):
            data.fields(row)
    return rounds * len(data.people), time.perf_counter() - begin


def read_nifti(task: tuple[Path, Path | None, int]) -> tuple[int, float]:
    """Read the same arrays from .nii.gz."""
    manifest, _, rounds = task
    torch.set_num_threads(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    paths = sorted(manifest.parent.glob("*.nii.gz"))
    nifti_tensor(paths[0])
    begin = time.perf_counter()
    for _ in range(rounds):
        for path in paths:
            nifti_tensor(path)
    return rounds * len(paths), time.perf_counter() - begin


def nifti_tensor(path: Path) -> torch.Tensor:
    """Return the fields in a .nii.gz."""
    return as_tensor(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))


def samples_a_second(
    pool: ProcessPoolExecutor,
    read: Callable[[tuple[Path, Path | None, int]], tuple[int, float]],
    task: tuple[Path, Path | None, int],
    workers: int,
) -> float:
    """Return the rate of all processes together, each reading everything."""
    jobs = [pool.submit(read, task) for _ in range(workers)]
    return sum(count / seconds for count, seconds in (job.result() for job in jobs))


def main() -> None:
    """Measure, print, and write JSON where wished."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--encrypt", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {"prepared": [], "nii.gz": []}
    with tempfile.TemporaryDirectory() as name:
        room = Path(name, "people")
        room.mkdir()
        key = read_or_make_key(Path(name, "lab.key"), room) if arguments.encrypt else None
        manifest = write(room, arguments.people, key)
        secret = key.path if key else None
        first = nifti_tensor(sorted(room.glob("*.nii.gz"))[0])
        assert torch.equal(first, read_dataset(manifest, secret).fields(0))
        with worker_pool(arguments.workers) as pool:
            for _ in range(arguments.repeat + 1):
                for form, read, rounds in (
                    ("prepared", read_prepared, 20),
                    ("nii.gz", read_nifti, 4),
                ):
                    task = (manifest, secret, rounds)
                    rates[form].append(samples_a_second(pool, read, task, arguments.workers))
    rates = {form: values[1:] for form, values in rates.items()}  # the first round warms up
    ours, theirs = (median(values) for values in rates.values())
    result = {
        "people": arguments.people,
        "shape": list(first.shape),
        "workers": arguments.workers,
        "encrypted": arguments.encrypt,
        "samples_per_s": {form: round(median(values), 1) for form, values in rates.items()},
        "ratio": round(ours / theirs, 2),
        "limit": LIMIT,
    }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
