"""How the signed-distance network learns: from a linear prediction that never saw the person.

The linear part is fitted first, kept in the run's folder, and fixed from then on; the one player
is the correction of it.  A windowed ridge, where the settings give it a share, is fitted likewise
and averaged with the corrected prediction.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import (
    POOL,
    Sample,
    coarse_points,
    plain_sample,
    random_sample,
    sampled,
)
from facegen_training.fitting.config import AugmentConfig, Config
from facegen_training.fitting.losses import (
    distance_error,
    face_weight,
    near_skin,
    spread_likelihood,
    surface_miss,
)
from facegen_training.networks.learner import Batch, FaceNetwork, Networks
from facegen_training.networks.linear import Copies, LinearFit, LinearPart, fit_linear
from facegen_training.networks.linear_file import LINEAR, load_linear, save_linear
from facegen_training.networks.sdf import SkullToFace, linear_prediction, rows_in_front
from facegen_training.networks.windowed import BLOCK, Coarse, fit_windowed
from facegen_training.networks.windowed_part import (
    WINDOWED,
    WindowedPart,
    load_windowed,
    save_windowed,
)

PLAYER = "correction"


def build(data: Dataset, config: Config, run: Path) -> SdfLearner:
    """Return the learner, with the linear part of the run, fitted now if there is none yet."""
    path = run / LINEAR
    if not path.exists():
        weight = face_weight(coarse_points(data.spec)).reshape(-1).numpy()
        save_linear(path, fit_linear(linear_copies(data, config), weight, config.linear))
    if config.windowed.share and not (run / WINDOWED).exists():
        grid = coarse_grid(data)
        save_windowed(run / WINDOWED, fit_windowed(mirrored(data), grid, config.windowed))
    return SdfLearner(data, config, path)


def build_network(data: Dataset, linear: LinearFit, config: Config) -> SkullToFace:
    """Return a fresh network that holds the linear part."""
    whole = linear.whole
    network = SkullToFace(
        data.spec, config.net, len(whole.features), len(whole.read), len(linear.latent)
    )
    network.correction.recompute = config.fit.checkpoint_activations
    network.load_linear(linear)
    return network


def coarse_grid(data: Dataset) -> Coarse:
    """Return the coarse grid with the rows that the network predicts."""
    z, y, x = (n // POOL for n in data.spec.shape)
    return Coarse((z, y, x), rows_in_front(data.spec), POOL * data.spec.spacing_mm)


def mirrored(data: Dataset) -> Copies:
    """Return the training people as scanned, each followed by the mirrored copy."""
    rows = [row for row in data.rows("train") for _ in range(2)]
    points = coarse_points(data.spec)
    columns = []
    for n, row in enumerate(rows):
        turned = points * torch.tensor([-1.0 if n % 2 else 1.0, 1.0, 1.0])
        sample = sampled(data.fields(row), turned, data.spec)
        columns.append([field.reshape(-1).numpy() for field in vars(sample).values()])
    bone, observed, skin, valid = (np.stack(column) for column in zip(*columns, strict=True))
    return Copies(bone, observed, skin, valid, np.array(rows))


def linear_copies(data: Dataset, config: Config) -> Copies:
    """Return augmented copies of the training people; the first of each is as it was scanned."""
    rows = []
    people = []
    for row in data.rows("train"):
        fields = data.fields(row)
        for copy in range(config.linear.copies):
            random = np.random.default_rng([config.fit.seed, 1, row, copy])
            if copy == 0:
                sample = plain_sample(fields, data.spec)
            else:
                sample = random_sample(fields, data.spec, config.augment, random)
            rows.append([t.reshape(-1).numpy() for t in vars(sample).values()])
            people.append(row)
    bone, observed, skin, valid = (np.stack(column) for column in zip(*rows, strict=True))
    return Copies(bone, observed, skin, valid, np.array(people))


@dataclass(frozen=True)
class SdfSampler:
    """Makes samples in the loader's processes, which read the linear part from its file.

    Attributes
    ----------
    data
        Prepared people.
    augment
        What is random.
    linear_path
        File of the linear part.
    """

    data: Dataset
    augment: AugmentConfig
    linear_path: Path

    @cached_property
    def linear(self) -> LinearFit:
        """The linear part, read once in each process."""
        return load_linear(self.linear_path)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "linear"}

    def unseen_part(self, row: int) -> LinearPart:
        """Return the linear prediction that never saw this person.

        Of a run that started from another model nobody has a fold: its whole linear part has
        seen none of these people.
        """
        fold = self.linear.fold_of.get(row)
        return self.linear.whole if fold is None else self.linear.folds[fold]

    def __call__(self, row: int, random: np.random.Generator) -> dict[str, Tensor]:
        """Return `Sample`'s fields and ``start``, the linear prediction; (1, Z, Y, X) each, mm."""
        sample = random_sample(self.data.fields(row), self.data.spec, self.augment, random)
        start = linear_prediction(self.unseen_part(row), sample.bone, sample.observed)
        return {**{name: field[0] for name, field in vars(sample).items()}, "start": start[0]}


class SdfLearner:
    """The learner of the signed-distance network; see `facegen_training.networks.learner`.

    Parameters
    ----------
    data
        Prepared people.
    config
        Settings of the run.
    linear_path
        File of the linear part.
    """

    def __init__(self, data: Dataset, config: Config, linear_path: Path) -> None:
        self.data = data
        self.config = config
        self.sample = SdfSampler(data, config.augment, linear_path)
        self.linear = self.sample.linear
        self.fixed = build_network(data, self.linear, config)
        self.players: dict[str, nn.Module] = {PLAYER: self.fixed.correction}
        self.fixed.correction = deepcopy(self.fixed.correction)  # the player is on its own
        self.face = PLAYER
        self.unseen_windowed: dict[int, NDArray[np.float32]] = {}
        path = linear_path.with_name(WINDOWED)
        if path.exists():
            fit = load_windowed(path)
            self.unseen_windowed = fit.unseen
            grid = coarse_grid(data)
            widths = tuple(w / (BLOCK * grid.spacing_mm) for w in config.windowed.windows_mm)
            self.fixed.windowed = WindowedPart(fit, grid.shape, widths, config.windowed.share)
        self.weight = face_weight(coarse_points(data.spec))

    def cost(
        self, player: str, networks: Networks, batch: Batch
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the error of the distance and the likelihood of the spread near the skin."""
        fixed, face = self._on(batch["bone"].device)
        sample = Sample(*(batch[name] for name in ("bone", "observed", "skin", "valid")))
        start = batch["start"]
        distance, spread = fixed.coarse(sample.bone, sample.observed, start, networks[player])
        weight = near_skin(sample, face, self.config.fit.band_mm)
        error = distance_error(distance, sample, weight)
        likelihood = spread_likelihood(distance, spread, sample, weight)
        return error + self.config.fit.spread_weight * likelihood, {
            "error": error.item(),
            "likelihood": likelihood.item(),
            "miss_mm": surface_miss(distance, sample, face).item(),
            "linear_miss_mm": surface_miss(start, sample, face).item(),
        }

    @torch.no_grad()
    def validate(self, face: nn.Module) -> dict[str, float]:
        """Return the mean miss near the true skin of the part ``validation``, mm.

        Also that of the linear prediction, of the windowed one and the correction alone where
        both are averaged, and of the mean face.
        """
        fixed, weight = self._on(next(face.parameters()).device)
        misses = []
        for row in self.data.rows("validation"):
            sample = plain_sample(self.data.fields(row), self.data.spec)
            sample = Sample(*(field.to(weight.device) for field in vars(sample).values()))
            start = fixed.linear(sample.bone, sample.observed)
            distance, _ = fixed.blended(sample.bone, sample.observed, face)
            fields = {"": distance, "linear_": start}
            if fixed.windowed is not None:
                fields["corrected_"] = fixed.coarse(sample.bone, sample.observed, start, face)[0]
                fields["windowed_"] = fixed.windowed(sample.bone, sample.observed)
            fields["mean_face_"] = fixed.mean_skin.float().reshape(sample.skin.shape)
            misses.append({k: float(surface_miss(f, sample, weight)) for k, f in fields.items()})
        if not misses:
            return {}
        return {
            f"validation_{name}mm": float(np.mean([miss[name] for miss in misses]))
            for name in misses[0]
        }

    def network(self, face: nn.Module) -> SkullToFace:
        """Return the whole network, on the CPU, with this correction in it."""
        network = deepcopy(self.fixed).cpu()
        network.correction.load_state_dict(
            {key: value.cpu() for key, value in face.state_dict().items()}
        )
        network.correction.recompute = False
        return network.eval()

    @torch.no_grad()
    def unseen(self, row: int, network: FaceNetwork) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return miss, spread and near-skin mask of a person on the coarse grid.

        A training person's miss is that of the windowed ridge, or else the linear part, which
        never saw the person.  The network itself has seen everyone; on people it has not seen it
        is a little better than the windowed ridge and much better than the linear part.
        """
        part = self.data.people[row].part
        if part not in ("train", "validation"):
            return None
        whole = cast(SkullToFace, network)
        sample = plain_sample(self.data.fields(row), self.data.spec)
        distance, spread = whole.blended(sample.bone, sample.observed)
        if part == "train":
            unseen = self.sample.unseen_part(row)
            distance = linear_prediction(unseen, sample.bone, sample.observed)
            if row in self.unseen_windowed:
                distance = torch.from_numpy(self.unseen_windowed[row]).reshape(distance.shape)
            elif whole.windowed is not None:  # of a run that started from a model
                distance = whole.windowed(sample.bone, sample.observed)
        distance = distance + whole.offset_mm  # measured on people left out, so theirs too
        face = face_weight(coarse_points(self.data.spec)) > 0.5
        near = (sample.skin.abs() < 3) & (sample.valid > 0) & face
        return (distance - sample.skin)[0, 0], spread[0, 0], near[0, 0]

    def _on(self, device: torch.device) -> tuple[SkullToFace, Tensor]:
        """Return the fixed parts and the weight of voxels on a device."""
        if self.weight.device != device:
            self.weight = self.weight.to(device)
            self.fixed.to(device)
        return self.fixed, self.weight
