"""How exactly the skin itself is known in each kind of scan: the floor under every score.

A sharp head is coarsened to larger voxels and measured against itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from facegen_inference.compare import compare
from facegen_inference.errors import UserError
from facegen_inference.face_region import region_definition
from facegen_inference.reconstruct import prepare
from facegen_inference.scan import Scan
from facegen_inference.skin import skin_distance, skin_level, skin_surface
from facegen_inference.volume import AIR_HU, Grid, Volume, resample
from facegen_training.cohort.dataset import write_json
from facegen_training.cohort.masks import masked_volume, masks_digest
from facegen_training.evaluation.people import Subject
from facegen_training.evaluation.protocol import PROTOCOL

COARSE_MM = (3.0, 4.6, 4.6)
"""Voxels (k, j, i) of a typical radiotherapy planning CT of the project's coarse source."""
BLUR_MM = 1.1
"""Sigma in the slice of the scans that the coarse source was sampled from.

Where air and tissue meet inside the head, untouched by the body mask, 50 % of the steps from below
-800 to above -200 HU along rows and columns have a voxel between (0.50 +- 0.05 in 92 people): as
after this blur.  A mean over the voxel would give 68 %, the sharp head's own points 30 %.
"""
SHARP_MM = 1.25
"""A scan with no voxel edge above this can serve as the sharp head."""

Floors = dict[str, dict[str, Any]]


def coarsened(volume: Volume, spacing: tuple[float, float, float], cut: int | None) -> Volume:
    """Return a scan averaged onto larger voxels, half a voxel off the old ones.

    Voxels below `cut` HU become air, as a drawn body mask does.
    """
    step = np.array(spacing) / volume.spacing
    size = 2 * np.round((step - 1) / 2).astype(int) + 1  # odd: an even filter would move the head
    averaged = ndimage.uniform_filter(volume.array.astype(np.float32), tuple(int(n) for n in size))
    grid = _coarse_grid(volume, spacing)
    hu = resample(averaged, volume.patient_from_voxel, grid, AIR_HU)
    if cut is not None:
        hu[hu < cut] = AIR_HU
    return Volume(np.round(hu).astype(np.int16), grid.patient_from_voxel)


def sampled(volume: Volume, spacing: tuple[float, float, float], margin_mm: float | None) -> Volume:
    """Return a scan made as coarse as the coarse source's people, half a voxel off its own voxels.

    Parameters
    ----------
    volume
        A sharp head with its soft tissue.
    spacing
        Voxels wanted (k, j, i), mm.
    margin_mm
        What lies farther outside the skin becomes air, as beyond a drawn body mask; negative for a
        mask inside the skin, None for no mask.
    """
    blur = BLUR_MM / volume.spacing[1:]
    smooth = ndimage.gaussian_filter(volume.array.astype(np.float32), (0, *blur))
    thick = max(1, round(spacing[0] / float(volume.spacing[0])))
    averaged = ndimage.uniform_filter1d(smooth, thick + 1 - thick % 2, axis=0)
    grid = _coarse_grid(volume, spacing)
    hu = resample(averaged, volume.patient_from_voxel, grid, AIR_HU)
    if margin_mm is not None:
        hu[skin_distance(volume, grid)[0] > margin_mm] = AIR_HU
    return Volume(np.round(hu).astype(np.int16), grid.patient_from_voxel)


def _coarse_grid(volume: Volume, spacing: tuple[float, float, float]) -> Grid:
    step = np.array(spacing) / volume.spacing
    matrix = volume.patient_from_voxel.copy()
    matrix[:3, :3] *= step
    matrix[:3, 3] += volume.patient_from_voxel[:3, :3] @ (np.full(3, 0.5))
    k, j, i = (int((n - 1) / s) for n, s in zip(volume.array.shape, step, strict=True))
    return Grid((k, j, i), matrix)


KINDS: dict[str, Callable[[Volume], Volume]] = {
    "1 mm, moved by half a voxel": lambda head: coarsened(head, (1.0, 1.0, 1.0), None),
    "3.0 x 4.6 x 4.6 mm, partial volume kept": lambda head: sampled(head, COARSE_MM, None),
    "3.0 x 4.6 x 4.6 mm, body mask 1 mm outside": lambda head: sampled(head, COARSE_MM, 1.0),
    "3.0 x 4.6 x 4.6 mm, body mask on the skin": lambda head: sampled(head, COARSE_MM, 0.0),
    "3.0 x 4.6 x 4.6 mm, body mask 0.5 mm inside": lambda head: sampled(head, COARSE_MM, -0.5),
}


def measure_floors(subjects: Sequence[Subject], work: Path) -> Floors:
    """Measure the first sharp head among the people against itself in each kind of voxel, once.

    Returns
    -------
    Kind → skin level (HU) and distances (mm); empty where no head is sharp enough.
    """
    target = work / "floors.json"
    for subject in subjects:
        try:
            with subject.scan() as scan:
                volume = scan.volume
        except UserError:
            continue  # said among the people that could not be scored
        if volume is None or max(volume.spacing) > SHARP_MM:
            continue
        key = {
            "person": subject.id,
            "masks": masks_digest(subject.id),
            "protocol": PROTOCOL,
            "region": region_definition().version,
            "kinds": list(KINDS),
        }
        known = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
        if known.get("key") != key:
            known = {"key": key, "floors": _floors_of(scan, volume, subject.id)}
            write_json(target, known)
        floors: Floors = known["floors"]
        return floors
    return {}


def _floors_of(scan: Scan, volume: Volume, name: str) -> Floors:
    truth = skin_surface(volume)
    prepared = prepare(scan)
    floors = {}
    hidden = masked_volume(name, prepared.frame)
    for kind, make in KINDS.items():
        coarse = make(volume)
        result = compare(
            skin_surface(coarse), truth, prepared.frame, prepared.landmarks, excluded=hidden
        )
        floors[kind] = {
            "level": skin_level(coarse),
            "landmarks": result.landmarks,
            "mean": result.closest.mean,
            "signed_mean": result.closest.signed_mean,
            "p95": result.closest.p95,
        }
    return floors
