"""Teeth for the demonstration head: two rows of simple crowns on the arches of the landmarks.

Averaging many skulls blurs their teeth away.  So the rows are made anew: a smooth arch through
alveolar edge, canines and second molars of each jaw, and on it seven crowns a side with the mean
widths known for adult teeth.  They are no one's teeth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Landmark = tuple[float, float, float]

UPPER = ("pr", "sC", "ecm2s")
LOWER = ("id", "iC", "ecm2i")
"""Alveolar edge in the midline, canine and second molar: on the outer face of the bone."""

UPPER_WIDTHS = (8.5, 6.5, 7.5, 7.0, 7.0, 10.0, 10.0)
LOWER_WIDTHS = (5.5, 6.0, 7.0, 7.0, 7.0, 11.0, 10.5)
DEPTHS = (6.5, 6.0, 8.0, 8.5, 9.0, 10.5, 10.5)
"""Mean crown sizes from the midline back, mm: along the row, and from cheek to tongue."""

BITE_GAP_MM = 1.0
ROOTED_MM = 3.0
NECK = 0.8
"""A crown's width at its neck, as a share of its width at the bite."""


@dataclass(frozen=True)
class Tooth:
    """One crown: a rounded block that narrows from the bite to the neck.

    Attributes
    ----------
    centre
        (x, y), frame mm.
    along
        Unit (x, y) along the row.
    half
        Half its size along the row and across it, mm.
    bite, neck
        Height z of its two ends, frame mm.
    """

    centre: Points
    along: Points
    half: tuple[float, float]
    bite: float
    neck: float

    def distance(self, points: Points) -> Points:
        """Return the signed distance of (N, 3) frame points, mm, (N,); exact near the sides."""
        offset = points[:, :2] - self.centre
        across = np.array([-self.along[1], self.along[0]])
        up = (points[:, 2] - self.bite) / (self.neck - self.bite)
        size = 1 - (1 - NECK) * np.clip(up, 0, 1)
        u = np.abs(offset @ self.along) / (self.half[0] * size)
        v = np.abs(offset @ across) / (self.half[1] * size)
        side = ((u**3 + v**3) ** (1 / 3) - 1) * min(self.half)
        ends = np.abs(points[:, 2] - (self.bite + self.neck) / 2) - abs(self.neck - self.bite) / 2
        return np.asarray(np.maximum(side, ends), dtype=np.float64)


def teeth_rows(points: dict[str, Landmark]) -> tuple[Tooth, ...]:
    """Return the crowns of both jaws; none where the landmarks for them are missing.

    Parameters
    ----------
    points
        Code → (x, y, z), frame mm, as in the atlas.
    """
    wanted = {
        code + side for _, *codes in (UPPER, LOWER) for code in codes for side in ("-L", "-R")
    }
    if not wanted | {"pr", "id"} <= set(points):
        return ()
    bite = (points["pr"][2] + points["id"][2]) / 2
    return (
        *_row(points, UPPER, UPPER_WIDTHS, bite + BITE_GAP_MM / 2, ROOTED_MM),
        *_row(points, LOWER, LOWER_WIDTHS, bite - BITE_GAP_MM / 2, -ROOTED_MM),
    )


def teeth_distance(teeth: tuple[Tooth, ...], points: Points) -> Points:
    """Return the signed distance of (N, 3) frame points to the nearest crown, mm, (N,)."""
    return np.asarray(np.min([tooth.distance(points) for tooth in teeth], axis=0))


def _row(
    points: dict[str, Landmark],
    codes: tuple[str, str, str],
    widths: tuple[float, ...],
    bite: float,
    rooted: float,
) -> list[Tooth]:
    """Return one jaw's crowns.

    The arch is y = y0 + a x² + b x⁴, through the canines and the second molars of both sides.
    """
    edge, *sides = codes
    front = points[edge]
    x, y = (
        np.array([(abs(points[c + "-L"][n]) + abs(points[c + "-R"][n])) / 2 for c in sides])
        for n in (0, 1)
    )
    rise = np.abs(front[1]) - y
    a, b = np.linalg.solve(np.stack([x**2, x**4], axis=1), rise)
    xs = np.linspace(0, 45, 2000)
    ys = front[1] + a * xs**2 + b * xs**4
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(xs), np.diff(ys)))])
    ends = np.cumsum(widths)
    teeth = []
    for width, depth, end in zip(widths, DEPTHS, ends, strict=True):
        at = float(np.interp(end - width / 2, length, xs))
        slope = 2 * a * at + 4 * b * at**3
        along = np.array([1.0, slope]) / np.hypot(1.0, slope)
        inward = np.array([-along[1], along[0]])
        outer = np.array([at, front[1] + a * at**2 + b * at**4])
        centre = outer + inward * depth / 2
        for mirror in (np.array([1.0, 1.0]), np.array([-1.0, 1.0])):
            middle = np.array([front[0], 0.0]) + centre * mirror
            half = (width / 2 - 0.1, depth / 2)
            teeth.append(Tooth(middle, along * mirror, half, bite, front[2] + rooted))
    return teeth
