"""The skull: bone of the head alone, on a grid, and what of it is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from facegen_inference.mesh import Mesh
from facegen_inference.volume import Grid


class Presence(StrEnum):
    """Whether a part of the skull is there."""

    PRESENT = "present"
    ABSENT = "absent"
    NOT_SCANNED = "not scanned"
    UNSURE = "unsure"


PARTS = (
    "cranium",
    "maxilla",
    "mandible",
    "upper teeth",
    "lower teeth",
    "left orbit",
    "right orbit",
)


@dataclass(frozen=True)
class Skull:
    """Bone of one head in patient space; made from a `Volume` or a closed `Mesh`.

    Attributes
    ----------
    distance
        (k, j, i) float32, signed distance to the bone surface in mm, negative inside bone,
        clipped to ±40.
    grid
        The grid of `distance` (about 1 mm, at least the scan's own resolution where coarser).
    observed
        (k, j, i) bool: where the scanner looked.
    mesh
        The bone surface for display, LPS mm.
    parts
        Part name (`PARTS`) → `Presence`.
    level_hu
        The bone level used; NaN for a mesh.
    notes
        Sentences about what was removed or doubtful.
    """

    distance: NDArray[np.float32]
    grid: Grid
    observed: NDArray[np.bool_]
    mesh: Mesh
    parts: dict[str, Presence] = field(default_factory=dict)
    level_hu: float = float("nan")
    notes: tuple[str, ...] = ()
