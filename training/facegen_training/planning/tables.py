"""A plan as a table to read and as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from facegen_training.planning.advice import Budget
from facegen_training.planning.programme import CHECKPOINTS_KEPT, Outlook

GIB = 2**30


@dataclass(frozen=True)
class Column:
    """One way of carrying out a programme, and its name."""

    name: str
    outlook: Outlook


def figures(outlook: Outlook) -> dict[str, Any]:
    """Return every figure of a plan as plain data."""
    plan, memory, queue = outlook.programme, outlook.programme.memory, outlook.queue
    return {
        "network": plan.network,
        "size": list(plan.size),
        "precision": plan.precision,
        "recompute": plan.recompute,
        "jobs": plan.jobs,
        "passes_a_job": plan.passes_a_job,
        "passes": plan.passes,
        "tflop_a_pass": plan.pass_tflop,
        "tflop_a_pass_counted": plan.counted_tflop_a_pass,
        "tflop": plan.tflop,
        "reference_years": plan.reference_years,
        "memory_bytes": {
            "live": memory.live,
            "optimiser": memory.adam + memory.master + memory.average,
            "workspace_allowance": memory.workspace,
            "peak": outlook.memory_bytes,
        },
        "machine": outlook.machine.name,
        "tflop_per_s": outlook.rate.tflop_per_s,
        "rate_known": outlook.rate.known,
        "gpus_a_job": outlook.gpus,
        "gpu_hours": outlook.gpu_hours,
        "node_hours": outlook.node_hours,
        "hours_a_job": queue.hours_a_job,
        "limit_hours": queue.limit_hours,
        "starts_a_job": queue.starts,
        "wait_hours_a_job": queue.wait_hours,
        "jobs_at_once": queue.at_once,
        "elapsed_days": queue.elapsed_hours / 24,
        "data_bytes": plan.data_bytes,
        "checkpoint_bytes": plan.checkpoint_bytes,
        "disk_bytes": disk_bytes(outlook),
    }


def disk_bytes(outlook: Outlook) -> float:
    """Return what prepared data and the checkpoints of all jobs take."""
    plan = outlook.programme
    return plan.data_bytes + plan.jobs * CHECKPOINTS_KEPT * plan.checkpoint_bytes


def _size(outlook: Outlook) -> str:
    return " × ".join(str(n) for n in outlook.programme.request.extent)


def _settings(outlook: Outlook) -> str:
    return outlook.programme.precision + (", checkpointed" if outlook.programme.recompute else "")


def _flops(outlook: Outlook) -> str:
    plan = outlook.programme
    if plan.tflop_a_pass:
        return f"{plan.tflop_a_pass:,.4g} stated; {plan.counted_tflop_a_pass:,.4g} counted"
    return f"{plan.counted_tflop_a_pass:,.4g} counted"


def _memory(outlook: Outlook) -> str:
    m = outlook.programme.memory
    return (
        f"{m.live / GIB:,.2f} + {(m.adam + m.master + m.average) / GIB:,.2f}"
        f" + {m.workspace / GIB:,.2f} GiB"
    )


def _array(outlook: Outlook) -> str:
    queue, jobs = outlook.queue, outlook.programme.jobs
    limit = f"%{queue.at_once}" if 0 < queue.at_once < jobs else ""
    nodes = f"{queue.nodes} node{'s' if queue.nodes > 1 else ''} × {queue.gpus} GPU"
    return (f"--array=0-{jobs - 1}{limit}, " if jobs > 1 else "one job, ") + nodes


def _chunks(outlook: Outlook) -> str:
    queue = outlook.queue
    waits = (
        "wait unknown" if queue.wait_hours is None else f"waits {hours(queue.wait_hours)} in all"
    )
    return f"{queue.starts} × {queue.limit_hours:g} h, {waits}"


def hours(count: float) -> str:
    """Return hours in the unit one would say them in."""
    if count >= 1:
        return f"{count:,.1f} h"
    return f"{60 * count:,.1f} min" if count >= 1 / 60 else f"{3600 * count:.3g} s"


def _days(count: float) -> str:
    return f"{count / 24:,.2f} days" if count >= 24 else hours(count)


def _few(count: float) -> str:
    return f"{count:,.0f}" if count >= 1 else f"{count:.2g}"


ROWS: tuple[tuple[str, Callable[[Outlook], str]], ...] = (
    ("network", lambda o: f"{o.programme.network}, {_size(o)}"),
    ("settings", _settings),
    ("TFLOP a pass", _flops),
    ("passes a job", lambda o: f"{o.programme.passes_a_job:,}"),
    ("passes, all jobs", lambda o: f"{o.programme.passes:,}"),
    ("TFLOP, all jobs", lambda o: f"{o.programme.tflop:,.0f}"),
    ("GPU memory: live + optimiser + allowance", _memory),
    ("rate of a GPU", lambda o: f"{o.rate.tflop_per_s:,.4g} TFLOP/s"),
    ("GPU-hours", lambda o: _few(o.gpu_hours)),
    ("node-hours", lambda o: _few(o.node_hours)),
    ("one job", lambda o: hours(o.queue.hours_a_job)),
    ("Slurm", _array),
    ("pieces of a job", _chunks),
    ("from start to end", lambda o: _days(o.queue.elapsed_hours)),
    ("disk", lambda o: f"{disk_bytes(o) / 1e9:,.1f} GB"),
)


def plan_table(title: str, columns: list[Column]) -> Table:
    """Return the table: a row for each figure, a column for each way."""
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("")
    for column in columns:
        table.add_column(column.name, justify="right")
    for name, text in ROWS:
        table.add_row(name, *(text(column.outlook) for column in columns))
    first = columns[0].outlook.programme
    if first.reference_tflop_per_s:
        years = [f"{_years(column.outlook)}" for column in columns]
        table.add_row(f"years on one {first.reference_gpu}", *years)
    return table


def _years(outlook: Outlook) -> str:
    years = outlook.programme.reference_years
    return f"{years:,.2f}" if years >= 0.01 else f"{years:.5f}"


def budget_line(outlook: Outlook, budget: Budget) -> str:
    """Return how much of a budget a plan takes, in both units it might be meant in."""
    starts = outlook.queue.starts * outlook.programme.jobs
    return (
        f"Budget {budget.hours:,.0f} {budget.unit}-hours, {budget.jobs:,} jobs: takes "
        f"{_few(outlook.gpu_hours)} GPU-hours or {_few(outlook.node_hours)} node-hours "
        f"(how this machine accounts was not found in a primary source), {starts:,} starts."
    )
