"""Prepared people: what is stored of each, the manifest that lists them, and how they are read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facegen_inference.errors import UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.array_cache import CACHE_BYTES, ArrayCache, StoredArray
from facegen_training.cohort.arrays import ENCRYPTED, PLAIN, write_whole
from facegen_training.cohort.exclude import read_exclusions
from facegen_training.cohort.key import Key, read_key

if TYPE_CHECKING:
    from torch import Tensor

PREPARED_VERSION = 3
"""Version of what `facegen_training.cohort.prepare.fields_of` returns; a change raises it."""
MANIFEST = "manifest.json"
_UNIT_MM = 0.01


@dataclass(frozen=True)
class Prepared:
    """One scan in the manifest.

    Attributes
    ----------
    id, source, part
        See `facegen_training.cohort.cases.Case`; of a lab's own scan the id is a pseudonym.
    scan_sha256, prepared_sha256
        Of the scan's file and of the file of arrays.  Of a lab's own scan the former is an HMAC
        under the cohort's key, so that nobody without it can look a scan up.
    frame_method, frame_residual_mm
        How the person was placed.
    person
        Whose scan it is, a pseudonym; empty where there is one scan a person and id names both.
    profile
        Sex, age and build as far as the lab's list says.
    flags
        Sentences for whoever checks the contact sheet.
    masks
        Digest of the stored masks that were left out (`facegen_training.cohort.masks`).
    """

    id: str
    source: str
    part: str
    scan_sha256: str
    prepared_sha256: str
    frame_method: str
    frame_residual_mm: float
    person: str = ""
    profile: dict[str, str | float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    masks: str = ""

    @property
    def whose(self) -> str:
        """The person: `person`, or the id where there is none."""
        return self.person or self.id


def as_stored(fields: NDArray[Any]) -> NDArray[np.int16]:
    """Return fields in mm and 0/1 as `fields_of` stores them; the opposite of `as_tensor`."""
    units = np.array([_UNIT_MM, 1, _UNIT_MM, 1], dtype=fields.dtype).reshape(4, 1, 1, 1)
    return np.asarray(np.round(fields / units).astype(np.int16))


def as_tensor(stored: NDArray[np.int16]) -> Tensor:
    """Return stored fields as (4, Z, Y, X) float32: bone mm, observed, skin mm, valid."""
    import torch  # here, not above: whoever only prepares need not load it

    fields = torch.from_numpy(stored.astype(np.float32))
    fields[0] *= _UNIT_MM
    fields[2] *= _UNIT_MM
    return fields


def json_bytes(data: dict[str, Any]) -> bytes:
    """Return JSON as `write_json` writes it: the same data give the same bytes."""
    return json.dumps(data, indent=1, sort_keys=True).encode("utf-8")


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write JSON under a temporary name and rename it."""
    write_whole(path, json_bytes(data))


@dataclass(frozen=True)
class Dataset:
    """Prepared people, read one by one as they are asked for.

    May be sent to other processes: the cache stays behind, each process has its own.

    Attributes
    ----------
    spec
        Of the preprocessing.
    people
        From the manifest.
    stored
        Each person's (4, Z, Y, X) int16 (see `fields_of`), in the same order: in memory, or where
        it lies.
    manifest_sha256
        Of the manifest's file, and of what was excluded since.
    cache
        Keeps arrays read lately.
    """

    spec: PreprocessSpec
    people: tuple[Prepared, ...]
    stored: tuple[NDArray[np.int16] | StoredArray, ...]
    manifest_sha256: str
    cache: ArrayCache = field(default_factory=ArrayCache, repr=False, compare=False)

    def rows(self, part: str) -> list[int]:
        """Return the positions of a part's people."""
        return [n for n, person in enumerate(self.people) if person.part == part]

    def array(self, row: int) -> NDArray[np.int16]:
        """Return one person's stored fields, (4, Z, Y, X) int16, not to be written to.

        Raises
        ------
        UserError
            When the file is missing, changed, or encrypted with another key.
        """
        stored = self.stored[row]
        return self.cache.get(stored) if isinstance(stored, StoredArray) else stored

    def fields(self, row: int) -> Tensor:
        """Return one person's fields as `as_tensor` does."""
        return as_tensor(self.array(row))


def read_dataset(
    manifest: Path, key: Path | None = None, cache_bytes: int = CACHE_BYTES
) -> Dataset:
    """Open prepared people; their arrays are read, and their hashes checked, when first wanted.

    Parameters
    ----------
    manifest
        What ``facegen-train prepare`` printed.
    key
        Key file of an encrypted cohort; see `facegen_training.cohort.key.find_key`.
    cache_bytes
        How much memory may be used to keep arrays.

    Raises
    ------
    UserError
        When the manifest is missing or damaged, an array is missing, the people were wiped, may
        no longer be used, or the key is another.
    """
    data = read_manifest(manifest)
    _check_usable(data)
    try:
        people = tuple(_person(row) for row in data["people"])
        spec = PreprocessSpec.from_json(json.dumps(data["spec"]))
    except (KeyError, TypeError) as error:
        raise _no_manifest(manifest, error) from error
    opened = _key_of(data, key)
    digest, out = manifest_digest(data), read_exclusions(manifest.parent, data)
    if out:
        people = tuple(p for p in people if p.id not in out and p.whose not in out)
        digest = hashlib.sha256(f"{digest} {sorted(out)}".encode()).hexdigest()
    stored = tuple(_stored(manifest.parent, person, opened) for person in people)
    return Dataset(spec, people, stored, digest, ArrayCache(cache_bytes))


def read_manifest(manifest: Path) -> dict[str, Any]:
    """Return a manifest's content.

    Raises
    ------
    UserError
        When it is not a manifest.
    """
    try:
        data = json.loads(manifest.read_bytes())
        if not isinstance(data, dict) or not {"people", "spec"} <= data.keys():
            raise ValueError("no people")
    except (OSError, ValueError) as error:
        raise _no_manifest(manifest, error) from error
    return data


def manifest_digest(data: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest, less what was noted about wiping it."""
    kept = {name: value for name, value in data.items() if name != "wiped"}
    return hashlib.sha256(json_bytes(kept)).hexdigest()


def _no_manifest(manifest: Path, reason: Exception) -> UserError:
    return UserError(
        f"{manifest.name} is not a manifest of prepared people.",
        "Run facegen-train prepare first and give the manifest it names.",
        reason=reason,
    )


def _person(row: dict[str, Any]) -> Prepared:
    return Prepared(**{**row, "flags": tuple(row.get("flags", ()))})


def _check_usable(data: dict[str, Any]) -> None:
    """Refuse people who were wiped or whose time is over."""
    if data.get("wiped"):
        raise UserError(
            f"These people were wiped on {data['wiped']['time'][:10]}.", "Prepare them again."
        )
    until = data.get("retain_until")
    if until and date.fromisoformat(until) < date.today():
        raise UserError(
            f"These people were to be kept until {until} and may not be trained on any more.",
            "Wipe them with facegen-train prepare --wipe, or prepare again with a later date.",
        )


def _key_of(data: dict[str, Any], path: Path | None) -> Key | None:
    if not data.get("encrypted"):
        return None
    key = read_key(path)
    if key.id != data.get("key_id"):
        raise UserError(
            "The key is not the one these people were prepared with.",
            "Give that key with --key or in FACEGEN_KEY.",
        )
    return key


def _stored(folder: Path, person: Prepared, key: Key | None) -> StoredArray:
    path = folder / f"{person.id}{ENCRYPTED if key else PLAIN}"
    if not path.is_file():
        raise UserError(
            f"The prepared array of {person.id} is missing.", "Run facegen-train prepare again."
        )
    return StoredArray(path, person.id, person.prepared_sha256, key)
