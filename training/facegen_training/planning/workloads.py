"""One training step of each network, without a cohort: what is counted, estimated and timed.

A step is what the learners of `facegen_training.networks` cost, on inputs of the right size that
hold nobody.  ``pix2pix3d`` is the full-volume baseline, CT to CT, which exists for planning and
for the benchmark only: its generator runs once a step, as the field's plan counts it, and the
discriminator three times.  The others are what ``facegen-train fit`` trains, and as it trains;
what they need is imported when they are wanted: the baseline runs where torch and MONAI are alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from facegen_inference.errors import UserError
from facegen_training.fitting.config import Config
from facegen_training.networks.pix2pix3d import Discriminator, Generator, Pix2PixConfig

if TYPE_CHECKING:
    from facegen_inference.preprocess import PreprocessSpec
    from facegen_training.fitting.augment import Sample

Batch = Mapping[str, Tensor]
Networks = Mapping[str, nn.Module]
Costs = Iterator[tuple[str, Tensor]]
Shape = tuple[int, int, int]
Inputs = Mapping[str, tuple[tuple[int, ...], str]]

FIELD_OF_VIEW_MM = 256.0
"""Height of the shipped input grid, whatever its number of slices."""


@dataclass(frozen=True)
class Request:
    """Which step.

    Attributes
    ----------
    network
        One of `WORKLOADS`.
    size
        (Z, Y, X) of the volume or of the input grid; without meaning for ``depthmap-cgan``.
    batch
        Samples.
    recompute
        Whether activations are computed again on the way back.
    config
        Of the networks that ``fit`` trains.
    volume
        Of the full-volume baseline.
    """

    network: str
    size: Shape
    batch: int = 1
    recompute: bool = False
    config: Config = field(default_factory=Config)
    volume: Pix2PixConfig = field(default_factory=Pix2PixConfig)

    @property
    def extent(self) -> tuple[int, ...]:
        """What the network works on: (Z, Y, X), or rows and columns of a depth map."""
        if self.network != "depthmap-cgan":
            return self.size
        return self.config.depthmap.geometry.rows, self.config.depthmap.geometry.columns


@dataclass(frozen=True)
class Workload:
    """One step.

    Attributes
    ----------
    players
        Networks that learn, in the order in which they move.
    fixed
        What lies beside them and does not learn.
    inputs
        Name → shape and kind: ``mm`` (lengths), ``unit`` (-1 to 1) or ``flag`` (0 or 1),
        ``radius`` (50 to 70 mm).
    costs
        Yields each player and its cost; the caller goes back through each before the next.
    """

    players: dict[str, nn.Module]
    fixed: tuple[nn.Module, ...]
    inputs: Inputs
    costs: Callable[[Networks, Batch], Costs]

    def batch(self, device: torch.device | str, seed: int = 0) -> dict[str, Tensor]:
        """Return random inputs on a device."""
        random = torch.Generator().manual_seed(seed)
        made = {}
        for name, (shape, kind) in self.inputs.items():
            values = torch.rand(shape, generator=random) * 2 - 1
            values = (values > -0.5).float() if kind == "flag" else values
            made[name] = (60 + 10 * values if kind == "radius" else values).to(device)
            if kind == "mm":
                made[name] *= 20
        return made

    def modules(self) -> list[nn.Module]:
        """Return all networks, learning or not."""
        return [*self.players.values(), *self.fixed]


def build_workload(request: Request, device: torch.device | str = "meta") -> Workload:
    """Return a step with its networks on a device; on ``meta`` they have sizes and no memory.

    Raises
    ------
    UserError
        For a network that is not known, or a size it cannot work on.
    """
    if request.network not in WORKLOADS:
        raise UserError(
            f"There is no network {request.network!r}.", f"Known: {', '.join(WORKLOADS)}."
        )
    if min(request.size) < 8 or request.batch < 1:
        raise UserError("A size must be at least 8 × 8 × 8, a batch 1.", "Correct the size.")
    return WORKLOADS[request.network](request, torch.device(device))


def run_step(
    workload: Workload,
    batch: Batch,
    precision: str,
    networks: Networks | None = None,
    after: Callable[[str], None] | None = None,
) -> None:
    """Run one step: each player's cost forth and back.

    Parameters
    ----------
    workload
        The step.
    batch
        Its inputs.
    precision
        ``bf16`` runs under autocast; with anything else the tensors are taken as they are.
    networks
        The players as wrapped or compiled; plain where left out.
    after
        Told each player whose gradients are there; forgetting them is its part.
    """
    device = next(iter(batch.values())).device.type
    half = precision == "bf16"
    costs = workload.costs(networks or workload.players, batch)
    while True:
        with torch.autocast(device, torch.bfloat16) if half else nullcontext():
            player, cost = next(costs, ("", None))
        if cost is None:
            return
        torch.autograd.backward(cost)
        del cost
        if after is None:
            workload.players[player].zero_grad()
        else:
            after(player)


def _volume(request: Request, device: torch.device) -> Workload:
    config = replace(request.volume, checkpointed=request.recompute)
    least = 3 * 2**config.patch_layers
    if min(request.size) < least:
        raise UserError(
            f"The discriminator needs at least {least} voxels along every axis.",
            "Choose a larger size.",
        )
    with device:
        players = {"discriminator": Discriminator(config), "generator": Generator(config)}
    shape = (request.batch, config.inputs, *request.size)
    inputs = {"skull": (shape, "unit"), "real": ((shape[0], config.outputs, *shape[2:]), "unit")}
    return Workload(dict(players), (), inputs, _volume_costs)


def _volume_costs(networks: Networks, batch: Batch) -> Costs:
    skull, real, judge = batch["skull"], batch["real"], networks["discriminator"]
    judge.requires_grad_(True)
    made = networks["generator"](skull)
    yield "discriminator", _told_apart(judge(skull, real), judge(skull, made.detach()))
    judge.requires_grad_(False)
    yield "generator", 100 * (made - real).abs().mean() + _fooled(judge(skull, made))


def _told_apart(yes: Tensor, no: Tensor) -> Tensor:
    return ((yes - 1) ** 2).mean() / 2 + (no**2).mean() / 2


def _fooled(verdict: Tensor) -> Tensor:
    return ((verdict - 1) ** 2).mean() / 2


def _coarse_inputs(request: Request) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the fields of a `Sample`, and each voxel's weight."""
    from facegen_training.fitting.augment import POOL

    shape = tuple(n // POOL for n in request.size)
    kinds = {"bone": "mm", "observed": "flag", "skin": "mm", "valid": "flag"}
    inputs: dict[str, tuple[tuple[int, ...], str]] = {
        name: ((request.batch, 1, *shape), kind) for name, kind in kinds.items()
    }
    return {**inputs, "weight": (shape, "flag")}


def _spec(request: Request) -> PreprocessSpec:
    from facegen_inference.preprocess import PreprocessSpec
    from facegen_training.fitting.augment import POOL

    if any(n % (2 * POOL) for n in request.size):
        raise UserError("The input grid must be divisible by four.", "Choose another size.")
    return PreprocessSpec(shape=request.size, spacing_mm=FIELD_OF_VIEW_MM / request.size[0])


def _sample(batch: Batch) -> Sample:
    from facegen_training.fitting.augment import Sample

    return Sample(*(batch[name] for name in ("bone", "observed", "skin", "valid")))


def _sdf(request: Request, device: torch.device) -> Workload:
    from facegen_training.fitting.losses import distance_error, near_skin, spread_likelihood
    from facegen_training.networks.sdf import SkullToFace

    config = request.config
    # How many voxels the linear part looks at is known after it was fitted; a step does not.
    fixed = SkullToFace(_spec(request), config.net, 1, config.linear.rank, config.linear.latents)
    fixed.to(device)
    correction = fixed.correction
    fixed.correction = nn.Identity()  # type: ignore[assignment]  # the player is on its own
    correction.recompute = request.recompute

    def costs(networks: Networks, batch: Batch) -> Costs:
        sample = _sample(batch)
        distance, spread = fixed.coarse(
            sample.bone, sample.observed, batch["start"], networks["correction"]
        )
        weight = near_skin(sample, batch["weight"], config.fit.band_mm)
        likelihood = spread_likelihood(distance, spread, sample, weight)
        error = distance_error(distance, sample, weight)
        del distance, spread, weight
        yield "correction", error + config.fit.spread_weight * likelihood

    inputs = _coarse_inputs(request)
    return Workload(
        {"correction": correction}, (fixed,), {**inputs, "start": inputs["bone"]}, costs
    )


def _volume_fit(request: Request, device: torch.device) -> Workload:
    from facegen_training.fitting.losses import near_skin
    from facegen_training.networks import pix2pix3d_learner as learner

    spec, settings = _spec(request), request.config.pix2pix3d
    size = learner.sizes(settings, request.recompute)
    with device:
        generator = learner.VolumeGenerator(spec, size, request.config.linear.latents)
        judge = learner.VolumeDiscriminator(replace(size, inputs=2), spec.clip_mm)

    def costs(networks: Networks, batch: Batch) -> Costs:
        sample, judge = _sample(batch), networks["discriminator"]
        judge.requires_grad_(True)
        with torch.no_grad():
            made = networks["generator"](sample.bone, sample.observed)
        yes, no = (judge(sample.bone, sample.observed, s) for s in (sample.skin, made))
        del made
        yield "discriminator", _told_apart(yes, no)
        del yes, no
        judge.requires_grad_(False)
        made = networks["generator"](sample.bone, sample.observed)
        off = (made.clamp(-spec.clip_mm, spec.clip_mm) - sample.skin).abs()
        l1 = (off * near_skin(sample, batch["weight"], request.config.fit.band_mm)).mean()
        verdict = judge(sample.bone, sample.observed, made)
        del made, off
        yield "generator", settings.l1_weight * l1 + settings.adversarial_weight * _fooled(verdict)

    players = {"discriminator": judge, "generator": generator}
    return Workload(players, (), _coarse_inputs(request), costs)


def _depth_maps(request: Request, device: torch.device) -> Workload:
    from facegen_training.networks.depthmap_cgan import UNIT_MM, MapDiscriminator, MapGenerator

    settings = request.config.depthmap
    generator = MapGenerator(settings, request.config.linear.latents).to(device)
    judge = MapDiscriminator(settings).to(device)

    def costs(networks: Networks, batch: Batch) -> Costs:
        bone, hit, judge = batch["bone"], batch["hit"], networks["discriminator"]
        judge.requires_grad_(True)
        with torch.no_grad():
            made = networks["generator"](bone, hit, batch["observed"])[0]
        yield "discriminator", _told_apart(judge(bone, hit, batch["skin"]), judge(bone, hit, made))
        judge.requires_grad_(False)
        skin, spread, read_back = networks["generator"](bone, hit, batch["observed"])
        off = skin - batch["skin"]
        likelihood = (spread.log() + (off.detach() / spread).clamp(-5, 5) ** 2 / 2).mean()
        bone_back = functional.avg_pool2d(bone * hit, settings.coarsest) / UNIT_MM
        cost = settings.l1_weight * (off.abs() * batch["valid"]).mean() / UNIT_MM
        cost = cost + settings.condition_weight * (read_back - bone_back).abs().mean()
        cost = cost + settings.spread_weight * likelihood
        yield "generator", cost + settings.adversarial_weight * _fooled(judge(bone, hit, skin))

    shape = (request.batch, 1, settings.geometry.rows, settings.geometry.columns)
    kinds = {"bone": "radius", "skin": "radius", "hit": "flag", "observed": "flag", "valid": "flag"}
    inputs = {name: (shape, kind) for name, kind in kinds.items()}
    return Workload({"discriminator": judge, "generator": generator}, (), dict(inputs), costs)


WORKLOADS: dict[str, Callable[[Request, torch.device], Workload]] = {
    "pix2pix3d": _volume,
    "pix2pix3d-fit": _volume_fit,
    "sdf": _sdf,
    "depthmap-cgan": _depth_maps,
}
"""Network → what builds its step; a new network needs one line here."""
