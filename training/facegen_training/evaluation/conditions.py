"""The ways in which a scan is shown to a method: less of its bone, bone alone, turned, coarser.

Each starts from the whole scan and what was found in its bone; none lets soft tissue through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from facegen_inference.reconstruct import Prepared, prepare
from facegen_inference.scan import Scan
from facegen_inference.skull import bone_only
from facegen_inference.volume import AIR_HU, Grid, Volume, resample
from facegen_training.evaluation.damage import facial_bone_missing, without_mandible
from facegen_training.evaluation.floors import SHARP_MM, coarsened
from facegen_training.evaluation.outer_surface import outer_surface
from facegen_training.evaluation.protocol import HEADLINE, REDUCTIONS

LEVEL_HU = 250.0
TURN_DEG = 40.0
THICK_MM, THIN_MM = 4.0, 0.5


@dataclass(frozen=True)
class Shown:
    """What a method is shown.

    Attributes
    ----------
    prepared
        Bone, landmarks and frame found in it.
    scan_from_shown
        4×4 rigid, from its coordinates to those of the scan, LPS mm.
    """

    prepared: Prepared
    scan_from_shown: NDArray[np.float64]


def show(condition: str, scan: Scan, own: Prepared | None) -> Shown:
    """Return a scan as a method is shown it.

    Parameters
    ----------
    condition
        One of `CONDITIONS`.
    scan
        The whole scan, a volume.
    own
        What was found under `HEADLINE`; not needed for it.

    Raises
    ------
    UserError
        When nothing can be found in what is left.
    """
    assert scan.volume is not None
    if condition in REDUCTIONS:
        prepared = _found(scan, REDUCTIONS[condition](scan.volume))
        return Shown(prepared, np.eye(4))
    assert own is not None
    return _OTHER[condition](scan, own)


def applies(condition: str, volume: Volume) -> bool:
    """Tell whether a condition says anything about a scan.

    Thick slices need a scan with thinner ones; thin slices one that is sharp, as slices made up
    between coarse ones hold nothing new.
    """
    if condition == "slices-4":
        return bool(volume.spacing[0] < THICK_MM)
    return condition != "slices-0.5" or bool(volume.spacing.max() <= SHARP_MM)


def _found(scan: Scan, volume: Volume) -> Prepared:
    return prepare(replace(scan, volume=volume))


def _bone(scan: Scan) -> Volume:
    assert scan.volume is not None
    return bone_only(scan.volume, LEVEL_HU)


def _no_mandible(scan: Scan, own: Prepared) -> Shown:
    return Shown(_found(scan, without_mandible(_bone(scan), own)), np.eye(4))


def _broken(scan: Scan, own: Prepared) -> Shown:
    return Shown(_found(scan, facial_bone_missing(_bone(scan), own)), np.eye(4))


def _outer(scan: Scan, own: Prepared) -> Shown:
    return Shown(outer_surface(scan, own), np.eye(4))


def _turned(scan: Scan, own: Prepared) -> Shown:
    """Turn the scan by up to `TURN_DEG` about any axis, and move it: the same for the same scan."""
    bone = _bone(scan)
    digest = hashlib.sha256(np.ascontiguousarray(bone.array).tobytes()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    axis = random.normal(size=3)
    turn = np.radians(random.uniform(0.5, 1.0) * TURN_DEG) * axis / np.linalg.norm(axis)
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    moved[:3, 3] = random.uniform(-100, 100, 3)
    turned = replace(bone, patient_from_voxel=moved @ bone.patient_from_voxel)
    return Shown(_found(scan, turned), np.asarray(np.linalg.inv(moved), dtype=np.float64))


def _thick(scan: Scan, own: Prepared) -> Shown:
    assert scan.volume is not None
    _, row, column = (float(s) for s in scan.volume.spacing)
    thick = coarsened(scan.volume, (THICK_MM, row, column), None)
    return Shown(_found(scan, bone_only(thick, LEVEL_HU)), np.eye(4))


def _thin(scan: Scan, own: Prepared) -> Shown:
    """Interpolate slices half a millimetre apart, before bone is told from the rest."""
    volume = scan.volume
    assert volume is not None
    step = THIN_MM / float(volume.spacing[0])
    matrix = volume.patient_from_voxel @ np.diag([step, 1.0, 1.0, 1.0])
    k, j, i = volume.array.shape
    grid = Grid((int((k - 1) / step) + 1, j, i), matrix)
    hu = np.round(resample(volume.array, volume.patient_from_voxel, grid, AIR_HU))
    seen = resample(volume.observed_mask(), volume.patient_from_voxel, grid, 0.0) > 0.5
    thin = Volume(hu.astype(np.int16), matrix, None if seen.all() else np.asarray(seen))
    return Shown(_found(scan, bone_only(thin, LEVEL_HU)), np.eye(4))


_OTHER: dict[str, Callable[[Scan, Prepared], Shown]] = {
    "no-mandible": _no_mandible,
    "facial-bone-20": _broken,
    "outer-surface": _outer,
    "pose": _turned,
    "slices-4": _thick,
    "slices-0.5": _thin,
}

CONDITIONS: dict[str, str] = {
    HEADLINE: "bone at 250 HU: what every other figure is of",
    "bone-150": "bone at 150 HU",
    "bone-400": "bone at 400 HU",
    "binary": "every bone voxel the same value, so that no grey value at the bone's edge can "
    "betray soft tissue",
    "cropped": "a random part of the field of view cut off",
    "no-mandible": "the lower jaw and its teeth taken away",
    "facial-bone-20": "20 % of the facial bone broken out in lumps of 6 to 12 mm radius",
    "outer-surface": "the closed outer surface alone, as a surface scan shows it",
    "pose": "the head turned by 20 to 40 degrees about a random axis",
    "slices-4": "slices averaged to 4 mm",
    "slices-0.5": "slices interpolated to 0.5 mm, sharp scans only",
}
"""Name → what a method is shown."""
