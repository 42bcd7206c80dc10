"""Measured steps, written by ``facegen-train benchmark``: they turn peak rates into achieved ones.

A calibration is one JSON file: the machine in words, and a row for each network, precision and
size with what was counted and measured.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facegen_inference.errors import UserError

FORMAT = "facegen calibration 1"
ASSUMED_SHARE = 0.4
"""Of the peak rate, where nothing was measured; 35 to 40 % is what such networks reach at best."""


@dataclass(frozen=True)
class Measured:
    """One measured step.

    Attributes
    ----------
    network, precision, size, settings
        What ran; the size as ``104x512x512``.
    tflop, seconds
        Of a step: counted, what is computed again included, and measured (median).
    estimated_bytes, measured_bytes
        Peak memory with the optimiser, of the estimator (with its allowance) and of the machine.
    """

    network: str
    precision: str
    size: str
    settings: str
    tflop: float
    seconds: float
    estimated_bytes: int
    measured_bytes: int


@dataclass(frozen=True)
class Rate:
    """TFLOP/s that one GPU reaches, and how that is known."""

    tflop_per_s: float
    known: str


@dataclass(frozen=True)
class Calibration:
    """Measured steps of one machine; `gpu` says whether of a GPU."""

    machine: str
    gpu: bool
    measured: tuple[Measured, ...]

    def write(self, path: Path) -> None:
        """Write the file."""
        data = {"format": FORMAT, "machine": self.machine, "gpu": self.gpu}
        write_data(path, {**data, "measured": [asdict(row) for row in self.measured]})

    def rate(self, network: str, precision: str) -> Rate | None:
        """Return the rate reached at the largest measured size of a network, or None."""
        rows = [m for m in self.measured if (m.network, m.precision) == (network, precision)]
        if not rows:
            return None
        best = max(rows, key=lambda row: (row.tflop, -row.seconds))
        return Rate(best.tflop / best.seconds, f"measured at {best.size} on {self.machine}")

    def memory_factor(self, network: str, precision: str) -> float | None:
        """Return measured by estimated peak memory at the largest measured size, or None.

        Of a GPU only: the peak of a process on a CPU holds the interpreter as well.
        """
        rows = [m for m in self.measured if (m.network, m.precision) == (network, precision)]
        if not rows or not self.gpu:
            return None
        largest = max(rows, key=lambda row: row.tflop)
        return largest.measured_bytes / largest.estimated_bytes


def write_data(path: Path, data: dict[str, Any]) -> None:
    """Write JSON under a temporary name and rename it."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_calibration(path: Path) -> Calibration:
    """Read a calibration.

    Raises
    ------
    UserError
        When it is not one.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format is {data['format']!r}")
        rows = tuple(Measured(**row) for row in data["measured"])
        if any(min(row.tflop, row.seconds, row.estimated_bytes) <= 0 for row in rows):
            raise ValueError("a figure is not positive")
        return Calibration(str(data["machine"]), bool(data["gpu"]), rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path.name} is not a calibration.",
            "Make one with facegen-train benchmark.",
            reason=error,
        ) from error


def achieved_rate(
    peak: float, network: str, precision: str, calibration: Calibration | None
) -> Rate:
    """Return what a GPU reaches: as measured, or `ASSUMED_SHARE` of its peak, TFLOP/s."""
    measured = calibration.rate(network, precision) if calibration else None
    if measured is not None:
        return measured
    return Rate(peak * ASSUMED_SHARE, f"assumed: {ASSUMED_SHARE:.0%} of {peak:g} TFLOP/s")
