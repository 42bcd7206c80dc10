"""The model card: what a model file says of itself, checked before anything is believed."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from facegen_inference.errors import ModelError
from facegen_inference.face_region import REGION_NAMES

CARD_KEY = "facegen_card"
SPEC_KEY = "facegen_spec"
MAX_CARD_BYTES = 256 * 1024
PREDICTS = "skin signed distance, mm"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ErrorRow(_Strict):
    """Held-out error of one method over people; distances in mm, shares in percent."""

    method: str = Field(max_length=80)
    people: int = Field(ge=0)
    mean_mm: float = Field(ge=0)
    median_mm: float = Field(ge=0)
    p95_mm: float = Field(ge=0)
    below_2mm_percent: float = Field(ge=0, le=100)
    below_2_5mm_percent: float = Field(ge=0, le=100)


SHARP_VOXEL_MM, COARSE_VOXEL_MM = 1.0, 3.8
"""Voxel sides between which bone goes from sharp to as blurred as in the training scans."""


class RegionBands(_Strict):
    """Factors on the bands in one named region of the face (`face_region.REGION_NAMES`)."""

    name: str = Field(min_length=1, max_length=40)
    factor50: float = Field(gt=0, lt=10)
    factor90: float = Field(gt=0, lt=10)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        """Refuse a region that the program has not: its factors would go unused."""
        if name not in REGION_NAMES[1:]:
            raise ValueError(f"there is no region called {name}")
        return name


TENTH_SD = 1.2816
"""A Gaussian's 90 % quantile in standard deviations; its 10 % quantile is minus this."""


class Calibration(_Strict):
    """How the predicted spread becomes bands; factors of 1 mean a plain Gaussian.

    ``factor50`` and ``factor90`` hold for the whole face, ``regions`` where they say more;
    between regions the program blends (`bands.Bands`).

    ``offset_mm`` is already in the model's distances: by how much they were raised so that the
    people it was measured on are neither too full nor too thin on average.  ``sharp_mm`` is how
    much deeper the model puts the skin on a scan of `SHARP_VOXEL_MM` than on the same scan
    coarsened to voxels like those it learned from; the program takes it back (`raised_mm`).
    ``thin_sd`` and ``heavy_sd`` are the values of the latent's first axis that put the mean depth
    of tissue over the face where one in ten of the people left out has less, and one in ten more.
    """

    factor50: float = Field(gt=0, lt=10)
    factor90: float = Field(gt=0, lt=10)
    offset_mm: float = Field(default=0.0, gt=-5, lt=5)
    sharp_mm: float = Field(default=0.0, ge=0, lt=5)
    regions: tuple[RegionBands, ...] = Field(default=(), max_length=20)
    thin_sd: float = Field(default=-TENTH_SD, gt=-10, lt=0)
    heavy_sd: float = Field(default=TENTH_SD, gt=0, lt=10)
    people: int = Field(ge=0)
    note: str = Field(max_length=1000)


def raised_mm(calibration: Calibration, voxel_mm: float) -> float:
    """Return by how much to raise the skin over a scan whose coarsest voxel side is `voxel_mm`.

    All of ``sharp_mm`` up to `SHARP_VOXEL_MM`, nothing from `COARSE_VOXEL_MM` on, in proportion
    between them.
    """
    share = (COARSE_VOXEL_MM - voxel_mm) / (COARSE_VOXEL_MM - SHARP_VOXEL_MM)
    return calibration.sharp_mm * min(max(share, 0.0), 1.0)


class Population(_Strict):
    """Who the model was trained on."""

    people: int = Field(ge=1)
    description: str = Field(max_length=4000)
    counts: dict[str, int]


class Source(_Strict):
    """One source of training data, as the allow-list has it."""

    name: str = Field(max_length=200)
    licence: str = Field(max_length=200)
    attribution: str = Field(max_length=2000)


class ModelCard(_Strict):
    """What a model is, on whom it was trained, how good it is, and what it is for."""

    card_version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=120)
    version: str = Field(pattern=r"^\d+\.\d+\.\d+([-+.][0-9A-Za-z.-]+)?$", max_length=40)
    predicts: Literal["skin signed distance, mm"] = "skin signed distance, mm"
    training_population: Population
    held_out: tuple[ErrorRow, ...]
    held_out_note: str = Field(max_length=4000)
    calibration: Calibration
    latent: tuple[str, ...] = Field(max_length=64)
    intended_use: str = Field(min_length=1, max_length=4000)
    limits: tuple[str, ...] = Field(min_length=1, max_length=50)
    licence: str = Field(min_length=1, max_length=200)
    sources: tuple[Source, ...] = Field(min_length=1, max_length=100)
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    def to_json(self) -> str:
        """Return the card as JSON."""
        return self.model_dump_json()

    def as_data(self) -> dict[str, object]:
        """Return the card as plain data for `Face.model` and reports."""
        return self.model_dump(mode="json")


def read_card(text: str) -> ModelCard:
    """Read a card from a model file's metadata.

    Raises
    ------
    ModelError
        When it is too large, not a card, or has keys that this version does not know.
    """
    advice = "Use a FaceGen at least as new as the model, or another model."
    if len(text.encode()) > MAX_CARD_BYTES:
        raise ModelError("The model card is larger than a card can be.", advice)
    try:
        return ModelCard.model_validate_json(text)
    except (ValidationError, RecursionError) as error:
        where = ""
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or first["msg"]
        raise ModelError(
            f"The model card is not one that this program knows (at: {where or 'the start'}).",
            advice,
            reason=error,
        ) from error
