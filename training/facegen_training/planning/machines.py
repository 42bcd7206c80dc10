"""Machines to plan for: what a node has, what its GPUs reach, how its queue behaves.

One small TOML file a machine; each figure names its source and how well it was checked.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from facegen_inference.errors import UserError

RATES = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Wait:
    """How long a job with a time limit of `hours` waits: nine of ten no longer than `minutes`."""

    hours: float
    minutes: float


@dataclass(frozen=True)
class Machine:
    """One machine; `facegen_training.cluster.slurm.batch_script` takes it as it is.

    Attributes
    ----------
    name, gpu
        In words.
    gpus, cpus, cpus_per_gpu
        Of one node, and processors for each GPU.
    gpu_memory_gb
        Of one GPU, 10^9 bytes.
    peak
        Precision → dense peak of one GPU, TFLOP/s.
    partition, qos, account, gres, scratch, internet, signal_seconds, environment, setup
        What the batch script says.
    hours
        Longest time limit.
    most_cpus
        Processors that one group's jobs may hold together; 0 where no limit is known.
    waits
        Of the queue; empty where nothing was measured.
    sources
        Figure → where it is from and how well it was checked.
    """

    name: str
    gpu: str
    gpus: int
    cpus: int
    cpus_per_gpu: int
    gpu_memory_gb: float
    peak: Mapping[str, float]
    partition: str
    qos: str
    account: str
    gres: str
    hours: float
    most_cpus: int
    signal_seconds: int
    scratch: str
    internet: bool
    setup: tuple[str, ...]
    environment: Mapping[str, str]
    waits: tuple[Wait, ...]
    sources: Mapping[str, str]

    @property
    def gpus_at_once(self) -> int:
        """GPUs that one group's jobs may hold together; 0 where no limit is known."""
        return self.most_cpus // self.cpus_per_gpu


def known_machines() -> list[str]:
    """Return the names of the machines that come with the package."""
    folder = files("facegen_training.planning") / "machine_files"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")


def read_machine(name: str) -> Machine:
    """Read a machine by its name, or from a TOML file.

    Raises
    ------
    UserError
        When there is no such machine, the file is damaged, or a figure has no source.
    """
    if name in known_machines():
        folder = files("facegen_training.planning") / "machine_files"
        text = (folder / f"{name}.toml").read_text(encoding="utf-8")
    else:
        try:
            text = Path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"There is no machine {name!r}.",
                f"Known: {', '.join(known_machines())}; or give a file like theirs.",
                reason=error,
            ) from error
    try:
        data = tomllib.loads(text)
        machine = _machine(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{name} is not the description of a machine: {error}.",
            "Copy one of those in facegen_training/planning/machine_files.",
        ) from error
    return machine


def _machine(data: dict[str, Any]) -> Machine:
    flat = {**data["node"], **data["queue"]}
    waits = tuple(Wait(**row) for row in data.get("waits", ()))
    figures = [*flat, *data["rates"], *(["waits"] if waits else [])]
    unsaid = [figure for figure in figures if not data["sources"].get(figure)]
    if unsaid:
        raise ValueError(f"no source is given for {', '.join(unsaid)}")
    if sorted(data["rates"]) != sorted(RATES) or min(data["rates"].values()) <= 0:
        raise ValueError(f"rates must be given for {', '.join(RATES)}")
    flat["setup"] = tuple(flat["setup"])
    return Machine(
        name=data["name"],
        gpu=data["gpu"],
        peak=data["rates"],
        waits=tuple(sorted(waits, key=lambda wait: wait.hours)),
        sources=data["sources"],
        **flat,
    )
