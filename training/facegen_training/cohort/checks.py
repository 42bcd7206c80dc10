"""What a human should look at in a prepared scan, as sentences; and what no one may learn from.

Everything is measured on the fields themselves, in the Frankfurt frame.  The limits are named
below with where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.atlas import load_atlas
from facegen_inference.craniometry import placement_fault
from facegen_inference.depth_table import load_depth_table
from facegen_inference.errors import FrameUnsure, UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.registration import HeadFit
from facegen_inference.skin import COARSE_MM as COARSE_SKIN_MM
from facegen_inference.skin import SKIN_LEVEL_HU, partial_volume_percent, skin_level
from facegen_inference.skull import Presence, Skull
from facegen_inference.volume import Volume

COARSE_MM = 1.5
"""Voxels larger than this show no fine nose or lips."""
FAR_SD = 3.0
"""Skin farther from bone than mean and so many SD of the published table is suspected."""
FAR_POINTS = 3
"""So many points must be that far: one alone may be a landmark laid a little wrong.  On 107 coarse
real heads 15 are suspected, 6 of them among the 13 that were excluded by eye."""
BUILD_POINTS = ("ecm2s", "ecm2i", "mr", "mmb", "go")
"""Points over cheek and jaw, where build alone moves the skin that far."""
BARE_MM, BARE_SHARE = 1.0, 0.25
"""Where skin lies within 1 mm of facial bone there is none; see `bare_share`."""
APART_MM = 14.0
"""Free height between upper and lower front teeth or jaws above which the mouth is open."""

Fields = NDArray[np.float32]


@dataclass(frozen=True)
class Measures:
    """Figures of one scan.

    Attributes
    ----------
    voxel_mm
        Voxel along (k, j, i).
    skin_level_hu, partial_volume_percent
        See `facegen_inference.skin`; the latter of coarse scans only, None else.
    frame_residual_mm
        Of the bone against the mean skull.
    bare_share
        Share of facial bone without tissue over it.
    far_points
        Landmarks at which the skin lies too far from bone.
    apart_mm
        Height without bone between the jaws in front.
    seen_share
        Share of the input grid that was scanned.
    """

    voxel_mm: tuple[float, float, float]
    skin_level_hu: float
    partial_volume_percent: float | None
    frame_residual_mm: float
    bare_share: float
    far_points: tuple[str, ...]
    apart_mm: float
    seen_share: float


def check_placed(fit: HeadFit) -> None:
    """Refuse a head that the workstation would ask the examiner about: nobody is asked here.

    Raises
    ------
    FrameUnsure
        The placement is doubtful.
    """
    fault = placement_fault(fit)
    if fault:
        raise FrameUnsure(
            fault,
            "Check the scan's orientation in the workstation, and that it shows one whole head.",
        )


def measure(
    volume: Volume, stored: NDArray[np.int16], spec: PreprocessSpec, residual_mm: float
) -> Measures:
    """Measure a prepared scan.

    Parameters
    ----------
    volume
        The scan.
    stored
        (4, Z, Y, X) as `facegen_training.cohort.prepare.fields_of` returns.
    spec
        The input grid.
    residual_mm
        Of the frame.
    """
    bone, skin = (stored[channel].astype(np.float32) / 100 for channel in (0, 2))
    seen = stored[1] > 0
    k, j, i = (round(float(s), 3) for s in volume.spacing)
    coarse = bool(volume.spacing.max() > COARSE_SKIN_MM)
    return Measures(
        voxel_mm=(k, j, i),
        skin_level_hu=round(skin_level(volume), 1),
        partial_volume_percent=round(partial_volume_percent(volume), 1) if coarse else None,
        frame_residual_mm=round(residual_mm, 2),
        bare_share=round(bare_share(bone, skin, seen, spec), 3),
        far_points=far_points(bone, skin, spec),
        apart_mm=round(jaws_apart(bone, seen, spec), 1),
        seen_share=round(float(seen.mean()), 3),
    )


def bare_share(bone: Fields, skin: Fields, seen: NDArray[np.bool_], spec: PreprocessSpec) -> float:
    """Return the share of facial bone over which there is no tissue.

    Near 0 for a head, near 1 for a dry skull; between where the face was cut away or blurred.

    Notes
    -----
    Facial bone: the outermost in front, between the chin and the brow, nasal bones left out.
    """
    first = np.argmax(bone < 0, axis=1)  # +y is posterior: the first bone from the front
    rows, columns = np.nonzero((bone < 0).any(axis=1))
    depth = first[rows, columns]
    step = spec.spacing_mm
    x = spec.origin_mm[0] + step * columns
    y = spec.origin_mm[1] + step * depth
    z = spec.origin_mm[2] + step * rows
    face = (np.abs(x) < 45) & (np.abs(x) > 8) & (y < -45) & (z > -85) & (z < 35)
    face &= seen[rows, depth, columns]
    if face.sum() < 50:
        return 0.0
    return float((skin[rows, depth, columns][face] > -BARE_MM).mean())


def far_points(bone: Fields, skin: Fields, spec: PreprocessSpec) -> tuple[str, ...]:
    """Return the landmarks at which skin lies farther from bone than published depths allow.

    Landmarks are those of the mean skull, moved to this person's nearest bone; those of
    `BUILD_POINTS` are left out.
    """
    depths = load_depth_table().depths
    places = load_atlas().landmarks
    codes = [
        code
        for code, depth in depths.items()
        if code in places and depth.sd_mm and code.split("-")[0] not in BUILD_POINTS
    ]
    points = np.array([places[code] for code in codes])
    gradient = [np.gradient(bone, spec.spacing_mm, axis=axis) for axis in (2, 1, 0)]
    for _ in range(3):
        voxel = spec.grid.voxel_points(points).T
        value = map_coordinates(bone, voxel, order=1, mode="nearest")
        slope = np.stack([map_coordinates(g, voxel, order=1, mode="nearest") for g in gradient], 1)
        points = points - value[:, None] * slope / np.maximum((slope**2).sum(1), 0.3)[:, None]
    voxel = spec.grid.voxel_points(points).T
    on_bone = np.abs(map_coordinates(bone, voxel, order=1, mode="nearest")) < spec.spacing_mm
    known = map_coordinates((np.abs(bone) < spec.clip_mm).astype(np.float32), voxel, order=0) > 0
    depth = -map_coordinates(skin, voxel, order=1, mode="nearest")
    limit = [depths[code].mean_mm + FAR_SD * (depths[code].sd_mm or 0.0) for code in codes]
    near = np.linalg.norm(points - np.array([places[code] for code in codes]), axis=1) < 12
    far = on_bone & known & near & (depth > np.minimum(limit, spec.clip_mm - 1))
    return tuple(code for code, is_far in zip(codes, far, strict=True) if is_far)


def jaws_apart(bone: Fields, seen: NDArray[np.bool_], spec: PreprocessSpec) -> float:
    """Return the height without bone or teeth between the jaws in front, mm; 0 where unseen."""
    step, (x0, y0, z0) = spec.spacing_mm, spec.origin_mm
    low, high = (round((z - z0) / step) for z in (-92.0, -22.0))
    front = slice(max(0, round((-104 - y0) / step)), round((-55 - y0) / step))
    middle = slice(round((-16 - x0) / step), round((16 - x0) / step) + 1)
    part = (slice(max(0, low), high), front, middle)
    if bone[part].size == 0 or seen[part].mean() < 0.9:
        return 0.0
    filled = (bone[part] < 0.5).any(axis=1).mean(axis=1) > 0.3
    rows = np.flatnonzero(filled)
    return float(np.diff(rows).max() - 1) * step if len(rows) > 1 else 0.0


def flags(measures: Measures, skull: Skull, damaged: int = 0) -> tuple[str, ...]:
    """Return a sentence for everything a human should look at."""
    found = []
    wording = {
        Presence.ABSENT: "absent: {}",
        Presence.NOT_SCANNED: "not scanned: {}",
        Presence.UNSURE: "unsure: {}",
    }
    for state, words in wording.items():
        names = [name for name, presence in skull.parts.items() if presence is state]
        if names:
            found.append(words.format(", ".join(names)))
    if max(measures.voxel_mm) > COARSE_MM:
        found.append(f"coarse: voxels of {'×'.join(f'{v:.3g}' for v in measures.voxel_mm)} mm")
    if measures.partial_volume_percent is not None and measures.skin_level_hu != SKIN_LEVEL_HU:
        found.append(
            f"skin level doubtful: {measures.partial_volume_percent:.0f} % of edge voxels kept "
            f"their partial volume, skin taken at {measures.skin_level_hu:.0f} HU"
        )
    if len(measures.far_points) >= FAR_POINTS:
        found.append(
            "mask, tube or swelling suspected: skin far from bone at "
            + ", ".join(measures.far_points)
        )
    if measures.apart_mm > APART_MM:
        found.append(f"mouth open or teeth missing: {measures.apart_mm:.0f} mm between the jaws")
    if damaged:
        found.append(f"{damaged} damaged files were left out")
    return tuple(found)


def check_skin(measures: Measures) -> None:
    """Refuse a scan whose face was removed, or that never had one.

    Raises
    ------
    UserError
        Facial bone lies bare.
    """
    if measures.bare_share > BARE_SHARE:
        raise UserError(
            f"{100 * measures.bare_share:.0f} % of the facial bone has no skin over it: the face "
            "was removed from this scan, or it shows a dry skull.",
            "There is no face to learn from; use the original scan where you may.",
        )
