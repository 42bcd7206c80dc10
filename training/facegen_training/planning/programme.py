"""A training programme and everything that follows from its inputs; nothing here is a result.

A programme is some jobs that each pass some volumes through a network some times.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from facegen_inference.errors import UserError
from facegen_training.fitting.config import Config
from facegen_training.planning.calibration import Calibration, Rate, achieved_rate
from facegen_training.planning.flops import step_flops
from facegen_training.planning.machines import Machine
from facegen_training.planning.memory import Estimate, estimate_memory
from facegen_training.planning.queue import QueuePlan, plan_queue
from facegen_training.planning.workloads import Request, Shape

DAYS_A_YEAR = 365
BYTES_A_VOXEL = 2
"""Volumes are stored as int16."""
COMPRESSION = 2.65
"""Of stored volumes: blosc2 with zstd on 512 × 512 × 102 CTs (measured here)."""
CHANNELS_STORED = {"pix2pix3d": 2}
"""Skull and head; of the others bone, observed, skin, valid."""
CHECKPOINTS_KEPT = 3
"""At once: two whole ones and the one that is being written."""


@dataclass(frozen=True)
class Programme:
    """Inputs of a plan.

    Attributes
    ----------
    title, network, size, batch, precision, recompute, config
        What a pass is; see `facegen_training.planning.workloads.Request`.
    jobs, volumes, epochs
        Each job passes `volumes` volumes `epochs` times.
    people
        Volumes on the disk; as many as `volumes` where 0.
    volume_slices
        Slices of a stored volume; those of `size` where 0.
    tflop_a_pass
        As stated; counted where 0.
    reference_gpu, reference_tflop_per_s
        What the plan was reckoned in, if it was.
    stated_memory_gb, stated_longest_job_hours
        What the plan's authors said of it, for comparison.
    """

    title: str
    network: str
    size: Shape
    jobs: int = 1
    volumes: int = 1
    epochs: int = 1
    precision: str = "fp32"
    recompute: bool = False
    batch: int = 1
    people: int = 0
    volume_slices: int = 0
    tflop_a_pass: float = 0.0
    reference_gpu: str = ""
    reference_tflop_per_s: float = 0.0
    stated_memory_gb: float = 0.0
    stated_longest_job_hours: float = 0.0
    config: Config = field(default_factory=Config)

    def __post_init__(self) -> None:
        least = (self.jobs, self.volumes, self.epochs, self.batch)
        if min(least) < 1 or self.tflop_a_pass < 0 or self.reference_tflop_per_s < 0:
            raise UserError("Jobs, volumes and epochs must be at least 1.", "Correct the plan.")

    @property
    def request(self) -> Request:
        """The step that is counted and estimated."""
        return Request(self.network, self.size, self.batch, self.recompute, self.config)

    @property
    def passes_a_job(self) -> int:
        """Volumes passed through the network in one job."""
        return self.volumes * self.epochs

    @property
    def passes(self) -> int:
        """In all jobs."""
        return self.jobs * self.passes_a_job

    @cached_property
    def counted_tflop_a_pass(self) -> float:
        """TFLOP of one volume, counted."""
        return step_flops(self.request) / self.batch / 1e12

    @property
    def pass_tflop(self) -> float:
        """TFLOP of one volume: as stated, else as counted."""
        return self.tflop_a_pass or self.counted_tflop_a_pass

    @property
    def tflop(self) -> float:
        """Of the whole programme."""
        return self.passes * self.pass_tflop

    @property
    def reference_years(self) -> float:
        """Years of the reference GPU; 0 where there is none."""
        if not self.reference_tflop_per_s:
            return 0.0
        return self.tflop / self.reference_tflop_per_s / 86400 / DAYS_A_YEAR

    @cached_property
    def memory(self) -> Estimate:
        """Of one step."""
        return estimate_memory(self.request, self.precision)

    @property
    def data_bytes(self) -> float:
        """Prepared volumes on the disk, compressed."""
        slices, rows, columns = self.size
        voxels = (self.volume_slices or slices) * rows * columns
        channels = CHANNELS_STORED.get(self.network, 4)
        return (self.people or self.volumes) * voxels * channels * BYTES_A_VOXEL / COMPRESSION

    @property
    def checkpoint_bytes(self) -> int:
        """One checkpoint: weights, Adam's moments, running average."""
        memory = self.memory
        return memory.adam // 2 + memory.adam + memory.average


@dataclass(frozen=True)
class Outlook:
    """A programme on a machine.

    Attributes
    ----------
    programme, machine, gpus
        What, where, on how many GPUs a job.
    rate
        Of one GPU.
    memory_factor
        Measured by estimated peak memory, from a calibration; 1 without.
    queue
        How the jobs are laid out.
    """

    programme: Programme
    machine: Machine
    gpus: int
    rate: Rate
    memory_factor: float
    queue: QueuePlan

    @property
    def gpu_hours(self) -> float:
        """Of all jobs."""
        return self.programme.tflop / self.rate.tflop_per_s / 3600

    @property
    def node_hours(self) -> float:
        """Of all jobs, each taking whole nodes."""
        nodes = -(-self.gpus // self.machine.gpus)
        return self.queue.hours_a_job * nodes * self.programme.jobs

    @property
    def memory_bytes(self) -> float:
        """Peak of one GPU: live, allowance and optimiser; by the calibration's factor."""
        memory = self.programme.memory
        return (memory.total + memory.workspace) * self.memory_factor

    @property
    def memory_fits(self) -> bool:
        """Whether a GPU of the machine holds it."""
        return self.memory_bytes <= self.machine.gpu_memory_gb * 1e9


def look_ahead(
    programme: Programme, machine: Machine, gpus: int, calibration: Calibration | None = None
) -> Outlook:
    """Return what a programme costs on a machine.

    Parameters
    ----------
    programme
        Inputs.
    machine
        Where.
    gpus
        For each job; its volumes are shared out evenly and nothing is taken off for talking.
    calibration
        Measured steps.

    Raises
    ------
    UserError
        When a job asks for a part of several nodes.
    """
    if gpus < 1 or (gpus > machine.gpus and gpus % machine.gpus):
        raise UserError(
            f"A job cannot have {gpus} GPUs where a node has {machine.gpus}.",
            f"Take up to {machine.gpus}, or whole nodes.",
        )
    network, precision = programme.network, programme.precision
    peak = machine.peak["bf16" if precision == "bf16-weights" else precision]
    rate = achieved_rate(peak, network, precision, calibration)
    factor = calibration.memory_factor(network, precision) if calibration else None
    hours = programme.passes_a_job * programme.pass_tflop / rate.tflop_per_s / 3600 / gpus
    queue = plan_queue(hours, programme.jobs, gpus, machine)
    return Outlook(programme, machine, gpus, rate, factor or 1.0, queue)


def with_our_settings(programme: Programme) -> Programme:
    """Return the same passes in bf16 with activations computed again, counted."""
    return replace(programme, precision="bf16", recompute=True, tflop_a_pass=0.0)


def with_our_network(programme: Programme) -> Programme:
    """Return as many passes of the signed-distance network on its own grid, counted."""
    config = Config()
    return replace(
        programme,
        network="sdf",
        size=(128, 104, 96),
        volume_slices=0,
        tflop_a_pass=0.0,
        config=config,
    )
