"""What the loop asks of anything it trains.

The loop (`facegen_training.fitting.fit`) knows nothing of skulls: a learner says which networks
there are, what one random sample is, what a batch costs and how good the run is by now.
`facegen_training.networks.registry` finds the learner that a configuration names; a builder has
the shape ``build(data, config, run) -> Learner``, reads everything it needs from the
configuration (``fit.checkpoint_activations`` too) and may keep what it computed once in the
run's folder: rank 0 builds first, the others find it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from facegen_inference.preprocess import PreprocessSpec

Batch = dict[str, Tensor]
"""Named tensors with a batch axis first: samples stacked by the loader."""
Networks = Mapping[str, nn.Module]
"""Player -> network as the loop has wrapped it (DDP, FSDP2, compiled); call it, nothing else."""


class FaceNetwork(Protocol):
    """What is exported: one graph that keeps the model file's contract (DESIGN.md, Model file)."""

    spec: PreprocessSpec
    offset_mm: float
    latent_size: int

    def __call__(self, skull: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return distance and spread, (1, 1, Z, Y, X) mm, of (1, 2, Z, Y, X) and (1, K)."""
        ...


class Learner(Protocol):
    """One way of learning faces from prepared people.

    Attributes
    ----------
    players
        The networks with parameters, each with its own optimiser; at every step they move in
        this order.  One for a plain network; ``discriminator`` then ``generator`` for a GAN.
        All of a player's parameters take part in its cost.  FSDP2 shards a player child by child
        (a `torch.nn.ModuleList`'s members count as children), so these are to be called, not
        reached into.
    face
        Which player makes faces: its running average is validated and exported.
    """

    players: dict[str, nn.Module]
    face: str

    def sample(self, row: int, random: np.random.Generator) -> dict[str, Tensor]:
        """Return one random training sample of a person (position in the dataset), no batch axis.

        Runs in the loader's processes, to which it is sent by pickle before training begins; all
        randomness comes from `random`.  Keep it light: a learner may hold a small callable object
        of this name instead of a method, so that its networks stay at home.
        """
        ...

    def cost(
        self, player: str, networks: Networks, batch: Batch
    ) -> tuple[Tensor, dict[str, float]]:
        """Return what a batch costs a player, and named figures for the log.

        Every network but the player's own is frozen while this runs.  The cost is the mean over
        the batch, so that gradients of several batches and ranks can be averaged.  Tensors are on
        the device of `batch`.
        """
        ...

    def validate(self, face: nn.Module) -> dict[str, float]:
        """Return figures on the part ``validation``; empty where there is no one in it.

        `face` is the running average of the player that makes faces, on the device it was
        trained on.  Every rank calls this, with the same result.
        """
        ...

    def network(self, face: nn.Module) -> FaceNetwork:
        """Return the graph to export, a `torch.nn.Module` on the CPU with the average in it."""
        ...

    def unseen(self, row: int, network: FaceNetwork) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return (miss mm, spread mm, near-skin mask), (Z, Y, X) each, for calibration.

        The miss is prediction minus truth, by a prediction that never saw this person; None where
        there is no such prediction.  For the part ``validation`` it is `network`'s own.
        `network`'s ``offset_mm`` is included for everyone.
        """
        ...
