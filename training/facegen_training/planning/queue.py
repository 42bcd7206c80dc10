"""How jobs are laid out in a queue: arrays, and pieces short enough not to wait for long."""

from __future__ import annotations

import math
from dataclasses import dataclass

from facegen_training.planning.machines import Machine, Wait


@dataclass(frozen=True)
class QueuePlan:
    """The layout of some equal jobs.

    Attributes
    ----------
    hours_a_job
        Of computing.
    limit_hours
        Time limit of one start; a job that is not done by then writes a checkpoint and queues
        again.
    starts
        Of one job.
    wait_hours
        Of one job in all, for nine of ten; None where the queue was never measured.
    at_once
        Jobs that run side by side at most; 0 where no limit is known.
    nodes, gpus
        Of one job: nodes, and GPUs on each.
    elapsed_hours
        From the first start to the last end, waits included.
    """

    hours_a_job: float
    limit_hours: float
    starts: int
    wait_hours: float | None
    at_once: int
    nodes: int
    gpus: int
    elapsed_hours: float


def plan_queue(hours: float, jobs: int, gpus: int, machine: Machine) -> QueuePlan:
    """Return the layout that ends first.

    Parameters
    ----------
    hours
        One job computes for so long.
    jobs
        How many.
    gpus
        Of one job.
    machine
        Its limits, and its waits at the time limits at which they were measured: between them
        nothing is known, so that one of these limits is taken (a shorter one waits no longer).
    """
    at_once = machine.gpus_at_once // gpus if machine.most_cpus else 0
    rounds = math.ceil(jobs / at_once) if at_once else 1
    nodes = math.ceil(gpus / machine.gpus)
    choices = [w for w in machine.waits if w.hours <= machine.hours]
    layouts = []
    for wait in choices or [Wait(machine.hours, 0.0)]:
        starts = _starts(hours, wait.hours, machine.signal_seconds)
        waited = starts * wait.minutes / 60
        layouts.append(
            QueuePlan(
                hours_a_job=hours,
                limit_hours=wait.hours,
                starts=starts,
                wait_hours=waited if choices else None,
                at_once=at_once,
                nodes=nodes,
                gpus=min(gpus, machine.gpus),
                elapsed_hours=rounds * (hours + waited),
            )
        )
    return min(layouts, key=lambda layout: (layout.elapsed_hours, layout.limit_hours))


def _starts(hours: float, limit: float, signal_seconds: int) -> int:
    """Return how many starts a job needs when each stops a little before its limit."""
    return max(1, math.ceil(hours / (limit - signal_seconds / 3600)))
