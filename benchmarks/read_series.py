"""How fast and with how much memory a large DICOM series is read, beside SimpleITK.

Writes a 512×512 CT series of noise-like slices into a temporary folder, then reads it with FaceGen
and with SimpleITK, each in fresh processes taking turns, and prints medians, the ratio, and how far
each process's peak memory rose above what it was before reading.

    python benchmarks/read_series.py [--slices 400] [--repeat 5] [--json FILE] [--syntax UID]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

LIMIT_RATIO, LIMIT_EXTRA = 1.2, 0.15


def write(folder: Path, slices: int, syntax: str) -> None:
    """Write the series; slices are shifted copies of one noisy disc with a rim of bone."""
    from facegen_inference.dicom_writer import write_series
    from facegen_inference.volume import Volume

    j, i = np.mgrid[:512, :512]
    radius = np.hypot(j - 256, i - 256)
    disc = np.where(radius < 200, np.where(radius < 185, 40, 900), -1000)
    noisy = disc + np.random.default_rng(0).normal(0, 20, disc.shape)
    array = np.stack([np.roll(noisy, k, 1).astype(np.int16) for k in range(slices)])
    matrix = np.diag([0.5, 0.45, 0.45, 1.0])[[2, 1, 0, 3]]
    write_series(Volume(array, matrix), folder, transfer_syntax=syntax)


def read_with_facegen(folder: Path) -> int:
    """Read the way the program does; return the volume's bytes."""
    from facegen_inference.scan import open_scan

    volume = open_scan(folder).volume
    assert volume is not None
    return volume.array.nbytes


def read_with_simpleitk(folder: Path) -> int:
    """Read the way SimpleITK's documentation shows; return the volume's bytes."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    return image.GetNumberOfPixels() * image.GetSizeOfPixelComponent()


READERS = {"facegen": read_with_facegen, "simpleitk": read_with_simpleitk}


def _rss_mb() -> float:
    """Return the most memory this process has held, in MB (Linux: kilobytes; macOS: bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure(name: str, folder: Path, warm_up: Path) -> dict[str, float]:
    """Read once in this process, after a small series has loaded all that reading needs."""
    READERS[name](warm_up)
    before = _rss_mb()
    start = time.perf_counter()
    size = READERS[name](folder)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "extra_mb": _rss_mb() - before, "volume_mb": size / 2**20}


def main() -> int:
    """Run the benchmark and return 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--syntax", default="1.2.840.10008.1.2.1")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, folder, warm_up = arguments.measure
        print(json.dumps(measure(name, Path(folder), Path(warm_up))))
        return 0
    with tempfile.TemporaryDirectory() as place:
        folder, warm_up = Path(place, "series"), Path(place, "small")
        write(folder, arguments.slices, arguments.syntax)
        write(warm_up, 8, arguments.syntax)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in READERS}
        for _ in range(arguments.repeat):
            for name in READERS:
                command = [sys.executable, __file__, "--measure", name, str(folder), str(warm_up)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                runs[name].append(json.loads(done.stdout))
    return report(runs, arguments.json)


def report(runs: dict[str, list[dict[str, float]]], out: Path | None) -> int:
    """Print and store the table; return 1 where a limit is passed."""
    table = {
        name: {key: median(run[key] for run in many) for key in many[0]}
        for name, many in runs.items()
    }
    for name, row in table.items():
        print(
            f"{name:10} {row['seconds']:6.2f} s   peak memory +{row['extra_mb']:.0f} MB "
            f"for a volume of {row['volume_mb']:.0f} MB"
        )
    ratio = table["facegen"]["seconds"] / table["simpleitk"]["seconds"]
    extra = table["facegen"]["extra_mb"] / table["facegen"]["volume_mb"] - 1
    print(f"time ratio {ratio:.2f} (limit {LIMIT_RATIO}); memory beyond the volume {extra:+.0%} "
          f"(limit +{LIMIT_EXTRA:.0%})")  # fmt: skip
    if out is not None:
        out.write_text(json.dumps({"runs": runs, "ratio": ratio, "extra": extra}, indent=1))
    return int(ratio > LIMIT_RATIO or extra > LIMIT_EXTRA)


if __name__ == "__main__":
    sys.exit(main())
