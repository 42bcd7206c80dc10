"""What a run writes down as it goes: one JSON line a step, and curves and faces for tensorboard."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

STEPS = "steps.jsonl"
Say = Callable[[dict[str, Any]], None]


class Record:
    """Rank 0's record of a run; elsewhere it writes nothing.

    Parameters
    ----------
    run
        Folder of the run.
    step
        Steps done: what was written of later ones, before the run was killed, is taken out.
    tensorboard
        Whether to write curves and pictures as well, in the folder ``tensorboard``.
    say
        Told each line too.
    """

    def __init__(self, run: Path, step: int, tensorboard: bool, say: Say | None = None) -> None:
        self._path = run / STEPS
        self._say = say
        self._board: Any = None
        self.go_back(step)
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def line(self, line: dict[str, Any]) -> None:
        """Write one line; it has ``step``."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in line.items():
                if name != "step" and isinstance(value, int | float):
                    self._board.add_scalar(name, value, line["step"])
        if self._say is not None:
            self._say(line)

    def picture(self, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """Keep a grey picture, (rows, columns)."""
        if self._board is not None:
            self._board.add_image(name, picture, step, dataformats="HW")

    def go_back(self, step: int) -> None:
        """Take out the lines of later steps, and one that is only half written."""
        if not self._path.exists():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        if len(kept) < len(lines):
            part = self._path.with_name(self._path.name + ".part")
            part.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
            part.replace(self._path)

    def close(self) -> None:
        """Finish writing."""
        if self._board is not None:
            self._board.close()


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line).get("step", 0))
    except ValueError:
        return float("inf")


def memory_mib(device: torch.device) -> float:
    """Return the most memory used so far: on a GPU torch's own, else of the process, MiB."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
