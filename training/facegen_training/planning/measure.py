"""Time real training steps: how long one takes, what memory it peaks at, what waits for data.

Needs torch, and for the baseline MONAI, alone; no network is asked for anything.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facegen_training.planning.flops import step_flops
from facegen_training.planning.memory import estimate_memory
from facegen_training.planning.workloads import Batch, Request, Workload, build_workload, run_step

WARM_UP = 2
LEAST_STEPS = 3
LEARNING_RATE = 2e-4


@dataclass(frozen=True)
class Settings:
    """How a step is run.

    Attributes
    ----------
    precision
        ``fp32``, ``tf32`` or ``bf16`` (autocast).
    channels_last
        Whether 3-D tensors keep their channels last in memory.
    compile
        Whether the networks are compiled.
    """

    precision: str
    channels_last: bool = False
    compile: bool = False

    def words(self, recompute: bool) -> str:
        """Return the settings as one would say them."""
        extra = [("checkpointed", recompute), ("channels last", self.channels_last)]
        extra.append(("compiled", self.compile))
        return ", ".join([self.precision, *(name for name, on in extra if on)])


@dataclass(frozen=True)
class Timed:
    """What was measured of one step.

    Attributes
    ----------
    seconds
        Median over steps, the wait for data included.
    steps
        How many were timed.
    samples_per_s, wait_share
        Samples a second; share of all time that the step waited for its batch.
    tflop, tflop_per_s
        Counted, and reached.
    estimated_bytes
        Of the estimator: live, optimiser, allowance.
    peak_bytes, peak_kind
        Measured, and what that is.
    """

    seconds: float
    steps: int
    samples_per_s: float
    wait_share: float
    tflop: float
    tflop_per_s: float
    estimated_bytes: int
    peak_bytes: int
    peak_kind: str


class Batches:
    """Batches of random numbers, made anew on the host for every step."""

    source = "generated"

    def __init__(self, workload: Workload, device: torch.device) -> None:
        self.workload, self.device = workload, device
        self.waited = 0.0
        self._step = 0

    def step(self) -> dict[str, Tensor]:
        """Return the next batch on the device; `waited` is how long it took, seconds."""
        started = time.perf_counter()
        self._step += 1
        batch = self.workload.batch(self.device, seed=self._step)
        self.waited = time.perf_counter() - started
        return batch


def time_step(request: Request, settings: Settings, device: torch.device, seconds: float) -> Timed:
    """Run steps with random inputs for some seconds and return what was measured.

    Parameters
    ----------
    request
        Which step.
    settings
        How.
    device
        Where.
    seconds
        For about so long, but at least `LEAST_STEPS` steps after `WARM_UP`.
    """
    workload = build_workload(request, device)
    batches = Batches(workload, device)
    networks = _prepared(workload.players, settings)

    def step(batch: Batch, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        def move(player: str) -> None:
            optimizers[player].step()
            optimizers[player].zero_grad()

        if settings.channels_last:
            batch = {name: _channels_last(values) for name, values in batch.items()}
        run_step(workload, batch, settings.precision, networks, move)

    return time_steps(Steps(request, settings, workload.players, batches, step), device, seconds)


@dataclass(frozen=True)
class Steps:
    """A step that can be repeated: its players, where batches come from, and what is done."""

    request: Request
    settings: Settings
    players: dict[str, nn.Module]
    batches: Any
    run: Any


def time_steps(steps: Steps, device: torch.device, seconds: float) -> Timed:
    """Repeat a step and return what was measured; see `time_step`."""
    with precision_set(steps.settings.precision):
        optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.AdamW(player.parameters(), LEARNING_RATE)
            for name, player in steps.players.items()
        }
        for _ in range(WARM_UP):
            steps.run(steps.batches.step(), optimizers)
        _wait_for(device)
        peak = _PeakMemory(device)
        taken: list[float] = []
        waited = 0.0
        while len(taken) < LEAST_STEPS or sum(taken) < seconds:
            started = time.perf_counter()
            batch = steps.batches.step()
            waited += steps.batches.waited
            steps.run(batch, optimizers)
            _wait_for(device)
            taken.append(time.perf_counter() - started)
        peak_bytes, peak_kind = peak.read()
    request = steps.request
    median, tflop = statistics.median(taken), step_flops(request) / 1e12
    memory = estimate_memory(request, steps.settings.precision)
    return Timed(
        seconds=median,
        steps=len(taken),
        samples_per_s=request.batch / median,
        wait_share=waited / sum(taken),
        tflop=tflop,
        tflop_per_s=tflop / median,
        estimated_bytes=memory.live + memory.adam + memory.workspace,
        peak_bytes=peak_bytes,
        peak_kind=peak_kind,
    )


@contextmanager
def precision_set(precision: str) -> Iterator[None]:
    """Let a GPU use TF32, or not, and choose its kernels by trying them; as before afterwards."""
    before = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    tried = torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
        torch.backends.cudnn.benchmark = tried


def _prepared(players: dict[str, nn.Module], settings: Settings) -> dict[str, nn.Module]:
    """Return the players as the step calls them."""
    if settings.channels_last:
        for player in players.values():
            for weights in player.parameters():
                weights.data = _channels_last(weights.data)
    if not settings.compile:
        return players
    return {name: torch.compile(player) for name, player in players.items()}  # type: ignore[misc]


def _channels_last(values: Tensor) -> Tensor:
    return values.to(memory_format=torch.channels_last_3d) if values.ndim == 5 else values


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _PeakMemory:
    """The most memory there was since this was made."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._reset = False
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif sys.platform == "linux":
            try:
                Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
                self._reset = True
            except OSError:
                self._reset = False

    def read(self) -> tuple[int, str]:
        """Return bytes, and what they are."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device), "allocated on the GPU"
        if sys.platform == "win32":
            return 0, "not measured"
        since = "of the process" if self._reset else "of the process since its start"
        if sys.platform == "linux":
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return 1024 * int(line.split()[1]), since
        import resource

        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss), since


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return the machine in general words: processor or GPU, load, versions; not its name."""
    machine: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    if sys.platform != "win32":
        machine["load"] = round(os.getloadavg()[0], 1)  # of the last minute: who else is at work
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine["gpu"] = properties.name
        machine["gpu_memory_gb"] = round(properties.total_memory / 1e9, 1)
        machine["cuda"] = torch.version.cuda
        machine["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return machine


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()
