"""What was made, as data: the truth that lies beside each made scan."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from facegen_inference.demo_head import load_head_model
from facegen_inference.depth_table import DEFAULT_TABLE
from facegen_inference.mean_face import BUILD_SD
from facegen_inference.volume import Volume
from facegen_training.synthesis.head_shape import SCALES_MM
from facegen_training.synthesis.person import ROW, Person, tissue_depths
from facegen_training.synthesis.scanner import Scanner

TRUTH = "truth.json"
SOURCE_NAME = "synthetic"


def person_id(seed: int, number: int) -> str:
    """Return the name of a made person; cohorts of different seeds share none."""
    return f"synthetic-{seed}-{number + 1:04d}"


def build_word(build: float) -> str:
    """Return the profile's word that lies nearest to a build factor."""
    return min(BUILD_SD, key=lambda word: abs(BUILD_SD[word] - build))


def describe(person: Person, scanner: Scanner, volume: Volume) -> dict[str, Any]:
    """Return what was made: lengths in mm, points in LPS mm of the scan, depths in mm."""
    lie = scanner.patient_from_frame
    depths = tissue_depths(person)
    return {
        "person": person_id(person.seed, person.number),
        "source": SOURCE_NAME,
        "patient": None,
        "seed": person.seed,
        "number": person.number,
        "shape": {
            "mean_of_people": load_head_model().people,
            "length_and_sd_mm": [list(scale) for scale in SCALES_MM],
        },
        "tissue": {
            "table": DEFAULT_TABLE,
            "build_sd": round(person.tissue.build, 4),
            "build": build_word(person.tissue.build),
            "depth_mm": {c: None if math.isnan(d) else round(d, 2) for c, d in depths.items()},
        },
        "missing": {"mandible": not person.mandible, "crowns": [_tooth(n) for n in person.lost]},
        "metal_crowns": [_tooth(n) for n in person.metal],
        "scan": {
            "space": "LPS",
            "shape": list(volume.array.shape),
            "spacing_mm": [round(float(s), 6) for s in volume.spacing],
            "patient_from_voxel": volume.patient_from_voxel.tolist(),
            "patient_from_model": lie.tolist(),
            "vertex_cropped_mm": round(scanner.cropped_mm, 2),
            "below_chin_mm": round(scanner.below_chin_mm, 2),
            "holder": scanner.holder,
            "noise_hu": round(scanner.noise_hu, 3),
            "slope": round(scanner.slope, 5),
            "offset_hu": round(scanner.offset_hu, 3),
        },
        "landmarks": {
            code: [round(float(v), 3) for v in lie[:3, :3] @ np.array(point) + lie[:3, 3]]
            for code, point in person.landmarks.items()
        },
    }


def _tooth(position: int) -> str:
    """Return a crown's name in the notation of ISO 3950 (FDI)."""
    lower, place = divmod(position, ROW)
    along, right = divmod(place, 2)
    quadrant = {(0, 1): 1, (0, 0): 2, (1, 0): 3, (1, 1): 4}[lower, right]
    return f"{quadrant}{along + 1}"


def write_truth(data: dict[str, Any], path: Path) -> None:
    """Write the truth; numbers that are not finite are refused."""
    path.write_text(json.dumps(data, indent=1, allow_nan=False), encoding="utf-8")
