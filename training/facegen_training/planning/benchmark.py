"""A grid of networks, precisions and sizes, timed; its file, its calibration and its plot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from facegen_inference.errors import UserError
from facegen_training.networks.pix2pix3d import Pix2PixConfig
from facegen_training.planning.calibration import Calibration, Measured, write_data
from facegen_training.planning.measure import Settings, Timed, describe_machine, time_step
from facegen_training.planning.workloads import WORKLOADS, Request, Shape

if TYPE_CHECKING:
    from facegen_training.cohort.dataset import Dataset

FULL = {"pix2pix3d": ((52, 256, 256), (104, 512, 512))}
SMALL = {"pix2pix3d": ((32, 64, 64), (48, 96, 96)), "sdf": ((64, 52, 48), (128, 104, 96))}
GRID: tuple[Shape, ...] = ((128, 104, 96),)
"""Sizes with a GPU, without one, and of the networks that are in neither."""
NARROW = Pix2PixConfig(ngf=16, ndf=16, z_strides=(2, 2, 2, 1))
"""The baseline where there is no GPU."""


@dataclass(frozen=True)
class Grid:
    """What is timed.

    Attributes
    ----------
    networks, precisions, sizes
        Every one with every other; sizes empty for those that fit the machine.
    batch, recompute, channels_last, compile
        The same for all.
    seconds
        For each.
    """

    networks: tuple[str, ...]
    precisions: tuple[str, ...]
    sizes: tuple[Shape, ...] = ()
    batch: int = 1
    recompute: bool = False
    channels_last: bool = False
    compile: bool = False
    seconds: float = 10.0

    def cases(self, gpu: bool) -> list[tuple[Request, Settings]]:
        """Return each step to be timed."""
        found = []
        for network in self.networks:
            if network not in WORKLOADS:
                raise UserError(f"No network {network!r}.", f"Known: {', '.join(WORKLOADS)}.")
            sizes = self.sizes or (FULL if gpu else SMALL).get(network, GRID)
            if network == "depthmap-cgan":
                sizes = sizes[:1]  # its maps have one size
            volume = Pix2PixConfig() if gpu else NARROW
            for size in sizes:
                request = Request(network, size, self.batch, self.recompute, volume=volume)
                for precision in self.precisions:
                    if precision == "tf32" and not gpu:
                        continue
                    settings = Settings(precision, self.channels_last, self.compile)
                    found.append((request, settings))
        return found


def run_grid(
    grid: Grid,
    device: torch.device,
    data: Dataset | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Time every step of a grid; one that fails on memory or a missing package is kept as such.

    Parameters
    ----------
    grid
        What.
    device
        Where.
    data
        Prepared people for the networks that ``fit`` trains; random numbers where left out.
    progress
        Told how far it is.
    """
    cases = grid.cases(device.type == "cuda")
    if data is not None:
        cases = list(dict.fromkeys((_on_people(request, data), way) for request, way in cases))
    rows = []
    for n, (request, settings) in enumerate(cases):
        if progress is not None:
            progress(n / len(cases), f"{request.network} {settings.precision}")
        real = data is not None and request.network != "pix2pix3d"
        row = {**_case(request, settings), "data": "prepared people" if real else "generated"}
        try:
            timed = _timed(request, settings, device, data if real else None, grid.seconds)
            row.update(asdict(timed))
        except torch.OutOfMemoryError:
            row["left_out"] = "out of memory"
        except ImportError as error:
            row["left_out"] = f"needs {error.name}"
        rows.append(row)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return {"machine": describe_machine(device), "rows": rows}


def _on_people(request: Request, data: Dataset) -> Request:
    """Return a request at the size of prepared people, for a network that they are for."""
    return request if request.network == "pix2pix3d" else replace(request, size=data.spec.shape)


def _timed(
    request: Request, settings: Settings, device: torch.device, data: Any, seconds: float
) -> Timed:
    if data is None:
        return time_step(request, settings, device, seconds)
    from facegen_training.planning.measure_people import time_fit_step

    return time_fit_step(data, request, settings, device, seconds)


def _case(request: Request, settings: Settings) -> dict[str, Any]:
    narrow = request.network == "pix2pix3d" and request.volume != Pix2PixConfig()
    return {
        "network": request.network + (" (narrow)" if narrow else ""),
        "size": "x".join(str(n) for n in request.extent),
        "batch": request.batch,
        "precision": settings.precision,
        "settings": settings.words(request.recompute),
        **({"channels": request.volume.ngf} if request.network == "pix2pix3d" else {}),
    }


def calibration_of(result: dict[str, Any]) -> Calibration:
    """Return what ``plan`` can use of a benchmark."""
    machine = result["machine"]
    name = machine.get("gpu", f"{machine['processor']}, {machine['threads']} threads")
    rows = tuple(
        Measured(
            network=row["network"],
            precision=row["precision"],
            size=row["size"],
            settings=row["settings"],
            tflop=row["tflop"],
            seconds=row["seconds"],
            estimated_bytes=row["estimated_bytes"],
            measured_bytes=row["peak_bytes"],
        )
        for row in result["rows"]
        if "left_out" not in row
    )
    return Calibration(name, "gpu" in machine, rows)


def write_results(result: dict[str, Any], out: Path) -> list[Path]:
    """Write ``benchmark.json``, ``calibration.json`` and, with matplotlib, ``benchmark.png``."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        written = [out / "benchmark.json", out / "calibration.json"]
        write_data(written[0], result)
        calibration_of(result).write(written[1])
    except OSError as error:
        raise UserError(
            f"The results cannot be written to {out.name}.", "Choose another folder.", reason=error
        ) from error
    try:
        import matplotlib as _  # noqa: F401
    except ImportError:
        return written
    from facegen_training.planning.benchmark_plot import plot_benchmark

    plot_benchmark(result, out / "benchmark.png")
    return [*written, out / "benchmark.png"]
