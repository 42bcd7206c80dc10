"""What to do about a step whose gradient is not finite: leave it out, go back, or give up."""

from __future__ import annotations

from facegen_inference.errors import UserError
from facegen_training.fitting.config import FitConfig


class Watch:
    """Counts bad steps; the same on every rank, since all see the same length of the gradient.

    Parameters
    ----------
    config
        ``bad_steps`` in a row make a rollback, ``rollbacks`` of them end the run.
    """

    def __init__(self, config: FitConfig) -> None:
        self.config = config
        self.bad = 0
        self.rollbacks = 0

    @property
    def rate(self) -> float:
        """Factor on the learning rate: halved by each rollback."""
        return 0.5**self.rollbacks

    def saw(self, finite: bool) -> bool:
        """Count a step; return whether to go back to the last checkpoint.

        Raises
        ------
        UserError
            When the run has gone back often enough.
        """
        self.bad = 0 if finite else self.bad + 1
        if finite or self.bad < self.config.bad_steps:
            return False
        if self.rollbacks == self.config.rollbacks:
            raise UserError(
                f"The gradient was not finite {self.bad} steps in a row, after going back "
                f"{self.rollbacks} times.",
                "Check the data of the last steps in steps.jsonl, or lower fit.learning_rate.",
            )
        self.bad = 0
        self.rollbacks += 1
        return True

    def state(self) -> dict[str, float]:
        """Return what a checkpoint must keep."""
        return {"bad": self.bad, "rollbacks": self.rollbacks}

    def take(self, state: dict[str, float]) -> None:
        """Take over what a checkpoint kept."""
        self.bad = int(state.get("bad", 0))
        self.rollbacks = int(state.get("rollbacks", 0))
