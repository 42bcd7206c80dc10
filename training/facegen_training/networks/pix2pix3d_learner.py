"""How the volumetric baseline learns: a 3-D pix2pix from bone to the skin's signed distance.

Generator and discriminator are those of `facegen_training.networks.pix2pix3d` at a size that a
processor trains, on the coarse grid.  What the generator gives is added to the mean skin's
distance.  Cost after Isola et al., CVPR 2017: least-squares GAN and 100 times the mean absolute
error, here weighted towards the skin of the face.

pix2pix has no spread and its noise, dropout, does nothing: the linear regression of the
signed-distance network, whose mean this one starts from, gives both.  The spread is a field that
does not depend on the skull; the latent axes are the directions in which people differ from what
their bone says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import (
    POOL,
    Sample,
    coarse_points,
    plain_sample,
    random_sample,
)
from facegen_training.fitting.config import AugmentConfig, Config
from facegen_training.fitting.losses import face_weight, near_skin, surface_miss
from facegen_training.networks.baseline_config import VolumeGanConfig
from facegen_training.networks.learner import Batch, FaceNetwork, Networks
from facegen_training.networks.linear import LinearFit, fit_linear
from facegen_training.networks.linear_file import LINEAR, load_linear, save_linear
from facegen_training.networks.pix2pix3d import Discriminator, Generator, Pix2PixConfig
from facegen_training.networks.sdf import LEAST_SPREAD_MM, MOST_SPREAD_MM, up_matrix
from facegen_training.networks.sdf_learner import linear_copies

UNIT_MM = 10.0
"""The generator gives lengths in this unit."""
JUDGED_MM = 15.0
"""The discriminator sees distances up to this."""
FAR_WEIGHT = 0.05
"""Weight of a voxel far from the skin, or behind the face, beside 1 on the face's skin."""


def build(data: Dataset, config: Config, run: Path) -> VolumeGanLearner:
    """Return the learner, with the linear fit of the run, made now if there is none yet."""
    path = run / LINEAR
    if not path.exists():
        weight = face_weight(coarse_points(data.spec)).reshape(-1).numpy()
        save_linear(path, fit_linear(linear_copies(data, config), weight, config.linear))
    return VolumeGanLearner(data, config, load_linear(path))


def sizes(config: VolumeGanConfig, checkpointed: bool) -> Pix2PixConfig:
    """Return the networks' sizes; the condition is bone, observed and the mean skin."""
    return Pix2PixConfig(
        inputs=3,
        outputs=1,
        ngf=config.ngf,
        ndf=config.ndf,
        z_strides=(2,) * config.depth,
        patch_layers=config.patch_layers,
        squash=False,
        checkpointed=checkpointed,
    )


class VolumeGenerator(nn.Module):
    """The generator with what it starts from; means, latent and spread travel with the weights.

    Parameters
    ----------
    spec
        Of the input grid.
    config
        Sizes.
    latents
        Number of latent axes.
    """

    mean_skin: Tensor
    latent_fields: Tensor
    spread_field: Tensor

    def __init__(self, spec: PreprocessSpec, config: Pix2PixConfig, latents: int) -> None:
        super().__init__()
        shape = [n // POOL for n in spec.shape]
        self.clip_mm = spec.clip_mm
        for name in ("mean_skin", "spread_field"):
            self.register_buffer(name, torch.ones(1, 1, *shape))
        self.register_buffer("latent_fields", torch.zeros(latents, *shape))
        self.layers = Generator(config)

    def condition(self, bone: Tensor, observed: Tensor) -> Tensor:
        """Return what the layers see, (n, 3, Z, Y, X)."""
        mean = self.mean_skin.expand(len(bone), -1, -1, -1, -1)
        return torch.cat([bone / self.clip_mm, observed, mean / self.clip_mm], dim=1)

    def forward(self, bone: Tensor, observed: Tensor) -> Tensor:
        """Return the skin's signed distance, (n, 1, Z, Y, X) mm, not clipped."""
        change: Tensor = self.layers(self.condition(bone, observed))
        return self.mean_skin + UNIT_MM * change


class VolumeDiscriminator(nn.Module):
    """The PatchGAN, on bone, observed and a skin distance."""

    def __init__(self, config: Pix2PixConfig, clip_mm: float) -> None:
        super().__init__()
        self.clip_mm = clip_mm
        self.layers = Discriminator(config)

    def forward(self, bone: Tensor, observed: Tensor, skin: Tensor) -> Tensor:
        """Return (n, 1, z, y, x), high for real."""
        condition = torch.cat([bone / self.clip_mm, observed], dim=1)
        judged = skin.clamp(-JUDGED_MM, JUDGED_MM) / JUDGED_MM
        verdict: Tensor = self.layers(condition, judged)
        return verdict


class SkullToVolume(nn.Module):
    """The graph that is exported: input grid, coarse grid, generator, and back.

    Parameters
    ----------
    spec
        The input grid.
    generator
        Trained.
    """

    def __init__(self, spec: PreprocessSpec, generator: VolumeGenerator) -> None:
        super().__init__()
        self.spec = spec
        self.offset_mm = 0.0
        self.latent_size = len(generator.latent_fields)
        self.generator = generator
        for axis, count in zip("zyx", generator.mean_skin.shape[2:], strict=True):
            self.register_buffer(f"up_{axis}", up_matrix(count), persistent=False)

    def forward(self, skull: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return distance and spread, (1, 1, Z, Y, X) mm each, on the input grid.

        Parameters
        ----------
        skull
            (1, 2, Z, Y, X), what `facegen_inference.preprocess.preprocess` returns.
        latent
            (1, K); zero is most likely.
        """
        clip = self.spec.clip_mm
        observed = (functional.avg_pool3d(skull[:, 1:2], POOL) > 0.99).float()
        bone = functional.avg_pool3d(skull[:, :1], POOL)
        bone = bone * observed + clip * (1 - observed)
        moved = latent @ self.generator.latent_fields.flatten(1)
        distance = self.generator(bone, observed)
        distance = distance + moved.reshape(distance.shape) + self.offset_mm
        return (
            self._upsampled(distance).clamp(-clip, clip),
            self._upsampled(self.generator.spread_field).clamp(LEAST_SPREAD_MM, MOST_SPREAD_MM),
        )

    def _upsampled(self, x: Tensor) -> Tensor:
        x = x @ self.get_buffer("up_x").T
        x = (x.transpose(-1, -2) @ self.get_buffer("up_y").T).transpose(-1, -2)
        return (x.transpose(-1, -3) @ self.get_buffer("up_z").T).transpose(-1, -3)


@dataclass(frozen=True)
class VolumeSamples:
    """Makes samples in the loader's processes."""

    data: Dataset
    augment: AugmentConfig

    def __call__(self, row: int, random: np.random.Generator) -> dict[str, Tensor]:
        """Return `Sample`'s fields, (1, Z, Y, X) each."""
        sample = random_sample(self.data.fields(row), self.data.spec, self.augment, random)
        return {name: values[0] for name, values in vars(sample).items()}


class VolumeGanLearner:
    """Learns the volumetric GAN; see `facegen_training.networks.learner.Learner`."""

    face = "generator"

    def __init__(self, data: Dataset, config: Config, linear: LinearFit) -> None:
        self.data, self.config, self.linear = data, config, linear
        self.sample = VolumeSamples(data, config.augment)
        self.weight = face_weight(coarse_points(data.spec))
        size = sizes(config.pix2pix3d, config.fit.checkpoint_activations)
        generator = VolumeGenerator(data.spec, size, len(linear.latent))
        for buffer, values in (
            (generator.mean_skin, linear.whole.mean_skin),
            (generator.latent_fields, linear.latent),
            (generator.spread_field, linear.spread),
        ):
            buffer.copy_(torch.from_numpy(values).reshape(buffer.shape))
        self.players: dict[str, nn.Module] = {
            "discriminator": VolumeDiscriminator(replace(size, inputs=2), data.spec.clip_mm),
            "generator": generator,
        }

    def cost(
        self, player: str, networks: Networks, batch: Batch
    ) -> tuple[Tensor, dict[str, float]]:
        """Return what a batch costs: least-squares GAN (Mao et al. 2017) and mean absolute error.

        Where the skin is not known the generator's own stands in for the real one.
        """
        sample = Sample(*(batch[name] for name in ("bone", "observed", "skin", "valid")))
        distance = networks["generator"](sample.bone, sample.observed)
        judge = networks["discriminator"]
        if player == "discriminator":
            made = distance.detach()
            real = torch.where(sample.valid > 0, sample.skin, made)
            yes, no = (judge(sample.bone, sample.observed, s) for s in (real, made))
            cost = ((yes - 1) ** 2).mean() / 2 + (no**2).mean() / 2
            return cost, {"real": float(yes.detach().mean()), "made": float(no.detach().mean())}
        settings, face = self.config.pix2pix3d, self.weight.to(distance)
        weight = near_skin(sample, face, self.config.fit.band_mm) + FAR_WEIGHT * sample.valid
        clip = self.data.spec.clip_mm
        off = (distance.clamp(-clip, clip) - sample.skin).abs()
        l1 = (off * weight).sum() / weight.sum().clamp_min(1)
        adversarial = ((judge(sample.bone, sample.observed, distance) - 1) ** 2).mean() / 2
        cost = settings.l1_weight * l1 / UNIT_MM + settings.adversarial_weight * adversarial
        return cost, {
            "l1": float(l1.detach()) / UNIT_MM,
            "adversarial": float(adversarial.detach()),
            "miss_mm": float(surface_miss(distance.detach(), sample, face)),
        }

    @torch.no_grad()
    def validate(self, face: nn.Module) -> dict[str, float]:
        """Return the miss near the true skin of the validation people, mm.

        Also that of the linear regression and of the mean face.
        """
        network = self.network(face)
        misses = []
        for row in self.data.rows("validation"):
            sample = plain_sample(self.data.fields(row), self.data.spec)
            rows = sample.bone.reshape(1, -1).numpy(), sample.observed.reshape(1, -1).numpy()
            linear = torch.from_numpy(self.linear.whole.predict(*rows)).reshape(sample.skin.shape)
            made = network.generator(sample.bone, sample.observed)
            fields = (made, linear, network.generator.mean_skin)
            misses.append([float(surface_miss(f, sample, self.weight)) for f in fields])
        if not misses:
            return {}
        names = ("validation_mm", "validation_linear_mm", "validation_mean_face_mm")
        return dict(zip(names, np.mean(misses, axis=0).tolist(), strict=True))

    def network(self, face: nn.Module) -> SkullToVolume:
        """Return the graph to export."""
        size = sizes(self.config.pix2pix3d, checkpointed=False)
        generator = VolumeGenerator(self.data.spec, size, len(self.linear.latent))
        generator.load_state_dict({key: value.cpu() for key, value in face.state_dict().items()})
        return SkullToVolume(self.data.spec, generator).eval()

    @torch.no_grad()
    def unseen(self, row: int, network: FaceNetwork) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return miss, spread and near-skin mask, (Z, Y, X) each on the coarse grid.

        Of the part ``validation`` only: the network has seen the others, and need not be better
        than the linear regression which left them out.
        """
        if self.data.people[row].part != "validation":
            return None
        assert isinstance(network, SkullToVolume)
        sample = plain_sample(self.data.fields(row), self.data.spec)
        distance = network.generator(sample.bone, sample.observed) + network.offset_mm
        spread = network.generator.spread_field.clamp(LEAST_SPREAD_MM, MOST_SPREAD_MM)
        near = (sample.skin.abs() < 3) & (sample.valid > 0) & (self.weight > 0.5)
        return (distance - sample.skin)[0, 0], spread[0, 0], near[0, 0]
