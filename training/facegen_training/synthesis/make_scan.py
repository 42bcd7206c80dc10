"""The CT of a made person: tissues from signed distances, teeth, metal, couch, noise.

Slice by slice, so that beside the scan itself only one slice is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from facegen_inference.demo_head import EDGE_MM, TOOTH_HU, mixed, step, support, tissues
from facegen_inference.volume import Grid, Volume
from facegen_training.synthesis.person import Person, PersonFields, draw_person, person_fields
from facegen_training.synthesis.random_fields import stream
from facegen_training.synthesis.scanner import (
    Scanner,
    ScanSize,
    draw_scanner,
    head_box,
    resting_place,
    scan_grid,
)
from facegen_training.synthesis.streaks import streaks

Array = NDArray[np.float32]
Floats = NDArray[np.float64]

FINEST_MM, COARSEST_MM = 1.5, 3.0
"""A person's distances are kept on steps as large as the scan's voxels, within these."""
METAL_HU = 6000.0
"""Far above what 12 bits store, as in a scanner."""
LOW_HU, HIGH_HU = -1024, 3071
SOURCE = "synthetic head"


@dataclass(frozen=True)
class _View:
    """What a slice is made from: the fields, how voxels map into them, and the head's window."""

    fields: PersonFields
    to_frame: Floats
    window: tuple[slice, slice]
    edge_mm: float

    def read(self, values: Array, grid: Grid, k: int) -> Array:
        """Return a field on the window of slice k, (j, i); its edge goes on outside its grid."""
        matrix = grid.voxel_from_patient @ self.to_frame
        start = np.array([k, self.window[0].start, self.window[1].start], dtype=np.float64)
        shape = (1, *(w.stop - w.start for w in self.window))
        found = affine_transform(
            values, matrix[:3, :3], matrix[:3, :3] @ start + matrix[:3, 3],
            output_shape=shape, order=1, mode="nearest", output=np.float32,
        )  # fmt: skip
        return np.asarray(found[0], dtype=np.float32)


def scan_person(person: Person, scanner: Scanner, size: ScanSize) -> Volume:
    """Return the CT of a person.

    Parameters
    ----------
    person, scanner
        From `draw_person` and `draw_scanner`.
    size
        Of the scan.

    Returns
    -------
    (k, j, i) int16 HU, LPS; values a 12-bit scanner can store (-1024..3071).

    Raises
    ------
    UserError
        When the size does not hold a head.
    """
    voxel = min(size.spacing or (240.0 / size.slices, 250.0 / min(size.rows, size.columns)))
    fields = person_fields(person, float(np.clip(voxel, FINEST_MM, COARSEST_MM)))
    box = head_box(person, fields, scanner)
    grid = scan_grid(box, scanner, size)
    place = resting_place(box, scanner, grid)
    to_frame = np.linalg.inv(scanner.patient_from_frame) @ grid.patient_from_voxel
    edge = max(EDGE_MM, float(np.prod(grid.spacing)) ** (1 / 3))
    view = _View(fields, to_frame, _window(box.low, box.high, grid), edge)
    dz, dy, dx = (float(s) for s in grid.spacing)
    noise = stream(person.seed, person.number, "noise")
    array = np.empty(grid.shape, dtype=np.int16)
    blank = np.empty(grid.shape[1:], dtype=np.float32)
    for k in range(grid.shape[0]):
        hu = support(blank, k, place, (dz, dy, dx))
        metal = _put_head(hu, view, k)
        if metal is not None:
            hu += streaks(metal, dx)
        hu = np.float32(scanner.slope) * hu + np.float32(scanner.offset_hu)
        hu += scanner.noise_hu * noise.standard_normal(hu.shape).astype(np.float32)
        array[k] = np.clip(np.rint(hu), LOW_HU, HIGH_HU)
    return Volume(array, grid.patient_from_voxel, source=SOURCE)


def synthetic_head(seed: int, number: int, spacing: float) -> Volume:
    """Return the CT of a made person with cubic voxels, in memory; for tests and trials.

    Parameters
    ----------
    seed, number
        Of the cohort, of the person; what `facegen-train synthesize` makes of them is the same
        person in the same pose.
    spacing
        Voxel size, mm.
    """
    person, scanner = draw_person(seed, number), draw_scanner(seed, number)
    across = int(np.ceil(288.0 / spacing))
    box = head_box(person, person_fields(person, 4.0), scanner)
    slices = int(np.ceil((box.top - box.bottom) / spacing)) + 1
    return scan_person(person, scanner, ScanSize(across, across, slices, (spacing, spacing)))


def _window(low: Floats, high: Floats, grid: Grid) -> tuple[slice, slice]:
    """Return the rows and columns that hold the head, with some air."""
    ends = grid.voxel_points(np.array([low - 6.0, high + 6.0]))
    spans = []
    for axis in (1, 2):
        first, last = int(np.floor(ends[0, axis])), int(np.ceil(ends[1, axis])) + 1
        spans.append(slice(max(0, first), min(grid.shape[axis], last)))
    return spans[0], spans[1]


def _put_head(hu: Array, view: _View, k: int) -> NDArray[np.bool_] | None:
    """Put the head into slice k, in place; return where metal is, (j, i), or None."""
    fields = view.fields
    skin, bone = (view.read(a, fields.grid, k) for a in (fields.skin, fields.bone))
    middle = [k, *((w.start + w.stop) / 2 for w in view.window), 1.0]
    inner = tissues(skin, bone, float(view.to_frame[2] @ middle), view.edge_mm)
    metal = None
    if fields.crowns is not None:
        crowns = view.read(fields.crowns, fields.crown_grid, k)
        if crowns.min() < view.edge_mm:
            inner += (np.float32(TOOTH_HU) - inner) * step(-crowns, view.edge_mm)
    if fields.metal is not None:
        dense = view.read(fields.metal, fields.crown_grid, k)
        share = step(-dense, view.edge_mm)
        if (share > 0.5).any():
            inner += (np.float32(METAL_HU) - inner) * share
            metal = np.zeros(hu.shape, dtype=bool)
            metal[view.window] = share > 0.5
    hu[view.window] = mixed(hu[view.window], inner, skin, view.edge_mm)
    return metal
