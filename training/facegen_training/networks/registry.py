"""Which learner a configuration names; each is imported only when it is wanted."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.config import Config
from facegen_training.networks.learner import Learner

Builder = Callable[[Dataset, Config, Path], Learner]

BUILDERS = {
    "sdf": "facegen_training.networks.sdf_learner",
    "pix2pix3d": "facegen_training.networks.pix2pix3d_learner",
    "depthmap-cgan": "facegen_training.networks.depthmap_learner",
}
"""Network -> module with a function ``build(data, config, run)``."""


def build_learner(data: Dataset, config: Config, run: Path) -> Learner:
    """Return the learner that the configuration names.

    Parameters
    ----------
    data
        Prepared people.
    config
        Settings of the run.
    run
        Folder of the run; made when missing.
    """
    run.mkdir(parents=True, exist_ok=True)
    builder: Builder = import_module(BUILDERS[config.network]).build
    return builder(data, config, run)
