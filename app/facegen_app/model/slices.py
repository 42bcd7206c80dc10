"""Where the crosshair stands in the volume, and how grey values are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facegen_app.model.event import Event
from facegen_app.model.planes import Plane, PlaneName, planes_of

if TYPE_CHECKING:
    from facegen_inference.volume import Volume


@dataclass(frozen=True)
class Window:
    """Grey from black to white between two Hounsfield values."""

    low: float
    high: float


WINDOWS = {"bone": Window(-400.0, 1600.0), "soft tissue": Window(-160.0, 240.0)}


def grey_values(pixels: NDArray[np.int16], window: Window) -> NDArray[np.uint8]:
    """Map Hounsfield values linearly to 0..255 between the window's ends."""
    scale = 255.0 / (window.high - window.low)
    grey = (pixels.astype(np.float32) - window.low) * scale
    return np.asarray(np.clip(grey, 0, 255), np.uint8)


class SliceModel:
    """The state of the three slices.

    Attributes
    ----------
    volume
        What is shown, or None (a scan may be a mesh).
    planes
        How each plane becomes a picture; empty without a volume.
    cursor
        (3,) float64 voxel position (k, j, i) of the crosshair.
    window
        A name in `WINDOWS`.
    focus
        (2, 3) lowest and highest voxel position (k, j, i) that must be seen: the head.
    """

    def __init__(self) -> None:
        self.volume: Volume | None = None
        self.planes: dict[PlaneName, Plane] = {}
        self.cursor: NDArray[np.float64] = np.zeros(3)
        self.window = "bone"
        self.focus: NDArray[np.float64] = np.zeros((2, 3))
        self.volume_changed: Event[()] = Event()
        self.cursor_changed: Event[()] = Event()
        self.window_changed: Event[()] = Event()

    def set_volume(self, volume: Volume | None) -> None:
        """Show another volume, with the crosshair in its middle."""
        self.volume = volume
        self.planes = {} if volume is None else planes_of(volume.grid)
        shape = (1, 1, 1) if volume is None else volume.array.shape
        top = np.array(shape, dtype=np.float64) - 1
        self.cursor = top / 2
        self.focus = np.stack([np.zeros(3), top])
        self.volume_changed.emit()
        self.cursor_changed.emit()

    def move_to(self, voxel: NDArray[np.float64]) -> None:
        """Put the crosshair at a voxel position (k, j, i), held within the volume."""
        if self.volume is None:
            return
        held = np.clip(voxel, 0, np.array(self.volume.array.shape) - 1)
        if not np.array_equal(held, self.cursor):
            self.cursor = held
            self.cursor_changed.emit()

    def focus_on(self, points: NDArray[np.float64], margin_mm: float = 35.0) -> None:
        """Show only what lies around these points, (N, 3) LPS mm, and go to their middle."""
        if self.volume is None:
            return
        voxels = self.volume.grid.voxel_points(points)
        margin = margin_mm / self.volume.spacing
        top = np.array(self.volume.array.shape, dtype=np.float64) - 1
        low, high = voxels.min(axis=0), voxels.max(axis=0)
        self.focus = np.clip(np.stack([low - margin, high + margin]), 0, top)
        self.cursor = np.clip((low + high) / 2, 0, top)
        self.cursor_changed.emit()

    def step(self, plane: PlaneName, slices: int) -> None:
        """Go some slices further through one plane."""
        if self.volume is not None:
            voxel = self.cursor.copy()
            voxel[self.planes[plane].through] = round(voxel[self.planes[plane].through]) + slices
            self.move_to(voxel)

    def set_window(self, name: str) -> None:
        """Choose a window preset."""
        if name != self.window:
            self.window = name
            self.window_changed.emit()

    def index(self, plane: PlaneName) -> int:
        """Return the number of the slice shown in a plane."""
        return round(float(self.cursor[self.planes[plane].through]))

    def picture(self, plane: PlaneName) -> NDArray[np.uint8]:
        """Return the slice through the crosshair as grey values, (rows, columns) uint8."""
        assert self.volume is not None
        pixels = self.planes[plane].pixels(self.volume.array, self.index(plane))
        return np.ascontiguousarray(grey_values(pixels, WINDOWS[self.window]))

    def shown(self, plane: PlaneName) -> tuple[float, float, float, float]:
        """Return the part of a plane's picture that is seen: left, top, width, height, pixels."""
        assert self.volume is not None
        shape = self.volume.array.shape
        corners = [self.planes[plane].pixel_of(voxel, shape) for voxel in self.focus]
        left, right = sorted(column for column, _ in corners)
        top, bottom = sorted(row for _, row in corners)
        return left, top, right - left + 1, bottom - top + 1

    def reading(self, voxel: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]] | None:
        """Return the HU and the LPS mm position at a voxel position; None outside."""
        if self.volume is None:
            return None
        nearest = np.rint(voxel).astype(int)
        if (nearest < 0).any() or (nearest >= self.volume.array.shape).any():
            return None
        k, j, i = nearest
        point = self.volume.grid.patient_points(np.asarray(voxel, dtype=np.float64)[None])[0]
        return int(self.volume.array[k, j, i]), point
