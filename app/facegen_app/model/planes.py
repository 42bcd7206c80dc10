"""The three planes of a volume as pictures: which voxels, which way up, where a pixel is.

A plane runs along two voxel axes, those that lie nearest to the patient's.  All three are shown
as radiologists do: the patient's right at the left of axial and coronal pictures, anterior at
the left of sagittal ones, superior (axial: anterior) at the top.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from facegen_inference.volume import Grid

PlaneName = Literal["axial", "coronal", "sagittal"]
PLANE_NAMES: tuple[PlaneName, ...] = ("axial", "coronal", "sagittal")

# Patient axes (x left, y posterior, z superior) of each plane: through, right, down; and the
# sign of the step along each that goes right or down on the screen.
_LAYOUT: dict[PlaneName, tuple[int, int, int, int, int]] = {
    "axial": (2, 0, 1, 1, 1),
    "coronal": (1, 0, 2, 1, -1),
    "sagittal": (0, 1, 2, 1, -1),
}
_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))


@dataclass(frozen=True)
class Plane:
    """How one plane of a grid becomes a picture.

    Attributes
    ----------
    name
        ``axial``, ``coronal`` or ``sagittal``: what it is nearest to.
    through, right, down
        Voxel axes (0 = k, 1 = j, 2 = i) across the plane, to the right and downwards.
    flip_right, flip_down
        Whether voxel indices fall to the right, or downwards.
    spacing
        Width and height of a pixel, mm.
    letters
        Patient letters at the left, right, top and bottom.
    """

    name: PlaneName
    through: int
    right: int
    down: int
    flip_right: bool
    flip_down: bool
    spacing: tuple[float, float]
    letters: tuple[str, str, str, str]

    def pixels(self, array: NDArray[np.int16], index: int) -> NDArray[np.int16]:
        """Return one slice of a (k, j, i) array as a (rows, columns) view in screen order."""
        plane: NDArray[np.int16] = np.take(array, index, axis=self.through)
        if self.down > self.right:
            plane = plane.T
        return plane[:: -1 if self.flip_down else 1, :: -1 if self.flip_right else 1]

    def pixel_of(
        self, voxel: NDArray[np.float64], shape: tuple[int, int, int]
    ) -> tuple[float, float]:
        """Return the (column, row) of a voxel position (k, j, i)."""
        column, row = float(voxel[self.right]), float(voxel[self.down])
        if self.flip_right:
            column = shape[self.right] - 1 - column
        if self.flip_down:
            row = shape[self.down] - 1 - row
        return column, row

    def voxel_at(
        self, column: float, row: float, index: int, shape: tuple[int, int, int]
    ) -> NDArray[np.float64]:
        """Return the voxel position (k, j, i) of a pixel in slice `index`."""
        voxel = np.zeros(3)
        voxel[self.through] = index
        voxel[self.right] = shape[self.right] - 1 - column if self.flip_right else column
        voxel[self.down] = shape[self.down] - 1 - row if self.flip_down else row
        return voxel


def planes_of(grid: Grid) -> dict[PlaneName, Plane]:
    """Return the three planes of a grid."""
    directions = grid.patient_from_voxel[:3, :3] / grid.spacing
    axis_of = _nearest_axes(directions)
    planes: dict[PlaneName, Plane] = {}
    for name in PLANE_NAMES:
        through, across, downward, step_right, step_down = _LAYOUT[name]
        right, down = axis_of[across], axis_of[downward]
        low_high = _LETTERS[across] if step_right > 0 else _LETTERS[across][::-1]
        top_bottom = _LETTERS[downward] if step_down > 0 else _LETTERS[downward][::-1]
        planes[name] = Plane(
            name,
            axis_of[through],
            right,
            down,
            bool(directions[across, right] * step_right < 0),
            bool(directions[downward, down] * step_down < 0),
            (float(grid.spacing[right]), float(grid.spacing[down])),
            (*low_high, *top_bottom),
        )
    return planes


def _nearest_axes(directions: NDArray[np.float64]) -> tuple[int, ...]:
    """Return for each patient axis the voxel axis nearest to it, each used once.

    Parameters
    ----------
    directions
        (3, 3); column n is the unit direction of voxel axis n in LPS.
    """
    return max(
        permutations(range(3)),
        key=lambda order: sum(abs(directions[axis, order[axis]]) for axis in range(3)),
    )
