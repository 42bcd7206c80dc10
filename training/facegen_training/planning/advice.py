"""What of a plan does not fit a machine or a budget, and what would make it fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from facegen_training.planning.calibration import Calibration
from facegen_training.planning.programme import (
    Outlook,
    Programme,
    look_ahead,
    with_our_network,
    with_our_settings,
)


@dataclass(frozen=True)
class Budget:
    """What may be spent.

    Attributes
    ----------
    hours, unit
        Of a GPU (``gpu``) or of a node (``node``).
    jobs
        Starts in the queue.
    """

    hours: float
    jobs: int
    unit: str = "gpu"

    def spent(self, outlook: Outlook) -> float:
        """Return the hours of a plan in this budget's unit."""
        return outlook.gpu_hours if self.unit == "gpu" else outlook.node_hours


def what_does_not_fit(
    outlook: Outlook, budget: Budget, calibration: Calibration | None = None
) -> list[str]:
    """Return a sentence for each thing that does not fit, with what would; none if all fits."""
    found = []
    if not outlook.memory_fits:
        found.append(_memory(outlook, calibration))
    spent = budget.spent(outlook)
    if spent > budget.hours:
        found.append(_hours(outlook, budget, calibration))
    starts = outlook.queue.starts * outlook.programme.jobs
    if starts > budget.jobs:
        most = max(1, budget.jobs // outlook.queue.starts)
        found.append(
            f"Queue: {starts:,} starts of {budget.jobs:,}. At most {most:,} jobs of this length "
            f"fit; or give each more than {outlook.gpus} GPUs."
        )
    return found


def _memory(outlook: Outlook, calibration: Calibration | None) -> str:
    has = outlook.machine.gpu_memory_gb
    said = f"Memory: {outlook.memory_bytes / 1e9:,.1f} GB of the {has:g} GB of a GPU."
    ours = _again(outlook, with_our_settings(outlook.programme), calibration)
    if ours.memory_fits:
        return f"{said} In bf16 with checkpointed activations: {ours.memory_bytes / 1e9:,.1f} GB."
    return f"{said} Take a smaller batch, fewer channels, or {_instead(outlook)}."


def _hours(outlook: Outlook, budget: Budget, calibration: Calibration | None) -> str:
    programme, spent = outlook.programme, budget.spent(outlook)
    said = f"Hours: {spent:,.0f} {budget.unit}-hours of {budget.hours:,.0f}."
    ways = []
    for words, other in (
        ("in bf16 with checkpointed activations", with_our_settings(programme)),
        ("with the sdf network", with_our_network(programme)),
    ):
        if (other.network, other.precision) == (programme.network, programme.precision):
            continue
        hours = budget.spent(_again(outlook, other, calibration))
        if hours <= budget.hours:
            ways.append(f"{words}: {hours:,.0f}")
    epochs = int(programme.epochs * budget.hours / spent)
    if epochs:
        ways.append(f"with {epochs:,} epochs instead of {programme.epochs:,}: it fits")
    jobs = int(programme.jobs * budget.hours / spent)
    if jobs:
        ways.append(f"with {jobs:,} jobs instead of {programme.jobs:,}: it fits")
    return f"{said} {'; '.join(ways).capitalize()}." if ways else said


def _instead(outlook: Outlook) -> str:
    return "another machine" if outlook.programme.network == "sdf" else "the sdf network"


def _again(outlook: Outlook, other: Programme, calibration: Calibration | None) -> Outlook:
    return look_ahead(replace(other), outlook.machine, outlook.gpus, calibration)


def stated_memory(programme: Programme, outlook: Outlook) -> str:
    """Return what the plan's authors saw beside what is estimated; empty where nothing is said."""
    if not programme.stated_memory_gb:
        return ""
    return (
        f"GPU memory: almost {programme.stated_memory_gb:g} GB were seen by the plan's authors; "
        f"estimated are {outlook.memory_bytes / 1e9:,.1f} GB."
    )


def tension(programme: Programme, outlook: Outlook) -> str:
    """Return in one sentence where the plan's own figures disagree; empty where none are stated."""
    hours = programme.stated_longest_job_hours
    if not hours:
        return ""
    needed = programme.passes_a_job * programme.pass_tflop / (hours * 3600)
    return (
        f"The plan's figures do not go together: a job of {programme.passes_a_job:,} passes in "
        f"{hours:g} h would need {needed:,.0f} TFLOP/s all the time, {needed / outlook.gpus:,.0f} "
        f"of each of {outlook.gpus} GPUs whose peak here is "
        f"{outlook.machine.peak[programme.precision]:g}, so the jobs that took up to {hours:g} h "
        "cannot have been of this size."
    )
