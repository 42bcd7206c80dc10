"""Rules for nose, eyes and mouth from bone, each used only where its bone was found.

The tip of the nose is placed outright.  The rules for eyes and mouth are used as differences: the
same rule is applied to the mean skull, and the mean face's eyelids and mouth are moved by what the
two results differ, so that lids stay before the eyeball and what blurs both skulls alike cancels.
All points are in the Frankfurt frame, mm.  Every coefficient was read second-hand, where each rule
says; none is fitted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facegen_inference import mean_skin
from facegen_inference.atlas import Atlas
from facegen_inference.carried_head import Control
from facegen_inference.pegs import FoundPoints, Peg, unit
from facegen_inference.volume import Grid

Point = NDArray[np.float64]
Bone = NDArray[np.float32]
"""(k, j, i) signed distance to bone on the atlas's grid, in the frame."""

NASAL_DEPTH_MM = (8.0, 45.0)
NASAL_BONE_MM = (14.0, 36.0)
"""Nasion to rhinion; in coarse scans the thin end of the nasal bones is lost and rhinion lies too
high, which would make the nose far too long."""
NASAL_TIP_SD_MM = 3.0
"""Spread given to the tip of the nose, an assumption: the rule states none that was read."""
RIM_BEHIND_MM = (2.0, 28.0)
"""The lateral margin of the orbit lies so far behind the upper and lower one."""
ORBIT_HEIGHT_MM = (25.0, 46.0)
RIM_FROM_MIDDLE_MM = (6.0, 26.0)
"""The lateral margin is looked for so far lateral of the middle of the orbit."""
MOUTH_PER_CANINES = 1.319
"""Mouth width over intercanine width, all groups pooled (Stephan & Henneberg 2003, doi
10.1520/JFS2002418: intercanine width is 75.8 % of mouth width, n = 93)."""
MOST_MM = 20.0
"""A feature that a rule moves farther than this from the mean face is not believed."""


@dataclass
class Features:
    """What the rules gave: pegs, controls of the deformation, and sentences about both."""

    pegs: list[Peg] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def features(points: FoundPoints, bone: Bone, atlas: Atlas) -> Features:
    """Apply every rule whose bone was found.

    Parameters
    ----------
    points
        Code → (frame point, confidence) found on bone.
    bone
        Of the person, on the atlas's grid.
    atlas
        The mean head.
    """
    found = Features()
    _nose(points, atlas, found)
    mean: FoundPoints = {code: (np.array(p), 1.0) for code, p in atlas.landmarks.items()}
    for side, name in (("L", "left"), ("R", "right")):
        _eye(side, name, (points, bone), (mean, atlas.bone), atlas, found)
    _mouth(points, mean, atlas, found)
    return found


def _missing(needed: tuple[str, ...], points: Mapping[str, object]) -> str:
    return ", ".join(code for code in needed if code not in points)


def nose_tip(points: FoundPoints) -> Peg | None:
    """Return a peg to the tip of the nose, or None where bone it needs is missing or lost.

    Rynn, Wilkinson & Peters 2010 (doi 10.1007/s12024-009-9124-6): with X nasion-acanthion and
    Y rhinion-subspinale, pronasale lies 0.83 Y - 3.5 in front of the nasion-prosthion plane and
    0.9 X - 2 below nasion along it; and 0.93 Y - 6 in front of subspinale along the Frankfurt
    plane.  The two estimates of its projection are averaged.
    """
    needed = ("n", "rhi", "ss", "pr", "ans")
    if not all(code in points for code in needed):
        return None
    n, rhi, ss, pr, ans = (points[code][0] for code in needed)
    if not NASAL_BONE_MM[0] <= float(np.linalg.norm(n - rhi)) <= NASAL_BONE_MM[1]:
        return None
    x, y = float(np.linalg.norm(n - ans)), float(np.linalg.norm(rhi - ss))
    down = unit((pr - n) * [0, 1, 1])
    forward = np.array([0.0, down[2], -down[1]])
    tip = n + (0.83 * y - 3.5) * forward + (0.9 * x - 2.0) * down
    tip[0] = np.mean([n[0], ss[0]])
    tip[1] = (tip[1] + ss[1] - (0.93 * y - 6.0)) / 2
    depth = float(ss[1] - tip[1])
    if not NASAL_DEPTH_MM[0] <= depth <= NASAL_DEPTH_MM[1]:
        return None
    # Half the weight of a depth peg: one point must not draw the face out to a spike.
    confidence = min(points[code][1] for code in needed) / 2
    length = float(np.linalg.norm(tip - ss))
    return Peg("prn", ss, unit(tip - ss), length, NASAL_TIP_SD_MM, confidence)


def _nose(points: FoundPoints, atlas: Atlas, found: Features) -> None:
    tip, mean_tip = nose_tip(points), mean_skin.nose_tip(atlas)
    if tip is None or mean_tip is None:
        lacking = _missing(("n", "rhi", "ss", "pr", "ans"), points)
        why = f"no bone was found for {lacking}" if lacking else "its bone is blurred or unusual"
        found.notes.append(f"The tip of the nose follows the mean face: {why}.")
    else:
        found.pegs.append(tip)
        found.controls.append(Control(tip.tip(0), mean_tip, NASAL_TIP_SD_MM / tip.confidence))
        found.notes.append(
            "The tip of the nose, its projection and its height follow Rynn, Wilkinson & Peters "
            "2010 (coefficients read second-hand)."
        )
    found.notes.append(
        "The width of the nose follows the pegs at the alare curvature points: no rule from the "
        "piriform aperture that is for both sexes could be checked."
    )


def lateral_margin(side: str, points: FoundPoints, bone: Bone, grid: Grid) -> float | None:
    """Return y of the deepest point of an orbit's lateral margin (dlom), frame mm, or None.

    In each level of the orbit's middle third the foremost bone lateral of the orbit is its
    margin; the hindmost of these is the deepest point.

    Parameters
    ----------
    side
        ``L`` or ``R``.
    points
        With ``mso`` and ``or`` of that side.
    bone, grid
        Signed distance to bone in the frame, mm.
    """
    top, low = points[f"mso-{side}"][0], points[f"or-{side}"][0]
    middle, rim = (top + low) / 2, (top[1] + low[1]) / 2
    outward = 1.0 if side == "L" else -1.0
    third = (top[2] - low[2]) / 6
    across = np.arange(*RIM_FROM_MIDDLE_MM, 1.0)
    back = np.arange(RIM_BEHIND_MM[0] - 10, RIM_BEHIND_MM[1] + 12, 0.5)
    margins = []
    for height in np.arange(middle[2] - third, middle[2] + third + 0.5, 1.0):
        x, y = np.meshgrid(middle[0] + outward * across, rim + back, indexing="ij")
        at = np.stack([x, y, np.full_like(x, height)], axis=-1).reshape(-1, 3)
        inside = mean_skin.sampled(bone, grid, at).reshape(x.shape) < 0
        if not inside.any():
            return None
        margins.append(float(y[inside].min()))
    deepest = max(margins)
    behind = deepest - rim
    return deepest if RIM_BEHIND_MM[0] <= behind <= RIM_BEHIND_MM[1] else None


def eyeball_front(side: str, points: FoundPoints, bone: Bone, grid: Grid) -> Point | None:
    """Return the most anterior point of an eyeball, or None where the orbit was not found.

    Guyomarc'h et al. 2012 (375 adults, CT; read second-hand): 44.1 % of the orbit's height below
    its upper margin and 51.3 % of it in front of the deepest point of the lateral margin.  Its
    third coordinate needs dacryon, which most CTs do not show: x is that of the orbit's middle.
    """
    if _missing((f"mso-{side}", f"or-{side}"), points):
        return None
    top, low = points[f"mso-{side}"][0], points[f"or-{side}"][0]
    height = float(top[2] - low[2])
    if not ORBIT_HEIGHT_MM[0] <= height <= ORBIT_HEIGHT_MM[1]:
        return None
    deepest = lateral_margin(side, points, bone, grid)
    if deepest is None:
        return None
    return np.array([(top[0] + low[0]) / 2, deepest - 0.513 * height, top[2] - 0.441 * height])


def _eye(
    side: str,
    name: str,
    person: tuple[FoundPoints, Bone],
    mean: tuple[FoundPoints, Bone],
    atlas: Atlas,
    found: Features,
) -> None:
    mine = eyeball_front(side, *person, atlas.grid)
    usual = eyeball_front(side, *mean, atlas.grid)
    lids = None
    if usual is not None:
        start = usual + np.array([0.0, 5.0, 0.0])
        lids = mean_skin.skin_along(atlas, start, np.array([0.0, -1.0, 0.0]))
    if mine is None or usual is None or lids is None or _too_far(mine - usual):
        lacking = _missing((f"mso-{side}", f"or-{side}"), person[0])
        why = f"no bone was found for {lacking}" if lacking else "its margin was not found"
        found.notes.append(f"The {name} eye follows the mean face in its orbit: {why}.")
        return
    confidence = min(person[0][f"{code}-{side}"][1] for code in ("mso", "or"))
    found.controls.append(Control(lids + mine - usual, lids, 2.0 / confidence))
    found.notes.append(
        f"Level and projection of the {name} eye follow Guyomarc'h et al. 2012 (read second-hand), "
        "taken as a difference from the mean head; sideways it follows the mean face."
    )


def _mouth(points: FoundPoints, mean: FoundPoints, atlas: Atlas, found: Features) -> None:
    needed = ("pr", "sC-L", "sC-R")
    if _missing(needed, points) or _missing((*needed, "id"), mean):
        lacking = _missing(needed, points)
        why = f"no bone was found for {lacking}" if lacking else "the mean head lacks its points"
        found.notes.append(f"Width and level of the mouth follow the mean face: {why}.")
        return
    corners = _corners(points), _corners(mean)
    if any(_too_far(mine - usual) for mine, usual in zip(*corners, strict=True)):
        found.notes.append(
            "Width and level of the mouth follow the mean face: the rule would move it more than "
            f"{MOST_MM:g} mm."
        )
        return
    confidence = min(points[code][1] for code in needed)
    between_teeth = (mean["id"][0][2] - mean["pr"][0][2]) / 2
    for mine, usual in zip(*corners, strict=True):
        start = usual + np.array([0.0, 0.0, between_teeth])
        lips = mean_skin.skin_along(atlas, start, np.array([0.0, -1.0, 0.0]))
        if lips is not None:
            found.controls.append(Control(lips + mine - usual, lips, 2.0 / confidence, True))
    found.notes.append(
        "The width of the mouth follows Stephan & Henneberg 2003 (read second-hand), taken as a "
        "difference from the mean head, the supracanine points standing for the canines; its level "
        "follows prosthion, from which the upper incisors hang."
    )


def _corners(points: FoundPoints) -> list[Point]:
    """Return where the rule has the right and left corner of the mouth, at the depth of bone."""
    left, right, pr = points["sC-L"][0], points["sC-R"][0], points["pr"][0]
    half = MOUTH_PER_CANINES * float(np.linalg.norm(left - right)) / 2
    middle, depth = (left[0] + right[0]) / 2, (left[1] + right[1]) / 2
    return [np.array([middle + sign * half, depth, pr[2]]) for sign in (-1.0, 1.0)]


def _too_far(shift: Point) -> bool:
    return float(np.linalg.norm(shift)) > MOST_MM
