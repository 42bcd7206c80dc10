"""Where the slices of a CT series are, proved from their positions, and the regular grid for them.

Every slice is a plane of known position and orientation.  The grid keeps the slices' own plane:
its axes are the row, the column and their normal, so a straight, even series needs no resampling
at all.  Under a tilted gantry (or a moved field of view) each slice is shifted within its plane,
which undoes the shear exactly along the normal; uneven spacing is interpolated between
neighbouring slices.  Names and instance numbers of files are never used for ordering.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facegen_inference.dicom_header import Slice
from facegen_inference.errors import ScanError

MIN_SLICES = 4
_SAME_POSITION_MM = 0.01
_STRAIGHT_PIXELS = 0.1
_FARTHEST_PIXELS = 2000.0
_EVEN = 0.05  # of the spacing, for positions rounded by the scanner


@dataclass(frozen=True)
class Stack:
    """Slices in order and the regular grid they are read onto.

    Attributes
    ----------
    slices
        Sorted along the normal (row × column direction).
    shape
        Voxels (k, j, i) of the grid.
    patient_from_voxel
        4×4, (k, j, i, 1) → LPS mm, columns orthogonal, k along the normal.
    shifts
        (slices, 2) pixels (j, i) at which each slice's first pixel lies in the grid's plane.
    recipe
        For each k of the grid the (slice, weight) pairs it is made of.
    tilt_degrees
        Gantry tilt that was undone; 0 where none.
    resampled
        Whether uneven spacing was interpolated.
    warnings
        Sentences about both.
    """

    slices: tuple[Slice, ...]
    shape: tuple[int, int, int]
    patient_from_voxel: NDArray[np.float64]
    shifts: NDArray[np.float64]
    recipe: tuple[tuple[tuple[int, float], ...], ...]
    tilt_degrees: float = 0.0
    resampled: bool = False
    warnings: tuple[str, ...] = field(default=())

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Spacing (k, j, i) in mm."""
        k, j, i = np.linalg.norm(self.patient_from_voxel[:3, :3], axis=0)
        return float(k), float(j), float(i)

    @property
    def direct(self) -> bool:
        """Whether every slice is one slice of the grid, unchanged."""
        return not self.resampled and not np.any(self.shifts)

    def as_data(self) -> dict[str, object]:
        """Return the geometry as plain data for ``result.json``."""
        return {
            "spacing_mm": [round(s, 6) for s in self.spacing],
            "shape": list(self.shape),
            "orientation": np.round(self.patient_from_voxel[:3, :3] / self.spacing, 6).tolist(),
            "slices": len(self.slices),
            "tilt_undone_degrees": round(self.tilt_degrees, 3),
            "resampled": self.resampled,
        }


def build_stack(slices: Sequence[Slice]) -> Stack:
    """Prove the geometry of one series and return the grid for it.

    Raises
    ------
    ScanError
        The slices do not form one stack; the sentence names the slices at fault.
    """
    if len(slices) < MIN_SLICES:
        count = "only one slice" if len(slices) == 1 else f"only {len(slices)} slices"
        raise ScanError(
            f"The series has {count}; a head cannot be reconstructed from that.",
            "Export the whole series.",
            slices=len(slices),
        )
    _check_same(slices)
    first = slices[0]
    axes = _axes(first)
    row_step, column_step = first.spacing or (0.0, 0.0)
    positions = np.array([s.position for s in slices], dtype=np.float64)
    order = np.argsort(positions @ axes[2], kind="stable")
    ordered = tuple(slices[n] for n in order)
    positions = positions[order]
    along = positions @ axes[2]
    _check_steps(ordered, along)
    offsets = (positions - positions[0]) @ axes[:2].T  # (slices, 2) mm along row, down column
    pixels = offsets[:, ::-1] / [row_step, column_step]  # (slices, 2) along j, i
    shifts, extra = _shifts(pixels)
    spacing, recipe, resampled = _recipe(along)
    matrix = np.eye(4)
    matrix[:3, 0] = axes[2] * spacing
    matrix[:3, 1] = axes[1] * row_step
    matrix[:3, 2] = axes[0] * column_step
    lowest = (pixels - shifts).mean(axis=0) if np.any(shifts) else np.zeros(2)
    matrix[:3, 3] = positions[0] + matrix[:3, 1] * lowest[0] + matrix[:3, 2] * lowest[1]
    tilt, sentences = _tilt(offsets, along, bool(np.any(shifts)), first.tilt)
    if resampled:
        sentences.append(_uneven_sentence(along, spacing))
    shape = (len(recipe), first.rows + extra[0], first.columns + extra[1])
    return Stack(ordered, shape, matrix, shifts, recipe, tilt, resampled, tuple(sentences))


def _axes(slice_: Slice) -> NDArray[np.float64]:
    """Return row direction, column direction and their normal as rows of a 3×3 rotation."""
    row, column = np.array(slice_.orientation, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.99 or max(lengths) > 1.01 or abs(row @ column) > 0.01:
        raise ScanError(
            f"The orientation written in {slice_.name} is not two perpendicular directions.",
            "Export the series again from the scanner or the archive.",
            orientation=slice_.orientation,
        )
    row = row / lengths[0]
    column = column - row * (row @ column)
    column /= np.linalg.norm(column)
    return np.array([row, column, np.cross(row, column)])


def _check_same(slices: Sequence[Slice]) -> None:
    """Raise where slices of one series differ in what must be equal, or lack it."""
    first = slices[0]
    for other in slices:
        if other.position is None or other.orientation is None or other.spacing is None:
            what = (
                "position" if other.position is None
                else "orientation" if other.orientation is None else "pixel spacing"
            )  # fmt: skip
            raise ScanError(
                f"{other.name} does not say its {what}, so the series has no provable geometry.",
                "Export the original series with its complete headers.",
                file=other.path,
            )
        if min(other.spacing) <= 0:
            raise ScanError(
                f"{other.name} has a pixel spacing of zero or less.",
                "Export the original series.",
                file=other.path,
                spacing=other.spacing,
            )
        _check_pair(first, other)


def _check_pair(first: Slice, other: Slice) -> None:
    """Raise where two slices cannot belong to one stack."""
    names = f"{first.name} and {other.name}"
    if not _same_patient(first.patient, other.patient):
        raise ScanError(
            f"Slices of two patients are mixed in one series: {names} differ in patient ID.",
            "Separate the patients and open one of them.",
            files=names,
        )
    if (first.rows, first.columns) != (other.rows, other.columns):
        raise ScanError(
            f"The series mixes image sizes: {first.name} has {first.rows}×{first.columns} pixels, "
            f"{other.name} {other.rows}×{other.columns}.",
            "Export the original series without reformatted images.",
            files=names,
        )
    if not np.allclose(first.spacing or 0, other.spacing or 0, rtol=1e-3):
        raise ScanError(
            f"The series mixes pixel spacings: {names} differ.",
            "Export reconstructions with different fields of view as separate series.",
            first=first.spacing,
            other=other.spacing,
        )
    turned = np.array(first.orientation) - np.array(other.orientation)
    if np.abs(turned).max() > 0.01:
        raise ScanError(
            f"The slices are not parallel: {names} have different orientations.",
            "Export the original series without reformatted images.",
            files=names,
        )


def _same_patient(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Compare (ID, name); the ID decides where both have one."""
    if one[0] and other[0]:
        return one[0] == other[0]
    return one[1] == other[1]


def _check_steps(ordered: Sequence[Slice], along: NDArray[np.float64]) -> None:
    """Raise for duplicate positions and for missing slices, naming where."""
    steps = np.diff(along)
    same = np.flatnonzero(steps < _SAME_POSITION_MM)
    if same.size:
        n = int(same[0])
        raise ScanError(
            f"{same.size} position{'s are' if same.size > 1 else ' is'} taken twice, first by "
            f"{ordered[n].name} and {ordered[n + 1].name}, which differ.",
            "Two reconstructions share one series: export one of them.",
            count=same.size,
        )
    gaps = _gaps(steps)
    if not gaps:
        return
    n = gaps[0]
    usual = min(steps[max(n - 1, 0)], steps[min(n + 1, len(steps) - 1)])
    usual = usual if usual < steps[n] else float(np.median(steps))
    count = sum(max(1, round(float(steps[g]) / usual) - 1) for g in gaps)
    raise ScanError(
        f"About {count} slice{'s are' if count > 1 else ' is'} missing, first between "
        f"{ordered[n].name} and {ordered[n + 1].name}: {steps[n]:.2f} mm apart "
        f"instead of {usual:.2f} mm.",
        "Export the complete series.",
        gaps=len(gaps),
    )


def _gaps(steps: NDArray[np.float64]) -> list[int]:
    """Return steps that are holes: 1 or 2 in a row, over 1.5 times those on both sides."""
    found: list[int] = []
    n, last = 0, len(steps)
    while n < last:
        end = n + 1
        while end < last and abs(steps[end] - steps[n]) < _EVEN * steps[n]:
            end += 1
        sides = [steps[m] for m in (n - 1, end) if 0 <= m < last]
        if end - n <= 2 and sides and steps[n] > 1.5 * max(sides):
            found.extend(range(n, end))
        n = end
    return found


def _shifts(pixels: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return each slice's place (j, i) in the common plane, and by how much that is larger."""
    span = pixels.max(axis=0) - pixels.min(axis=0)
    if span.max() > _FARTHEST_PIXELS:
        raise ScanError(
            f"The slices lie up to {span.max():.0f} pixels sideways of each other, so they cannot "
            "be one scan.",
            "Export the original series.",
            pixels=float(span.max()),
        )
    if span.max() <= _STRAIGHT_PIXELS:
        return np.zeros_like(pixels), (0, 0)
    # An axis on which nothing moves stays exactly as it is.
    shifts = np.where(span <= _STRAIGHT_PIXELS, 0.0, pixels - pixels.min(axis=0))
    extra = np.ceil(shifts.max(axis=0) - 1e-6).astype(int)
    return shifts, (int(extra[0]), int(extra[1]))


def _recipe(
    along: NDArray[np.float64],
) -> tuple[float, tuple[tuple[tuple[int, float], ...], ...], bool]:
    """Return the grid's spacing, what each of its slices is made of, and whether interpolated."""
    count = len(along)
    spacing = float(along[-1] - along[0]) / (count - 1)
    even = along[0] + spacing * np.arange(count)
    if np.abs(along - even).max() <= _EVEN * spacing:
        return spacing, tuple(((n, 1.0),) for n in range(count)), False
    spacing = _finest_common_step(np.diff(along))
    wanted = np.arange(along[0], along[-1] + 1e-6, spacing)
    below = np.clip(np.searchsorted(along, wanted, side="right") - 1, 0, count - 2)
    share = np.clip((wanted - along[below]) / (along[below + 1] - along[below]), 0.0, 1.0)
    recipe = []
    for lower, part in zip(below.tolist(), share.tolist(), strict=True):
        pairs = ((lower, 1.0 - part), (lower + 1, part))
        recipe.append(tuple((n, weight) for n, weight in pairs if weight > 1e-3))
    return spacing, tuple(recipe), True


def _finest_common_step(steps: NDArray[np.float64]) -> float:
    """Return the smallest step that occurs in at least a tenth of the series."""
    for step in np.sort(steps):
        alike = np.abs(steps - step) < _EVEN * step
        if alike.sum() >= max(2, 0.1 * len(steps)):
            return float(np.mean(steps[alike]))
    return float(np.median(steps))


def _tilt(
    offsets: NDArray[np.float64], along: NDArray[np.float64], shifted: bool, declared: float
) -> tuple[float, list[str]]:
    """Return the gantry tilt in degrees and sentences about it and other in-plane movement."""
    if not shifted:
        if abs(declared) >= 0.5:
            return 0.0, [
                f"The header names a gantry tilt of {declared:.1f}° but the slices lie straight "
                "above each other: taken as already corrected."
            ]
        return 0.0, []
    depth = along - along[0]
    line = np.column_stack([depth, np.ones_like(depth)])
    fit, *_ = np.linalg.lstsq(line, offsets, rcond=None)
    tilt = float(np.degrees(np.arctan(np.linalg.norm(fit[0]))))
    if np.abs(offsets - line @ fit).max() > 1.0:
        return tilt, ["The slices are shifted sideways against each other; each was put in place."]
    return tilt, [f"The gantry was tilted by {tilt:.1f}°; the slices were shifted into place."]


def _uneven_sentence(along: NDArray[np.float64], spacing: float) -> str:
    """Return the warning for uneven spacing."""
    steps = np.diff(along)
    return (
        f"The slices are {steps.min():.2f} to {steps.max():.2f} mm apart; the scan was "
        f"resampled to {spacing:.2f} mm."
    )
