"""Start Fabric as the settings say: ranks, strategy, precision; and name a rank that was lost."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy, ModelParallelStrategy
from torch import distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from facegen_inference.errors import UserError
from facegen_training.fitting.config import FitConfig
from facegen_training.fitting.stop import STOPPED

_LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset", "Timed out waiting")


class RankLost(UserError):
    """Another rank of the run is gone; started again, the run goes on."""

    exit_status = STOPPED


def launch(config: FitConfig) -> Fabric:
    """Return Fabric with all ranks present.

    Ranks come from Slurm (srun) or torchrun where one of them started this process; else Fabric
    starts the others itself, by the same command line.
    """
    devices, nodes = ranks(config)
    world = devices * nodes
    timeout = timedelta(minutes=config.rank_timeout_minutes)
    strategy: Any = "auto"
    if config.strategy == "fsdp2":
        strategy = ModelParallelStrategy(
            shard, data_parallel_size=world, tensor_parallel_size=1, timeout=timeout
        )
    elif config.strategy == "ddp" or world > 1:
        strategy = DDPStrategy(timeout=timeout, gradient_as_bucket_view=True)
    with warnings.catch_warnings():
        # A login node has srun too; one process there is what was asked for.
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        fabric = _fabric(config, devices, nodes, strategy)
    with lost_ranks_named(fabric):  # one may be lost before all have met
        fabric.launch()
    if config.threads:
        torch.set_num_threads(config.threads)
    return fabric


def _fabric(config: FitConfig, devices: int, nodes: int, strategy: Any) -> Fabric:
    return Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
    )


def ranks(config: FitConfig) -> tuple[int, int]:
    """Return devices on each node, and nodes: as set, as the launcher says, or all GPUs here."""
    given = os.environ
    nodes = config.nodes or int(given.get("SLURM_NNODES", 1))
    devices = config.devices
    if not devices and "LOCAL_WORLD_SIZE" in given:  # torchrun
        devices = int(given["LOCAL_WORLD_SIZE"])
        nodes = config.nodes or int(given["WORLD_SIZE"]) // devices
    elif not devices and "SLURM_NTASKS" in given:
        devices = max(1, int(given["SLURM_NTASKS"]) // nodes)
    return devices or max(1, torch.cuda.device_count()), nodes


def end_ranks() -> None:
    """Part from the other ranks; what was wrapped for them must be out of use.

    It is collected first: were it to go after the group of processes it would wait for ever.
    """
    gc.collect()
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def numerics(config: FitConfig) -> Iterator[None]:
    """Set what torch keeps for the whole process, and set it back at the end."""
    cudnn, tf32 = torch.backends.cudnn, config.precision == "tf32"
    before = (
        torch.get_float32_matmul_precision(),
        (cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic),
        torch.are_deterministic_algorithms_enabled(),
    )
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    fixed = config.deterministic
    cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = tf32, not fixed, fixed
    if fixed:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(fixed, warn_only=True)
    try:
        with warnings.catch_warnings():
            # Of an output that is a slice: nothing here changes one in place.
            warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before[1]
        torch.use_deterministic_algorithms(before[2])


def shard(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Share a player's weights out over the ranks, child by child (FSDP2)."""
    for child in children(module):
        fully_shard(child, mesh=mesh["data_parallel"])
    fully_shard(module, mesh=mesh["data_parallel"])
    return module


def children(module: nn.Module) -> list[nn.Module]:
    """Return a module's children that have weights.

    A list's members count as children, and so do those of an only child.
    """
    found: list[nn.Module] = []
    for child in module.children():
        found.extend(children(child) if isinstance(child, nn.ModuleList) else [child])
    found = [child for child in found if any(True for _ in child.parameters())]
    if len(found) == 1 and any(True for _ in found[0].children()):
        return children(found[0])
    return found


@contextmanager
def lost_ranks_named(fabric: Fabric) -> Iterator[None]:
    """Turn what torch says when a rank is gone into `RankLost`."""
    try:
        yield
    except RuntimeError as error:
        told = isinstance(error, distributed.DistError) or any(n in str(error) for n in _LOST)
        if fabric.world_size == 1 or not told:
            raise
        raise RankLost(
            "Another rank of this run was lost.",
            "Start it again, on other nodes if need be: it goes on from its last checkpoint.",
            reason=error,
        ) from error
