"""Craniometric points by their definitions, on the bone of one skull.

The deformed mean skull says about where each point is; what makes a point *that* point is its
definition (Martin & Saller 1957): the farthest bone in a direction, the deepest point of a profile.
Directions are those of the Frankfurt frame (x examinee's left, y posterior, z superior).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Point = NDArray[np.float64]
Points = NDArray[np.float64]
Direction = tuple[float, float, float]

REACH_MM = 6.0
"""How far a point may be from where the deformed mean skull has it."""
LONG_REACH_MM = 12.0
"""The same for the ends of bone that the mean skull, averaged over coarse scans, has rounded off
(rhinion, gonion), and for the flat arch along which zygion lies anywhere within a centimetre."""
MIDLINE_MM = 1.5
"""Points of the midline, and those above or below the middle of an orbit, stay this near to it."""
STEP_MM = 2.0
"""How finely a profile is walked along."""


class Bone:
    """Vertices of a skull's surface in frame mm, (N, 3), searched by place."""

    def __init__(self, surface: Points) -> None:
        self.surface = surface
        self._tree = cKDTree(surface)

    def nearest(self, point: Point) -> tuple[Point, float]:
        """Return the nearest bone to a point, and how far it is, mm."""
        gap, index = self._tree.query(point)
        return np.asarray(self.surface[index]), float(gap)

    def within(self, point: Point, reach: float) -> Points:
        """Return the bone within `reach` mm of a point, (M, 3)."""
        return np.asarray(self.surface[self._tree.query_ball_point(point, reach)])


Rule = Callable[[Point, Bone], Point | None]
"""From about where a point is to where it is on the bone, or None where there is none."""


def extreme(
    point: Point, bone: Bone, direction: Direction, reach: float = REACH_MM, slab: float = np.inf
) -> Point | None:
    """Return the farthest bone in a direction, moving sideways only for what it gains.

    Parameters
    ----------
    point
        About where it is, frame mm.
    direction
        Need not be of unit length.
    reach
        Farthest distance from `point`, mm; a step of d mm costs d² / (2 reach).
    slab
        Largest |x - point x|, mm.
    """
    near = bone.within(point, reach)
    near = near[np.abs(near[:, 0] - point[0]) <= slab]
    if len(near) == 0:
        return None
    offset = near - point
    unit = np.asarray(direction) / np.linalg.norm(direction)
    merit = offset @ unit - (offset**2).sum(axis=1) / (2 * reach)
    return np.asarray(near[int(np.argmax(merit))])


def nasal_root(point: Point, bone: Bone) -> Point | None:
    """Return nasion: the deepest point of the profile between glabella and the nasal bones.

    The suture itself cannot be seen in most CTs; it crosses the profile where that is deepest or
    up to a few millimetres above.
    """
    near = bone.within(point, LONG_REACH_MM)
    near = near[np.abs(near[:, 0] - point[0]) <= MIDLINE_MM]
    profile = []
    for step in range(-4, 5):
        row = near[np.abs(near[:, 2] - point[2] - step * STEP_MM) <= STEP_MM / 2]
        row = row[np.abs(row[:, 1] - point[1]) <= REACH_MM]
        if len(row):
            profile.append(row[int(np.argmin(row[:, 1]))])
    if not profile:
        return None
    return np.asarray(
        max(profile, key=lambda p: p[1] - (p[2] - point[2]) ** 2 / (2 * LONG_REACH_MM))
    )


def _paired(code: str, make: Callable[[float], Rule]) -> dict[str, Rule]:
    """Return a rule for the left (x outward +1) and the right (-1)."""
    return {f"{code}-L": make(1.0), f"{code}-R": make(-1.0)}


def _midline(direction: Direction, reach: float = REACH_MM) -> Rule:
    return partial(extreme, direction=direction, reach=reach, slab=MIDLINE_MM)


RULES: Mapping[str, Rule] = {
    "op": partial(extreme, direction=(0, 1, 0)),
    "v": partial(extreme, direction=(0, 0, 1)),
    "g": _midline((0, -1, 0)),
    "n": nasal_root,
    "rhi": _midline((0, -1, -1), LONG_REACH_MM),
    "ans": _midline((0, -1, 0)),
    "pg": _midline((0, -1, 0)),
    "gn": _midline((0, -1, -1)),
    "me": _midline((0, 0, -1)),
    **_paired("mso", lambda _: _midline((0, 0, -1))),
    **_paired("zy", lambda out: partial(extreme, direction=(out, 0, 0), reach=LONG_REACH_MM)),
    **_paired(
        "go",
        lambda out: partial(extreme, direction=(out, 0.86, -0.5), reach=LONG_REACH_MM),
    ),
}
"""Points that a definition places; all others lie on the bone nearest to where they should be.

Porion and orbitale are among the others on purpose.  The highest point of the meatus's margin and
the lowest of the orbit's were tried: on three sharp heads the points came nearer to those placed by
hand, but along flat margins they wandered, and the Frankfurt plane became less certain (on warped
copies of the mean skull up to 2.5 degrees off instead of 1.8)."""


def on_bone(code: str, point: Point, bone: Bone) -> tuple[Point, float]:
    """Return the point of the bone that a landmark's code means, and how far bone is from `point`.

    Parameters
    ----------
    code
        The landmark's.
    point
        (3,) about where it is, frame mm.
    bone
        The skull's surface in the same frame.
    """
    nearest, gap = bone.nearest(point)
    rule = RULES.get(code)
    spot = None if rule is None else rule(point, bone)
    return (nearest if spot is None else spot), gap
