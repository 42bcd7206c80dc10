"""Prepared people who never were: egg-shaped heads, to try the whole of training without scans."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import blosc2
import numpy as np
from numpy.typing import NDArray

from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.provenance import sha256_of
from facegen_training.cohort.dataset import (
    MANIFEST,
    PREPARED_VERSION,
    Prepared,
    as_stored,
    write_json,
)

SOURCE = "synthetic"


def synthesize(folder: Path, spec: PreprocessSpec, people: int = 12, seed: int = 0) -> Path:
    """Write prepared synthetic people and return the manifest's path.

    Parameters
    ----------
    folder
        Where to write; made when missing.
    spec
        The input grid.
    people
        How many; every fifth goes to ``validation``, every fifth after it to ``test``.
    seed
        Start of the random numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    rows = []
    for number in range(people):
        name = f"synthetic_{number:03d}"
        path = folder / f"{name}.b2nd"
        blosc2.save_array(head(spec, random), str(path), mode="w")
        part = {3: "validation", 4: "test"}.get(number % 5, "train")
        digest = sha256_of(path)
        rows.append(asdict(Prepared(name, SOURCE, part, digest, digest, "given", 0.0)))
    manifest = {
        "spec": json.loads(spec.to_json()),
        "prepared_version": PREPARED_VERSION,
        "people": rows,
        "failed": {},
    }
    write_json(folder / MANIFEST, manifest)
    return folder / MANIFEST


def head(spec: PreprocessSpec, random: np.random.Generator) -> NDArray[np.int16]:
    """Return one head's fields, (4, Z, Y, X) int16, as `prepare.fields_of` does.

    A shell of bone and, over it, tissue that is thicker in front and below and by build.
    """
    grid = spec.grid
    points = grid.patient_points(np.indices(spec.shape).reshape(3, -1).T.astype(np.float64))
    points -= [0.0, -20.0, -10.0]
    radii = np.array([66.0, 84.0, 92.0]) * random.uniform(0.92, 1.08, 3)
    outer = _ellipsoid(points, radii)
    bone = np.maximum(outer, -7.0 - outer)
    build = random.normal()
    front = np.clip(-points[:, 1] / 90, 0, 1) + np.clip(-points[:, 2] / 90, 0, 1)
    skin = outer - (5.0 + 5.0 * front + 1.5 * build)
    clip = spec.clip_mm
    seen = np.ones(len(points))
    stack = np.stack([np.clip(bone, -clip, clip), seen, np.clip(skin, -clip, clip), seen])
    return as_stored(stack.reshape(4, *spec.shape))


def _ellipsoid(points: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an estimate of the signed distance to an ellipsoid, exact to first order, mm."""
    inner = np.linalg.norm(points / radii, axis=1)
    slope = np.linalg.norm(points / radii**2, axis=1)
    return np.asarray(inner * (inner - 1) / np.maximum(slope, 1e-6))
