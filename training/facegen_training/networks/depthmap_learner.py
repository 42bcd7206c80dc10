"""How the depth-map GAN learns: what its samples cost, how good it is, what is exported.

A linear regression of the maps is fitted first: its misses on people left out give the latent axes
and the spread to start from, and stand for the network's own in the calibration, as the network
has seen everyone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import Sample, coarse_points, plain_sample
from facegen_training.fitting.config import Config
from facegen_training.fitting.losses import face_weight, surface_miss
from facegen_training.networks.depth_maps import DistanceField, Facing
from facegen_training.networks.depthmap_cgan import (
    UNIT_MM,
    MapDiscriminator,
    MapGenerator,
    SkullToDepthMap,
)
from facegen_training.networks.depthmap_samples import (
    MAPS,
    MapMaker,
    MapSamples,
    MeanMaps,
    mean_skin,
)
from facegen_training.networks.learner import Batch, FaceNetwork, Networks
from facegen_training.networks.linear import Copies, LinearFit, fit_linear
from facegen_training.networks.linear_file import LINEAR, load_linear, save_linear


def build(data: Dataset, config: Config, run: Path) -> DepthmapLearner:
    """Return the learner, with the regression of the run, fitted now if there is none yet."""
    people = [plain_sample(data.fields(row), data.spec) for row in data.rows("train")]
    maker = MapMaker(data.spec, config.depthmap, mean_skin(people, data.spec, config.depthmap))
    means = MeanMaps(maker, people)
    samples = MapSamples(data, config, maker)
    if not (run / LINEAR).exists():
        save_linear(run / LINEAR, _regression(samples, means, config))
    return DepthmapLearner(samples, means, load_linear(run / LINEAR))


class DepthmapLearner:
    """Learns the depth-map GAN; see `facegen_training.networks.learner.Learner`."""

    face = "generator"

    def __init__(self, samples: MapSamples, means: MeanMaps, linear: LinearFit) -> None:
        self.data, self.settings = samples.data, samples.config.depthmap
        self.sample, self.means, self.maker, self.linear = samples, means, means.maker, linear
        points = coarse_points(self.data.spec)
        self.points_weight = face_weight(points)
        self.facing = Facing(self.settings.geometry)
        self.coarse_field = DistanceField(self.settings.geometry, points)
        generator = MapGenerator(self.settings, len(linear.latent))
        discriminator = MapDiscriminator(self.settings)
        for network in (generator, discriminator):
            network.mean_bone.copy_(means.bone)
            network.mean_skin.copy_(self.maker.mean_skin)
        # Directions of a radius, where that of a distance field points inward.
        generator.latent_maps.copy_(-self._as_map(linear.latent))
        generator.spread_map.copy_(self._as_map(linear.spread))
        self.players: dict[str, nn.Module] = {
            "discriminator": discriminator,
            "generator": generator,
        }

    def _as_map(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).reshape(-1, *self.maker.mean_skin.shape[2:])

    def cost(
        self, player: str, networks: Networks, batch: Batch
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the least-squares GAN's cost (Mao et al. 2017) and, for the generator, the rest.

        Where the skin is not known the generator's own stands in for the real one, so that the
        discriminator cannot tell them by the edge of a scan.
        """
        bone, hit = batch["bone"], batch["hit"]
        skin, spread, read_back = networks["generator"](bone, hit, batch["observed"])
        if player == "discriminator":
            made = skin.detach()
            real = torch.where(batch["valid"] > 0, batch["skin"], made)
            yes, no = (networks["discriminator"](bone, hit, s) for s in (real, made))
            cost = ((yes - 1) ** 2).mean() / 2 + (no**2).mean() / 2
            return cost, {"real": float(yes.detach().mean()), "made": float(no.detach().mean())}
        verdict = networks["discriminator"](bone, hit, skin)
        weight = self.means.face.to(skin) * self.facing.to(skin.device)(batch["skin"])
        weight = weight * batch["valid"]
        total = weight.sum().clamp_min(1)
        off = skin - batch["skin"]
        l1 = (off.abs() * weight).sum() / total
        likelihood = ((spread.log() + (off.detach() / spread).clamp(-5, 5) ** 2 / 2) * weight).sum()
        terms = {
            "l1": l1 / UNIT_MM,
            "condition": self._condition(read_back, bone, hit),
            "adversarial": ((verdict - 1) ** 2).mean() / 2,
            "spread": likelihood / total,
        }
        cost = torch.stack(
            [getattr(self.settings, f"{n}_weight") * t for n, t in terms.items()]
        ).sum()
        return cost, {
            **{name: float(term.detach()) for name, term in terms.items()},
            "miss_mm": float(l1.detach()),
        }

    def _condition(self, read_back: Tensor, bone: Tensor, hit: Tensor) -> Tensor:
        """Return the mean miss of the bone's depth as read back, where there is bone."""
        size = self.settings.coarsest
        difference = functional.avg_pool2d((bone - self.means.bone.to(bone)) * hit, size)
        share = functional.avg_pool2d(hit, size)
        off = read_back - difference / share.clamp_min(0.25) / UNIT_MM
        whole = (share > 0.99).float()
        return (off.abs() * whole).sum() / whole.sum().clamp_min(1)

    @torch.no_grad()
    def validate(self, face: nn.Module) -> dict[str, float]:
        """Return the miss near the true skin of the validation people, mm.

        The same measure as the signed-distance network's, beside that of the mean face and of the
        linear regression of the maps.
        """
        network = self.network(face)
        misses = []
        for row in self.data.rows("validation"):
            sample = plain_sample(self.data.fields(row), self.data.spec)
            linear = self._linear(sample, self.linear)
            fields = [self._distance(skin) for skin in (linear, self.maker.mean_skin)]
            fields.insert(0, self.predicted(network, sample)[0])
            misses.append([float(surface_miss(f, sample, self.points_weight)) for f in fields])
        if not misses:
            return {}
        names = ("validation_mm", "validation_linear_mm", "validation_mean_face_mm")
        return dict(zip(names, np.mean(misses, axis=0).tolist(), strict=True))

    @torch.no_grad()
    def predicted(self, network: SkullToDepthMap, sample: Sample) -> tuple[Tensor, Tensor]:
        """Return distance and spread of a sample on the coarse grid, mm, the offset included."""
        skin, spread = network.maps(sample.bone, sample.observed)
        distance, spread = self.coarse_field(skin, spread)
        return distance + network.offset_mm, spread

    def _distance(self, skin: Tensor) -> Tensor:
        distance: Tensor = self.coarse_field(skin, skin[:, :0])[0]
        return distance

    def _linear(self, sample: Sample, linear: LinearFit, fold: int | None = None) -> Tensor:
        """Return the linear regression's skin, (1, 1, rows, columns) mm."""
        bone, hit, _ = self.maker.bone(sample)
        part = linear.whole if fold is None else linear.folds[fold]
        rows = (bone - self.means.bone).reshape(1, -1).numpy(), hit.reshape(1, -1).numpy()
        return self.maker.mean_skin + self._as_map(part.predict(*rows))[None]

    def network(self, face: nn.Module) -> SkullToDepthMap:
        """Return the graph to export."""
        generator = MapGenerator(self.settings, len(self.linear.latent))
        generator.load_state_dict({key: value.cpu() for key, value in face.state_dict().items()})
        return SkullToDepthMap(self.data.spec, generator).eval()

    @torch.no_grad()
    def unseen(self, row: int, network: FaceNetwork) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return miss, spread and near-skin mask, (Z, Y, X) each on the coarse grid.

        A training person's miss is that of the linear regression which left the person out.
        """
        part = self.data.people[row].part
        if part != "validation" and row not in self.linear.fold_of:
            return None
        assert isinstance(network, SkullToDepthMap)
        sample = plain_sample(self.data.fields(row), self.data.spec)
        distance, spread = self.predicted(network, sample)
        if row in self.linear.fold_of:
            fold = self.linear.fold_of[row]
            distance = self._distance(self._linear(sample, self.linear, fold))
        near = (sample.skin.abs() < 3) & (sample.valid > 0) & (self.points_weight > 0.5)
        return (distance - sample.skin)[0, 0], spread[0, 0], near[0, 0]


def _regression(samples: MapSamples, means: MeanMaps, config: Config) -> LinearFit:
    """Fit the linear regression of skin on bone, both as differences to the mean maps."""
    people, rows = [], []
    for row in samples.data.rows("train"):
        for number in range(min(config.depthmap.copies, config.linear.copies)):
            people.append(row)
            rows.append(samples.copy(row, number).reshape(len(MAPS), -1))
    bone, hit, _, skin, valid = np.stack(rows, axis=1)
    bone = (bone - means.bone.reshape(1, -1).numpy()) * hit
    skin = skin - means.maker.mean_skin.reshape(1, -1).numpy()
    settings = replace(config.linear, feature_band_mm=np.inf)
    copies = Copies(bone, hit, skin, valid, np.array(people))
    return fit_linear(copies, means.weight.reshape(-1).numpy(), settings, near_mm=np.inf)
