"""How the head lies in a scan: its bone laid on the mean skull, quickly.

Good enough to tell skull from spine and couch; the Frankfurt frame proper is made elsewhere, from
the skull that results.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from facegen_inference.atlas import load_atlas
from facegen_inference.registration import (
    HeadFit,
    Points,
    Template,
    find_head,
    judge,
    refine,
)
from facegen_inference.volume import Grid

CAVITY_MIDDLE = np.array([0.0, 10.0, 45.0])
"""Middle of the cranial cavity, frame mm."""
_GOOD = (0.25, 0.65)
"""Score and share explained above which the quick placement is not doubted."""


@cache
def mean_skull() -> Template:
    """Return the atlas's mean skull as a template."""
    atlas = load_atlas()
    known = np.where(atlas.bone_people > 0, atlas.bone, np.float32(40.0))
    return Template.from_field(known, atlas.grid)


def place_head(points: Points, observed: Grid, middle: NDArray[np.float64]) -> HeadFit | None:
    """Lay bone on the mean skull.

    Parameters
    ----------
    points
        (N, 3) points on the surface of bone, LPS mm.
    observed
        The scan's grid.
    middle
        (3,) about the middle of the head, LPS mm.

    Returns
    -------
    The best placement, or None when there are too few points.
    """
    if len(points) < 50:
        return None
    template = mean_skull()
    few = points[:: max(1, len(points) // 1200)]
    starts = [_start(pitch, middle + shift) for pitch in (-30, 0, 30) for shift in _SHIFTS]
    quick = [refine(few, template, start, (20, 10)) for start in starts]
    fits = sorted((judge(few, template, m, observed) for m in quick), key=lambda f: -f.score)
    best = refine(points, template, fits[0].frame_from_patient, (9, 6))
    fit = judge(points, template, best, observed)
    if fit.score < _GOOD[0] or fit.explained < _GOOD[1]:
        found = find_head(points, template, observed, every_way=True)
        fit = max([fit, *found], key=lambda f: f.score)
    return fit


_SHIFTS = (np.zeros(3), np.array([0.0, 0.0, 35.0]))
"""A cut field of view puts the middle too low; try higher, LPS mm."""


def _start(pitch: float, middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return frame_from_patient that turns by `pitch` degrees and lays middle on middle."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("x", pitch, degrees=True).as_matrix()
    matrix[:3, 3] = CAVITY_MIDDLE - matrix[:3, :3] @ middle
    return matrix
