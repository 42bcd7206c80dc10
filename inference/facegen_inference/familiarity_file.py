"""What a model file holds of its training people's skulls, so that it can tell a strange one.

It travels in the model file's metadata under a key of its own: the space of the skulls
(`facegen_inference.skull_space`), and for each measure how far it may go.  A file without it is
used as before, and the face says that nothing was measured.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from math import prod
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facegen_inference.errors import ModelError
from facegen_inference.registration import Points, surface_points
from facegen_inference.skull_space import SkullSpace
from facegen_inference.volume import Grid

FAMILIARITY_KEY = "facegen_familiarity"
MAX_BYTES = 1 << 20
MEAN_UNIT_MM, UNKNOWN = 0.05, -32768
MARGIN_MM = 2.0
"""Directions are kept where the mean lies so far inside the clipped distances."""
SURFACE_POINTS = 3000

Measure = Literal[
    "size",
    "face_size",
    "proportion",
    "misfit_mm",
    "far_percent",
    "upper_far_percent",
    "shape_sd",
    "missing_percent",
    "turned_deg",
    "moved_mm",
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Limits(_Strict):
    """How far one measure may go; None where it never counts."""

    warn_below: float | None = None
    warn_above: float | None = None
    refuse_below: float | None = None
    refuse_above: float | None = None


class Counted(_Strict):
    """People left out in turn, measured in the space of the others: how many were called strange.

    ``partial`` are the same people with bone or field of view taken away.
    """

    people: int = Field(ge=0)
    warned: int = Field(ge=0)
    refused: int = Field(ge=0)
    partial: int = Field(ge=0)
    partial_warned: int = Field(ge=0)
    partial_refused: int = Field(ge=0)
    note: str = Field(max_length=1000)


class Familiarity(_Strict):
    """The training people's skulls and how far another may lie from them.

    Attributes
    ----------
    people
        How many made the space.
    youngest
        Age of the youngest, years; None where ages are not labelled.
    shape, spacing_mm, origin_mm
        Its grid, (k, j, i) = (z, y, x) of the Frankfurt frame, as in a `PreprocessSpec`.
    clip_mm
        Of the distances.
    direction_mm
        Unit of each direction's whole numbers.
    packed
        Base 64 of zlib: the mean as int16 in units of `MEAN_UNIT_MM`, `UNKNOWN` where too few
        people were scanned; then for each direction
        int8 over the voxels where the mean is nearer to bone than ``clip_mm`` less `MARGIN_MM`.
    limits
        Measure (`facegen_inference.skull_space.Place`; ``proportion`` is the face's size over the
        whole's) → how far it may go.
    counted
        How the limits were found.
    """

    familiarity_version: Literal[1] = 1
    people: int = Field(ge=1)
    youngest: float | None = Field(default=None, ge=0, le=120)
    shape: tuple[int, int, int]
    spacing_mm: float = Field(ge=1, le=16)
    origin_mm: tuple[float, float, float]
    clip_mm: float = Field(ge=5, le=40)
    direction_mm: tuple[float, ...] = Field(min_length=1, max_length=64)
    packed: str = Field(max_length=MAX_BYTES)
    limits: dict[Measure, Limits]
    counted: Counted

    @property
    def grid(self) -> Grid:
        """Grid of the space."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.spacing_mm * np.eye(3)[:, ::-1]
        matrix[:3, 3] = self.origin_mm
        return Grid(self.shape, matrix)

    def space(self) -> SkullSpace:
        """Unpack the space.

        Raises
        ------
        ModelError
            When the packed numbers are not what the grid needs.
        """
        voxels = prod(self.shape)
        count = len(self.direction_mm)
        if min(self.shape) < 4 or voxels > 1 << 20:
            raise _damaged("its grid")
        data = _unpacked(self.packed, 2 * voxels + count * voxels)
        if len(data) < 2 * voxels:
            raise _damaged("its length")
        whole = np.frombuffer(data[: 2 * voxels], dtype="<i2")
        mean = whole.astype(np.float32) * MEAN_UNIT_MM
        mean[whole == UNKNOWN] = np.nan
        band = np.abs(mean) < self.clip_mm - MARGIN_MM
        rest = np.frombuffer(data[2 * voxels :], dtype=np.int8)
        if len(rest) != count * band.sum():
            raise _damaged("its length")
        directions = np.zeros((count, voxels), dtype=np.float32)
        units = np.array(self.direction_mm, dtype=np.float32)
        directions[:, band] = rest.reshape(count, -1) * units[:, None]
        mean = mean.reshape(self.shape)
        surface = known_surface(mean, self.grid)
        if len(surface) < SURFACE_POINTS // 10:
            raise _damaged("no bone in it")
        return SkullSpace(
            mean, directions.reshape(count, *self.shape), self.grid, self.clip_mm, surface
        )

    def to_json(self) -> str:
        """Return it as JSON."""
        return self.model_dump_json()


def known_surface(mean: np.ndarray, grid: Grid) -> Points:
    """Return about `SURFACE_POINTS` points of the mean skull, where it is known, (M, 3) mm."""
    surface = surface_points(mean, grid, SURFACE_POINTS)
    return np.asarray(surface[np.isfinite(surface).all(axis=1)])


def packed(mean: np.ndarray, directions: np.ndarray, clip_mm: float) -> tuple[str, list[float]]:
    """Pack a mean, (k, j, i) mm or NaN, and directions, (n, k, j, i) mm; return units as well."""
    known = np.where(np.isfinite(mean), np.clip(mean, -clip_mm, clip_mm), UNKNOWN * MEAN_UNIT_MM)
    whole = np.round(known / MEAN_UNIT_MM).astype("<i2")
    band = np.abs(whole.astype(np.float32) * MEAN_UNIT_MM) < clip_mm - MARGIN_MM
    parts, units = [whole.tobytes()], []
    for direction in directions:
        values = direction[band]
        unit = float(np.float32(max(np.abs(values).max(), 1e-3) / 127))
        parts.append(np.round(values / unit).astype(np.int8).tobytes())
        units.append(unit)
    return base64.b64encode(zlib.compress(b"".join(parts), 9)).decode("ascii"), units


def read_familiarity(text: str) -> Familiarity:
    """Read what `Familiarity.to_json` wrote, and unpack it once to see that it holds.

    Raises
    ------
    ModelError
        When it is too large, damaged, or written by a newer program.
    """
    if len(text.encode()) > MAX_BYTES:
        raise _damaged("its size")
    try:
        found = Familiarity.model_validate_json(text)
    except (ValidationError, RecursionError) as error:
        where = ""
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or first["msg"]
        raise _damaged(where or "the start", error) from error
    found.space()
    return found


def _unpacked(text: str, most: int) -> bytes:
    try:
        engine = zlib.decompressobj()
        data = engine.decompress(base64.b64decode(text, validate=True), most)
        if engine.unconsumed_tail or not engine.eof:
            raise _damaged("its length")
    except (binascii.Error, ValueError, zlib.error) as error:
        raise _damaged("its numbers", error) from error
    return data


def _damaged(where: str, reason: Exception | None = None) -> ModelError:
    return ModelError(
        f"What the model file holds of its training skulls cannot be used (at: {where}).",
        "Use a FaceGen at least as new as the model, or another model.",
        reason=reason,
    )
