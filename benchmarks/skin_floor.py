"""How exactly the skin itself is known in each kind of scan: the floor under every score.

A sharp head is coarsened to the voxels of the coarse source and measured against itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from facegen_inference.compare import compare
from facegen_inference.reconstruct import prepare
from facegen_inference.scan import open_scan
from facegen_inference.skin import skin_level, skin_surface
from facegen_inference.volume import AIR_HU, Grid, Volume, resample

COARSE_MM = (3.0, 4.6, 4.6)
"""Voxels (k, j, i) of a typical scan of the coarse source."""
KINDS = {
    "1 mm, moved by half a voxel": ((1.0, 1.0, 1.0), None),
    "3.0 x 4.6 x 4.6 mm, partial volume kept": (COARSE_MM, None),
    "3.0 x 4.6 x 4.6 mm, cut below -500 HU": (COARSE_MM, -500),
    "3.0 x 4.6 x 4.6 mm, cut below -300 HU": (COARSE_MM, -300),
}


def coarsened(volume: Volume, spacing: tuple[float, float, float], cut: int | None) -> Volume:
    """Return a scan averaged onto larger voxels, half a voxel off the old ones.

    Voxels below `cut` become air, as a drawn body mask does.
    """
    step = np.array(spacing) / volume.spacing
    size = np.maximum(np.round(step).astype(int), 1)
    averaged = ndimage.uniform_filter(volume.array.astype(np.float32), tuple(int(n) for n in size))
    matrix = volume.patient_from_voxel.copy()
    matrix[:3, :3] *= step
    matrix[:3, 3] += volume.patient_from_voxel[:3, :3] @ (np.full(3, 0.5))
    k, j, i = (int((n - 1) / s) for n, s in zip(volume.array.shape, step, strict=True))
    hu = resample(averaged, volume.patient_from_voxel, Grid((k, j, i), matrix), AIR_HU)
    if cut is not None:
        hu[hu < cut] = AIR_HU
    return Volume(np.round(hu).astype(np.int16), matrix)


def measure_floors(shared: Path, work: Path, write: Callable[[Path, object], None]) -> None:
    """Measure the sharp cleared head against itself in each kind of voxel, once."""
    target = work / "floors.json"
    if target.exists() and len(json.loads(target.read_text(encoding="utf-8"))) == len(KINDS):
        return
    scan = open_scan(shared / "ct" / "volumes" / "visible_human_female.nii.gz")
    assert scan.volume is not None
    truth = skin_surface(scan.volume)
    prepared = prepare(scan)
    floors = {}
    for name, (spacing, cut) in KINDS.items():
        coarse = coarsened(scan.volume, spacing, cut)
        skin = skin_surface(coarse)
        result = compare(skin, truth, prepared.frame, prepared.landmarks)
        floors[name] = {
            "level": skin_level(coarse),
            "landmarks": result.landmarks,
            "mean": result.closest.mean,
            "signed_mean": result.closest.signed_mean,
            "p95": result.closest.p95,
        }
        print(f"floor, {name}: {result.closest.mean:.2f} mm", flush=True)
    write(target, floors)
