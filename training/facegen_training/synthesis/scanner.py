"""How a made person is scanned: pose, table, noise, calibration, what of the head is in view.

Every range here is our choice: wide enough that a scan of a lab lies within.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from facegen_inference.demo_head import RestingPlace
from facegen_inference.errors import UserError
from facegen_inference.volume import Grid
from facegen_training.synthesis.person import Person, PersonFields
from facegen_training.synthesis.random_fields import stream

Floats = NDArray[np.float64]

TURN_DEGREES = (8.0, 3.0, 5.0)
"""SD of nodding, tilting sideways and turning of the head, cut at 2 SD."""
NOISE_HU = (4.0, 20.0)
SLOPE_SD, OFFSET_SD_HU = 0.01, 4.0
"""Of a scanner's calibration: HU = slope · true + offset, cut at 2 SD."""
FIELD_MM = 300.0
"""The widest field of view; the narrowest just holds the head."""
MARGIN_MM = (8.0, 25.0)
BELOW_CHIN_MM = (10.0, 40.0)
VERTEX_CROPPED = 0.3
CROPPED_MM = (20.0, 45.0)
"""Share of scans that end below the vertex, and how far."""
HELD = 0.8
"""Share of heads that lie in a holder."""
PLACE_MM = (30.0, 60.0, 400.0)
"""The patient's origin lies up to this far from the gantry's, along (x, y, z)."""


@dataclass(frozen=True)
class ScanSize:
    """How many voxels a scan has, and how large they are.

    Attributes
    ----------
    rows, columns, slices
        Voxels.
    spacing
        (between slices, between pixels), mm; None where they follow from the head's size.
    """

    rows: int
    columns: int
    slices: int
    spacing: tuple[float, float] | None = None


@dataclass(frozen=True)
class Scanner:
    """What was drawn for one scan.

    Attributes
    ----------
    patient_from_frame
        4×4 rigid, how the mean head's frame lies in the scan, LPS mm.
    wide
        0..1, from the narrowest to the widest field of view.
    margin_mm
        Air above the vertex and in front of the nose.
    below_chin_mm, cropped_mm
        How far the scan goes on below the chin; how far below the vertex it ends (0: it does not).
    shift_mm
        How far the head lies beside the middle of the field.
    holder
        Whether there is a head-holder.
    couch_mm
        Between the back of the head and the couch.
    noise_hu
        SD of the noise.
    slope, offset_hu
        Calibration.
    """

    patient_from_frame: Floats
    wide: float
    margin_mm: float
    below_chin_mm: float
    cropped_mm: float
    shift_mm: float
    holder: bool
    couch_mm: float
    noise_hu: float
    slope: float
    offset_hu: float


def draw_scanner(seed: int, number: int) -> Scanner:
    """Draw how a person is scanned; the same for every size of scan."""
    random = stream(seed, number, "scanner")
    turn = np.clip(random.standard_normal(3), -2, 2) * TURN_DEGREES
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    matrix[:3, 3] = random.uniform(-1, 1, 3) * PLACE_MM
    calibration = np.clip(random.standard_normal(2), -2, 2)
    cropped = random.uniform() < VERTEX_CROPPED
    return Scanner(
        patient_from_frame=matrix,
        wide=float(random.uniform()),
        margin_mm=float(random.uniform(*MARGIN_MM)),
        below_chin_mm=float(random.uniform(*BELOW_CHIN_MM)),
        cropped_mm=float(random.uniform(*CROPPED_MM)) * cropped,
        shift_mm=float(random.uniform(-8, 8)),
        holder=bool(random.uniform() < HELD),
        couch_mm=float(random.uniform(18, 45)),
        noise_hu=float(random.uniform(*NOISE_HU)),
        slope=float(1 + SLOPE_SD * calibration[0]),
        offset_hu=float(OFFSET_SD_HU * calibration[1]),
    )


@dataclass(frozen=True)
class HeadBox:
    """Where a head lies in patient space, mm.

    Attributes
    ----------
    low, high
        (3,) corners of the box round the skin above `bottom`.
    bottom, top
        First and last z in view.
    neck
        z below which no holder reaches.
    back, shoulders
        Largest y of the head above the neck, and of all that is in view.
    middle
        x of the middle of the head.
    """

    low: Floats
    high: Floats
    bottom: float
    top: float
    neck: float
    back: float
    shoulders: float
    middle: float


def head_box(person: Person, fields: PersonFields, scanner: Scanner) -> HeadBox:
    """Measure how a person lies in the scanner."""
    stride = 2
    inside = np.argwhere(fields.skin[::stride, ::stride, ::stride] < 0).astype(np.float64) * stride
    lie = scanner.patient_from_frame
    points = fields.grid.patient_points(inside) @ lie[:3, :3].T + lie[:3, 3]
    marks = {c: lie[:3, :3] @ person.landmarks[c] + lie[:3, 3] for c in ("me", "po-L", "po-R")}
    bottom = float(marks["me"][2]) - scanner.below_chin_mm
    points = points[points[:, 2] >= bottom]
    neck = float(marks["po-L"][2] + marks["po-R"][2]) / 2 - 40.0
    head = points[points[:, 2] > neck]
    top = float(points[:, 2].max())
    top += -scanner.cropped_mm if scanner.cropped_mm else scanner.margin_mm
    return HeadBox(
        points.min(axis=0), points.max(axis=0), bottom, top, neck,
        float(head[:, 1].max()), float(points[:, 1].max()),
        float(head[:, 0].min() + head[:, 0].max()) / 2,
    )  # fmt: skip


def scan_grid(box: HeadBox, scanner: Scanner, size: ScanSize) -> Grid:
    """Return the scanner's axial grid, (k, j, i) along (z, y, x).

    Raises
    ------
    UserError
        When the spacing asked for does not let the head into the field.
    """
    head = max(float(box.high[1] - box.low[1]) + 12, float(box.high[0] - box.low[0]) + 24)
    needed = head + scanner.margin_mm
    if size.spacing is None:
        field = needed + scanner.wide * max(0.0, FIELD_MM - needed)
        pixel = field / min(size.rows, size.columns)
        step = (box.top - box.bottom) / (size.slices - 1)
    else:
        step, pixel = size.spacing
        if pixel * min(size.rows, size.columns) < head or step * size.slices < 150.0:
            raise UserError(
                f"{size.rows}×{size.columns}×{size.slices} voxels of {pixel:g} mm, {step:g} mm "
                "apart, do not hold a head.",
                f"Give at least {head:.0f} mm across and 150 mm from chin to vertex.",
            )
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([pixel, pixel, step])[:, ::-1]
    corner = (
        box.middle + scanner.shift_mm - pixel * (size.columns - 1) / 2,
        box.low[1] - scanner.margin_mm,
        box.bottom,
    )
    matrix[:3, 3] = np.round(corner, 1)
    return Grid((size.slices, size.rows, size.columns), matrix)


def resting_place(box: HeadBox, scanner: Scanner, grid: Grid) -> RestingPlace:
    """Return where holder and couch are, in the scan's voxels."""
    floor = max(box.back + max(scanner.couch_mm, 22.0), box.shoulders + 2.0)
    voxels = grid.voxel_points(
        np.array([[box.middle, box.back, box.neck], [box.middle, floor, box.neck]])
    )
    (k, back, middle), (_, low, _) = voxels
    return RestingPlace(float(middle), float(back), float(k), float(low), scanner.holder)
