"""How much arithmetic a training step is, counted on tensors without memory."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from facegen_training.planning.workloads import Request, build_workload, run_step


def step_flops(request: Request) -> int:
    """Return the floating-point operations of one step, forth and back, of a whole batch.

    A multiplication and an addition are two operations.  Counted are convolutions and matrix
    products, by torch's own counter; what is computed again under `Request.recompute` counts,
    as the machine does it.
    """
    workload = build_workload(request)
    batch = {
        name: torch.empty(shape, device="meta") for name, (shape, _) in workload.inputs.items()
    }
    with FlopCounterMode(display=False) as counter:
        run_step(workload, batch, precision="fp32")
    return int(counter.get_total_flops())
