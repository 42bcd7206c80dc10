"""How much memory a training step needs, estimated without having it.

A step is run on tensors that have a size and no content, and the bytes of all storages alive are
added up at every operator: the same sum as a real run's, within a second for a network that would
fill a large GPU.  Two things it cannot see: what an operator allocates and frees inside itself
(its workspace, for which `workspace_bytes` makes an allowance), and what the GPU's driver, its
libraries and the fragmentation of the allocator take.

Operators are those that torch chooses on a CPU, autocast's list of operators in bf16 among them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from facegen_inference.errors import UserError
from facegen_training.planning.workloads import Request, Workload, build_workload, run_step

PRECISIONS = ("fp32", "tf32", "bf16", "bf16-weights")
"""``bf16`` is autocast over fp32 weights; ``bf16-weights`` keeps weights and gradients in bf16."""


class LiveStorage(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of all storages alive.

    Works on real tensors as on those without content.

    Attributes
    ----------
    now, peak
        Bytes alive, and the most there were.
    peak_operator
        After which operator.
    peak_with_workspace
        The most there were with each operator's allowance.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self.peak_operator = ""
        self.peak_with_workspace = 0
        self._sizes: dict[int, int] = {}

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that were there before."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._sizes:
                self._sizes[key] = storage.nbytes()
                self.now += storage.nbytes()
                weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._sizes.pop(key)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator and count what it returns."""
        result = func(*args, **(kwargs or {}))
        self.hold(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        if self.now > self.peak:
            self.peak, self.peak_operator = self.now, str(func)
        working = self.now + workspace_bytes(func, args, result)
        self.peak_with_workspace = max(self.peak_with_workspace, working)
        return result


def workspace_bytes(func: Any, args: tuple[Any, ...], result: Any) -> int:
    """Return an allowance for what a convolution allocates and frees inside itself, bytes.

    oneDNN packs its operands anew: a convolution the input and the weights, a transposed one
    twice its output; on the way back twice the larger of both activations, or for a transposed one
    each of them, and the weights.  Twice as much of some in bf16, which is also turned into fp32.
    Found with the profiler of torch 2.13; ``tests/training/planning/test_memory.py`` compares.
    """
    name = func.overloadpacket if hasattr(func, "overloadpacket") else func
    if name is torch.ops.aten.convolution:
        return int(2 * result.nbytes if args[6] else args[0].nbytes + args[1].nbytes)
    if name is torch.ops.aten.convolution_backward:
        given, inputs, weight, transposed = args[0], args[1], args[2], args[7]
        larger = max(given.nbytes, inputs.nbytes)
        packed = given.nbytes + inputs.nbytes if transposed else 2 * larger
        half = inputs.dtype == torch.bfloat16
        return int((2 if half and transposed else 1) * packed + (2 if half else 1) * weight.nbytes)
    return 0


@dataclass(frozen=True)
class Estimate:
    """Memory of one step, bytes.

    Attributes
    ----------
    live
        Most of it alive at once: weights, gradients, activations, inputs; no optimiser.
    operator
        After which operator.
    workspace
        Allowance for what operators allocate inside themselves, on top of `live`.
    weights
        Of the weights among `live`.
    adam, master, average
        Adam's two moments in fp32, the fp32 copy of bf16 weights, the running average of the
        player that makes faces; not among `live`.
    """

    live: int
    operator: str
    workspace: int
    weights: int
    adam: int
    master: int
    average: int

    @property
    def total(self) -> int:
        """All but the allowance."""
        return self.live + self.adam + self.master + self.average


def estimate_memory(request: Request, precision: str) -> Estimate:
    """Return the memory of one step.

    Parameters
    ----------
    request
        Which step.
    precision
        One of `PRECISIONS`.

    Raises
    ------
    UserError
        For an unknown precision; see also `build_workload`.
    """
    if precision not in PRECISIONS:
        raise UserError(f"No precision {precision!r}.", f"Known: {', '.join(PRECISIONS)}.")
    if precision == "bf16-weights" and request.network != "pix2pix3d":
        raise UserError("Weights in bf16 are for pix2pix3d alone.", "Use bf16: fit does so too.")
    workload = build_workload(request)
    dtype = torch.bfloat16 if precision == "bf16-weights" else torch.float32
    with FakeTensorMode(), torch.device("cpu"):
        for module in workload.modules():
            _without_content(module, dtype)
        batch = {
            name: torch.empty(shape, dtype=dtype) for name, (shape, _) in workload.inputs.items()
        }
        counted = count_live(workload, batch, precision)
    count = {
        name: sum(p.numel() for p in player.parameters())
        for name, player in workload.players.items()
    }
    weights = sum(count.values())
    return Estimate(
        live=counted.peak,
        operator=counted.peak_operator.removeprefix("aten.").removesuffix(".default"),
        workspace=max(0, counted.peak_with_workspace - counted.peak),
        weights=weights * dtype.itemsize,
        adam=8 * weights,
        master=4 * weights if precision == "bf16-weights" else 0,
        average=4 * list(count.values())[-1],
    )


def count_live(workload: Workload, batch: dict[str, Tensor], precision: str) -> LiveStorage:
    """Run one step, on real tensors or such without content, and return what was alive."""
    live = LiveStorage()
    for module in workload.modules():
        live.hold([*module.parameters(), *module.buffers()])
    live.hold(batch.values())
    with live:
        run_step(workload, batch, precision)
    return live


def _without_content(module: nn.Module, dtype: torch.dtype) -> None:
    """Replace weights and buffers by new ones of the same size; weights get a type."""
    for part in module.modules():
        for name, old in part._parameters.items():
            if old is not None:
                part._parameters[name] = nn.Parameter(torch.empty(old.shape, dtype=dtype))
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
