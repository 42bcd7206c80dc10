"""Prepared people: what is stored of each, the manifest that lists them, and how they are read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facegen_inference.errors import UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.provenance import sha256_of

PREPARED_VERSION = 1
"""Version of what `facegen_training.cohort.prepare.prepare_case` stores; a change raises it."""
MANIFEST = "manifest.json"
_UNIT_MM = 0.01


@dataclass(frozen=True)
class Prepared:
    """One person in the manifest.

    Attributes
    ----------
    id, source, part
        See `facegen_training.cohort.cases.Case`.
    scan_sha256, prepared_sha256
        Of the scan's file and of the prepared array.
    frame_method, frame_residual_mm
        How the person was placed.
    """

    id: str
    source: str
    part: str
    scan_sha256: str
    prepared_sha256: str
    frame_method: str
    frame_residual_mm: float


def as_stored(fields: NDArray[Any]) -> NDArray[np.int16]:
    """Return fields in mm and 0/1 as `fields_of` stores them; the opposite of `as_tensor`."""
    units = np.array([_UNIT_MM, 1, _UNIT_MM, 1], dtype=fields.dtype).reshape(4, 1, 1, 1)
    return np.asarray(np.round(fields / units).astype(np.int16))


def as_tensor(stored: NDArray[np.int16]) -> Tensor:
    """Return stored fields as (4, Z, Y, X) float32: bone mm, observed, skin mm, valid."""
    fields = torch.from_numpy(stored).float()
    fields[0] *= _UNIT_MM
    fields[2] *= _UNIT_MM
    return fields


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write JSON under a temporary name and rename it."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(data, indent=1, sort_keys=True), encoding="utf-8")
    temporary.replace(path)


@dataclass(frozen=True)
class Dataset:
    """Prepared people, held in memory.

    Attributes
    ----------
    spec
        Of the preprocessing.
    people
        From the manifest.
    stored
        (4, Z, Y, X) int16 of each person, in the same order; see `fields_of`.
    manifest_sha256
        Of the manifest's file.
    """

    spec: PreprocessSpec
    people: tuple[Prepared, ...]
    stored: tuple[NDArray[np.int16], ...]
    manifest_sha256: str

    def rows(self, part: str) -> list[int]:
        """Return the positions of a part's people."""
        return [n for n, person in enumerate(self.people) if person.part == part]

    def fields(self, row: int) -> Tensor:
        """Return one person's fields as `as_tensor` does."""
        return as_tensor(self.stored[row])


def read_dataset(manifest: Path) -> Dataset:
    """Read prepared people.

    Raises
    ------
    UserError
        When the manifest or an array is missing, or an array is not the one that was written.
    """
    try:
        text = manifest.read_bytes()
        data = json.loads(text)
        people = tuple(Prepared(**row) for row in data["people"])
        spec = PreprocessSpec.from_json(json.dumps(data["spec"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{manifest.name} is not a manifest of prepared people.",
            "Run facegen-train prepare first and give the manifest it names.",
            reason=error,
        ) from error
    stored = []
    for person in people:
        path = manifest.parent / f"{person.id}.b2nd"
        if not path.is_file() or sha256_of(path) != person.prepared_sha256:
            raise UserError(
                f"The prepared array of {person.id} is missing or changed.",
                "Delete its .json file and run facegen-train prepare again.",
            )
        stored.append(np.asarray(blosc2.load_array(str(path))))
    return Dataset(spec, people, tuple(stored), hashlib.sha256(text).hexdigest())
