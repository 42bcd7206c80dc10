"""Every setting of a training run, typed; read from one TOML file, unknown keys refused."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from facegen_inference.errors import UserError
from facegen_training.networks.baseline_config import DepthmapConfig, VolumeGanConfig

T = TypeVar("T")

NETWORKS = ("sdf", "pix2pix3d", "depthmap-cgan")
PRECISIONS = ("fp32", "tf32", "bf16")
STRATEGIES = ("auto", "ddp", "fsdp2")


@dataclass(frozen=True)
class AugmentConfig:
    """What is random in a training sample; lengths in mm, chances 0..1.

    Attributes
    ----------
    mirror
        Chance of a left-right mirrored copy.
    rotation_deg, shift_mm
        Largest error of the frame, per axis.
    scale
        Largest relative change of size.
    bend_mm
        Standard deviation of the smooth deformation of skull and skin together.
    level_mm
        Largest offset of the bone surface, as another bone level would make it.
    mandible, teeth, hole, crop
        Chance of each damage.
    """

    mirror: float = 0.5
    rotation_deg: float = 3.0
    shift_mm: float = 3.0
    scale: float = 0.03
    bend_mm: float = 1.5
    level_mm: float = 0.8
    mandible: float = 0.12
    teeth: float = 0.1
    hole: float = 0.25
    crop: float = 0.2


@dataclass(frozen=True)
class LinearConfig:
    """The linear prediction that the network starts from.

    Attributes
    ----------
    copies
        Augmented copies of each person to fit on.
    rank
        Components kept.
    ridges
        Ridge strengths tried, relative to the mean eigenvalue; the best by person wins.
    folds
        People are left out in this many groups, for the ridge and for the network's training.
    influence_mm
        Where a difference to the mean bone loses influence: ``d * exp(-(d / influence)^2)``.
    feature_band_mm
        Voxels within this distance of the mean bone are looked at.
    latents
        Number of latent axes.
    """

    copies: int = 8
    rank: int = 32
    ridges: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    folds: int = 5
    influence_mm: float = 12.0
    feature_band_mm: float = 8.0
    latents: int = 3


@dataclass(frozen=True)
class WindowedConfig:
    """The windowed ridge that is averaged with the network (of ``sdf``).

    Attributes
    ----------
    share
        Its share in the prediction, 0 to 1; with 0 there is none.
    windows_mm
        Widths (SD) of the Gaussian windows in which bone speaks for skin; besides, it does so over
        the whole head.
    rank
        Principal directions of the bone that are kept.
    ridges
        Strengths tried, relative to the kernel's mean diagonal; the best on people left out wins.
    influence_mm, feature_band_mm
        See `LinearConfig`.
    skin_band_mm
        Places this near to the mean skin are predicted; farther ones keep the mean.
    """

    share: float = 0.0
    windows_mm: tuple[float, ...] = (12.0, 32.0)
    rank: int = 96
    ridges: tuple[float, ...] = (1.0, 2.5)
    influence_mm: float = 20.0
    feature_band_mm: float = 25.0
    skin_band_mm: float = 14.0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise UserError("The setting windowed.share must be from 0 to below 1.", "Correct it.")


@dataclass(frozen=True)
class TemplateConfig:
    """The template of `facegen_training.template` that is averaged with a network.

    Attributes
    ----------
    share
        Its share in the face, 0 to 1; with 0 there is none.  It is fitted with the export, on the
        people that the network learned from.
    """

    share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise UserError("The setting template.share must be from 0 to below 1.", "Correct it.")


@dataclass(frozen=True)
class NetConfig:
    """The correcting network: channels at its first level and number of levels."""

    width: int = 24
    levels: int = 3


@dataclass(frozen=True)
class FitConfig:
    """The loop and the machine it runs on.

    Attributes
    ----------
    steps, batch, accumulate
        A step learns from ``batch * accumulate`` samples on each rank, `batch` of them at a time.
    learning_rate, weight_decay, betas, warmup_steps
        Of AdamW, one for each player; the rate rises over `warmup_steps` and falls as a cosine.
    clip
        Gradients longer than this are shortened to it.
    seed
        Everything random follows from it, the step, the rank and the place in the batch.
    average
        Decay of the running average of the weights; the average is what is exported.
    spread_weight
        Weight of the spread's likelihood beside the distance's error.
    band_mm
        Voxels farther than about this from the true skin hardly count.
    checkpoint_every, validate_every
        Steps.
    bad_steps, rollbacks
        After this many steps in a row whose gradient is not finite the run goes back to its last
        checkpoint with half the rate; it gives up when that has happened `rollbacks` times.
    precision
        "fp32", "tf32" (fp32 with TF32 products where the GPU has them) or "bf16" (autocast).
    deterministic
        Use no operator whose result depends on the order of threads; torch warns where it has no
        other (some on GPUs).
    channels_last, checkpoint_activations, compile
        Speed and memory: channels last in memory, activations computed again on the way back,
        torch.compile.  Compiled, a step of the shipped size took 0.31 s instead of 0.49 on two
        busy cores, after 39 s of compiling; it needs a C++ compiler, and results may differ in
        their last bits (``facegen-train benchmark --compile`` measures a machine).
    strategy
        "ddp" (weights on every rank), "fsdp2" (weights shared out) or "auto" ("ddp" for several).
    devices, nodes
        Ranks on each node and nodes; 0 asks Slurm or torchrun, and else takes every GPU, or the
        CPU once.
    workers, threads
        Processes that make samples for each rank: 0 for none, -1 for none on a CPU and what the
        cores allow beside a GPU.  Threads of the CPU; 0 leaves the choice to torch.
    rank_timeout_minutes
        After so long without an answer a rank counts as lost.
    tensorboard, pictures
        Whether to keep curves for tensorboard, and of how many people of the part ``validation``
        to draw the predicted face with each validation.
    """

    steps: int = 3000
    batch: int = 2
    accumulate: int = 1
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    betas: tuple[float, ...] = (0.9, 0.999)
    warmup_steps: int = 50
    clip: float = 1.0
    seed: int = 0
    average: float = 0.995
    spread_weight: float = 0.2
    band_mm: float = 8.0
    checkpoint_every: int = 100
    validate_every: int = 200
    bad_steps: int = 5
    rollbacks: int = 3
    precision: str = "fp32"
    deterministic: bool = True
    channels_last: bool = False
    checkpoint_activations: bool = False
    compile: bool = False
    strategy: str = "auto"
    devices: int = 0
    nodes: int = 0
    workers: int = -1
    threads: int = 0
    rank_timeout_minutes: float = 30.0
    tensorboard: bool = True
    pictures: int = 2

    def __post_init__(self) -> None:
        _choose("fit.precision", self.precision, PRECISIONS)
        _choose("fit.strategy", self.strategy, STRATEGIES)
        for name in ("steps", "batch", "accumulate", "checkpoint_every", "validate_every"):
            if getattr(self, name) < 1:
                raise UserError(f"The setting fit.{name} must be at least 1.", "Correct it.")
        if len(self.betas) != 2:
            raise UserError("The setting fit.betas must hold two numbers.", "Correct it.")


MACHINE = (
    "compile",
    "devices",
    "nodes",
    "pictures",
    "rank_timeout_minutes",
    "strategy",
    "tensorboard",
    "threads",
    "workers",
)
"""Settings of `FitConfig` that a run may be resumed with changed: they say where it runs."""


@dataclass(frozen=True)
class Config:
    """One training run; ``network`` is one of `NETWORKS`."""

    name: str = "face-field"
    network: str = "sdf"
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    linear: LinearConfig = field(default_factory=LinearConfig)
    windowed: WindowedConfig = field(default_factory=WindowedConfig)
    net: NetConfig = field(default_factory=NetConfig)
    template: TemplateConfig = field(default_factory=TemplateConfig)
    depthmap: DepthmapConfig = field(default_factory=DepthmapConfig)
    pix2pix3d: VolumeGanConfig = field(default_factory=VolumeGanConfig)
    fit: FitConfig = field(default_factory=FitConfig)

    def __post_init__(self) -> None:
        _choose("network", self.network, NETWORKS)

    def as_data(self) -> dict[str, Any]:
        """Return the settings as plain data, as JSON gives them back."""
        return dict(json.loads(json.dumps(asdict(self))))


def _choose(where: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise UserError(f"The setting {where} cannot be {given!r}.", f"Known: {', '.join(known)}.")


def shipped_recipe() -> Path:
    """Return the settings that the shipped model was made with."""
    return Path(str(files("facegen_training") / "runs" / "face.toml"))


def read_config(path: Path) -> Config:
    """Read a TOML file of settings; what it leaves out keeps its default.

    Raises
    ------
    UserError
        For an unreadable file, an unknown key or a value of the wrong kind.
    """
    return config_from_data(read_toml(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises
    ------
    UserError
        When it is not there, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path.name} there.", "Check the path.") from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path.name} cannot be read as TOML.", f"Check the file: {error}", reason=error
        ) from error


def config_from_data(data: dict[str, Any]) -> Config:
    """Build the settings from plain data; see `read_config`."""
    return _build(Config, data, "")


def _build(kind: type[T], data: object, where: str) -> T:
    if not isinstance(data, dict):
        raise UserError(f"The setting {where} must be a table.", "See config.py for the settings.")
    defaults = {f.name: getattr(kind(), f.name) for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(defaults))
    if unknown:
        raise UserError(
            f"Unknown setting {where}{unknown[0]}.", f"Known here: {', '.join(sorted(defaults))}."
        )
    values = {key: _value(defaults[key], data[key], f"{where}{key}") for key in data}
    return kind(**values)


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word in quotes",
    tuple: "a list in square brackets",
}


def _value(default: object, given: object, where: str) -> object:
    if is_dataclass(default):
        return _build(type(default), given, f"{where}.")
    if isinstance(default, tuple) and isinstance(given, list | tuple):
        return tuple(_value(default[0], item, where) for item in given)
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if isinstance(default, float) and number:
        return float(given)  # type: ignore[arg-type]
    if type(given) is not type(default):
        raise UserError(
            f"The setting {where} must be {_KINDS[type(default)]}.", f"It is {given!r}."
        )
    return given
