"""The demonstration scan: a head that is no one's, as a CT series that the program makes itself.

The shape is a model: signed distances to skin and to bone averaged over many people in the
Frankfurt frame, so no voxel of any scan is in it, and a smooth cap that closes the vault where
those people's scans ended.  Here it becomes a CT: tissues in Hounsfield units from the two
distances, a couch and a head-holder, noise, twelve bits.  The same model gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from facegen_inference.atlas import load_atlas
from facegen_inference.demo_teeth import Tooth, teeth_distance, teeth_rows
from facegen_inference.dicom_writer import write_series
from facegen_inference.progress import Progress, part, silent
from facegen_inference.volume import AIR_HU, Grid, Volume

SPACING_MM = 1.0
FIELD_MM = 272.0
MARGIN_MM = 12.0
"""Air left above the vertex and in front of the nose."""
EDGE_MM = 1.2
"""Width over which one tissue passes into the next: about a voxel, as a scanner blurs it."""
NOISE_HU = 8.0
SEED = 20

DERMIS_HU, FAT_HU, MUSCLE_HU, BRAIN_HU = 35.0, -90.0, 55.0, 35.0
CORTEX_HU, DIPLOE_HU, TOOTH_HU = 1100.0, 500.0, 1800.0
DERMIS_MM, FAT_MM, CORTEX_MM = 1.5, 9.0, 2.0
FOAM_HU, SHELL_HU, CORE_HU = -880.0, -150.0, -940.0

Array = NDArray[np.float32]


@dataclass(frozen=True)
class HeadModel:
    """The averaged head.

    Attributes
    ----------
    skin, bone
        (k, j, i) float32, mean signed distance in mm, negative inside.
    grid
        Their grid; its "patient space" is the Frankfurt frame (x left, y posterior, z superior).
    teeth
        Crowns, in the frame; made, since the average has none.
    people
        How many people were averaged.
    """

    skin: Array
    bone: Array
    grid: Grid
    teeth: tuple[Tooth, ...]
    people: int


@cache
def load_head_model() -> HeadModel:
    """Read the model that ships in the resources; the teeth stand on the atlas's landmarks."""
    with as_file(files("facegen_resources") / "demo_head.npz") as path, np.load(path) as data:
        skin, bone = (data[name].astype(np.float32) for name in ("skin", "bone"))
        shape = skin.shape
        return HeadModel(
            skin, bone, Grid((shape[0], shape[1], shape[2]), data["frame_from_voxel"]),
            teeth_rows(load_atlas().landmarks), int(data["people"]),
        )  # fmt: skip


def patient_from_frame() -> NDArray[np.float64]:
    """Return how the head lies on the couch, 4×4: chin raised by 7°, turned by 3°, off centre."""
    pitch, yaw = np.deg2rad(7.0), np.deg2rad(3.0)
    about_x = np.array(
        [
            [1, 0, 0],
            [0, np.cos(pitch), -np.sin(pitch)],
            [0, np.sin(pitch), np.cos(pitch)],
        ]
    )
    about_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_x
    matrix[:3, 3] = (5.0, -18.0, 412.0)
    return matrix


def scan_grid(model: HeadModel) -> Grid:
    """Return the scanner's grid: axial, 1 mm, round the head; it ends below where the model does.

    The field is square, `FIELD_MM` wide; the room behind the head shows holder and couch.
    """
    inside = np.argwhere(model.skin[::2, ::2, ::2] < 0).astype(np.float64) * 2
    frame = model.grid.patient_points(inside)
    lie = patient_from_frame()
    points = frame @ lie[:3, :3].T + lie[:3, 3]
    neck = points[inside[:, 0] <= inside[:, 0].min() + 1]
    bottom, top = float(neck[:, 2].max()), float(points[:, 2].max()) + MARGIN_MM
    middle = (points[:, 0].min() + points[:, 0].max()) / 2
    front = points[:, 1].min() - MARGIN_MM
    across = round(FIELD_MM / SPACING_MM)
    matrix = np.zeros((4, 4))
    matrix[[2, 1, 0], [0, 1, 2]] = SPACING_MM
    corner = (middle - SPACING_MM * (across - 1) / 2, front, bottom)
    matrix[:3, 3] = np.round(corner, 1)
    matrix[3, 3] = 1.0
    return Grid((int((top - bottom) / SPACING_MM), across, across), matrix)


def head_volume(model: HeadModel, progress: Progress = silent) -> Volume:
    """Return the CT of a head model lying on a couch.

    Parameters
    ----------
    model
        The averaged head.
    progress
        Told of the steps.

    Returns
    -------
    (k, j, i) int16 HU, 1 mm, LPS; values a 12-bit scanner can store (-1024..3071).
    """
    grid = scan_grid(model)
    to_frame = np.linalg.inv(patient_from_frame()) @ grid.patient_from_voxel
    progress(0.0, "Laying the head on the couch")
    skin = _sampled(model.skin, model.grid, to_frame, grid.shape)
    progress(0.3, "Laying the head on the couch")
    bone = _sampled(model.bone, model.grid, to_frame, grid.shape)
    progress(0.6, "Filling in the tissues")
    hu = np.empty(grid.shape, dtype=np.float32)
    place = _resting_place(skin, to_frame)
    for k in range(grid.shape[0]):
        frame_z = to_frame[2, 0] * k + to_frame[2, 3]
        inner = tissues(skin[k], bone[k], frame_z)
        _set_teeth(inner, k, to_frame, model.teeth)
        hu[k] = mixed(support(skin[k], k, place), inner, skin[k])
    progress(0.85, "Adding noise")
    noise = np.random.RandomState(SEED)  # its numbers are the same in every NumPy
    for k in range(grid.shape[0]):
        hu[k] += NOISE_HU * noise.standard_normal(grid.shape[1:]).astype(np.float32)
    array = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    progress(1.0, "The synthetic head is ready")
    return Volume(array, grid.patient_from_voxel, source="synthetic head")


def tissues(skin: Array, bone: Array, frame_z: float, edge_mm: float = EDGE_MM) -> Array:
    """Return the Hounsfield values inside a head from its two signed distances.

    From outside inward: dermis; fat over the outer half of the way to the bone, at most
    `FAT_MM`; muscle (brain
    where the skin is far and the level is above the Frankfurt plane); a shell of cortical bone;
    diploe.

    Parameters
    ----------
    skin, bone
        Signed distances in mm, negative inside, any shape.
    frame_z
        Height of these voxels above the Frankfurt plane, mm.
    edge_mm
        Width over which one tissue passes into the next.
    """
    depth = -skin
    way = np.maximum(depth + bone, 1e-3)
    deep = BRAIN_HU if frame_z > 5.0 else MUSCLE_HU
    soft = MUSCLE_HU + (deep - MUSCLE_HU) * step(depth - 22.0, 6.0)
    fat = step(depth - DERMIS_MM, edge_mm) * step(np.minimum(0.5 * way, FAT_MM) - depth, 2.0)
    fat = fat * step(way - 4.0, 3.0)
    soft = soft + (FAT_HU - soft) * fat
    soft = soft + (DERMIS_HU - soft) * step(DERMIS_MM - depth, edge_mm)
    hard = CORTEX_HU + (DIPLOE_HU - CORTEX_HU) * step(-bone - CORTEX_MM, edge_mm)
    return np.asarray(soft + (hard - soft) * step(-bone, edge_mm), dtype=np.float32)


@dataclass(frozen=True)
class RestingPlace:
    """Where the head rests, in voxels: its middle (i), back (j) and lowest held slice (k).

    `floor` is the j of the couch, behind head and shoulders.  Without `holder` there is only
    the couch.
    """

    middle: float
    back: float
    neck: float
    floor: float
    holder: bool = True


def support(
    skin: Array, k: int, place: RestingPlace, spacing: tuple[float, float, float] | None = None
) -> Array:
    """Return what lies round the head in one slice: air, head-holder with its pad, couch.

    The holder is a carbon shell bent round the back of the head, its foam pad keeping the skin
    8 mm away from it; it ends at the neck.  The couch is a wider carbon shell with a foam core.

    Parameters
    ----------
    skin
        (j, i), signed distance to skin, mm.
    k
        The slice.
    place
        Where the head rests.
    spacing
        Voxel size along (k, j, i), mm; the demonstration scan's where None.
    """
    dz, dy, dx = spacing or (SPACING_MM, SPACING_MM, SPACING_MM)
    j, i = np.ogrid[: len(skin), : len(skin.T)]
    x = (dx * (i - place.middle)).astype(np.float32)
    y = (dy * (j - place.back)).astype(np.float32)
    out = np.full(skin.shape, float(AIR_HU), dtype=np.float32)
    radius, held = 112.0, step(np.float32(dz * (k - place.neck))) * np.float32(place.holder)
    low = y - 8.0 + radius
    reach = np.hypot(x, low) - radius
    held = held * step(low - 0.35 * radius, 2.0)
    paint(out, FOAM_HU, step(-reach) * held)
    paint(out, SHELL_HU, step(1.5 - np.abs(reach - 1.5)) * held)
    floor = np.hypot(x, y - dy * (place.floor - place.back) + 420.0) - 420.0
    paint(out, CORE_HU, step(floor) * step(28.0 - floor))
    for at in (0.0, 28.0):
        paint(out, SHELL_HU, step(1.0 - np.abs(floor - at)))
    return out


def make_demo_scan(folder: Path, progress: Progress = silent) -> Path:
    """Write the demonstration scan as a DICOM CT series.

    Parameters
    ----------
    folder
        A new or empty folder for the series.
    progress
        Told of the steps.

    Returns
    -------
    The folder.

    Raises
    ------
    OutputError
        The folder holds something, or cannot be written.
    """
    model = load_head_model()
    volume = head_volume(model, part(progress, 0.0, 0.8))
    progress(0.8, "Writing the series")
    text = (
        f"Synthetic: signed distances to skin and bone averaged over {model.people} people; the "
        "vault is closed by a smooth cap; no voxel of any scan. Teeth, couch and holder are made."
    )
    write_series(
        volume,
        folder,
        patient_id="FACEGEN-DEMO",
        patient_name="Synthetic^Head",
        series_description=f"Synthetic head, average of {model.people} people",
        seed="facegen demo head 1",
        tags={
            "PatientPosition": "HFS",
            "ImageComments": text,
            "KVP": "120",
            "ConvolutionKernel": "NONE",
            "ManufacturerModelName": "Synthetic head",
        },
    )
    progress(1.0, "The synthetic scan is written")
    return folder


def step(distance: Array | np.float32, width: float = EDGE_MM) -> Array:
    """Return 0 below, 1 above, and a ramp of `width` mm about zero."""
    return np.asarray(np.clip(0.5 + distance / width, 0.0, 1.0), dtype=np.float32)


def paint(values: Array, hu: float, share: Array) -> None:
    """Mix `hu` into `values` in place."""
    values += (np.float32(hu) - values) * share


def mixed(outside: Array, inside: Array, skin: Array, edge_mm: float = EDGE_MM) -> Array:
    """Return the two sides of the skin with partial volume between them."""
    return np.asarray(outside + (inside - outside) * step(-skin, edge_mm), dtype=np.float32)


def _sampled(
    field: Array, grid: Grid, frame_from_voxel: NDArray[np.float64], shape: tuple[int, int, int]
) -> Array:
    """Return a field of the model on the scanner's voxels; its edge goes on outside its grid."""
    matrix = grid.voxel_from_patient @ frame_from_voxel
    return np.asarray(
        affine_transform(
            field, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=1, mode="nearest",
            output=np.float32,
        )
    )  # fmt: skip


def _resting_place(skin: Array, frame_from_voxel: NDArray[np.float64]) -> RestingPlace:
    """Return where a head with this (k, j, i) signed distance to skin rests."""
    neck = int(np.clip((-40.0 - frame_from_voxel[2, 3]) / frame_from_voxel[2, 0], 0, len(skin) - 1))
    head, body = skin[neck:].min(axis=0) < 0, skin.min(axis=0) < 0
    back = float(np.flatnonzero(head.any(axis=1)).max())
    shoulders = float(np.flatnonzero(body.any(axis=1)).max())
    middle = float(np.flatnonzero(head.any(axis=0)).mean())
    return RestingPlace(middle, back, neck, max(back + 22.0, shoulders + 2.0))


def _set_teeth(
    hu: Array, k: int, frame_from_voxel: NDArray[np.float64], teeth: tuple[Tooth, ...]
) -> None:
    """Put the crowns into one slice."""
    if not teeth:
        return
    low = np.min([(*tooth.centre, min(tooth.bite, tooth.neck)) for tooth in teeth], axis=0) - 9
    high = np.max([(*tooth.centre, max(tooth.bite, tooth.neck)) for tooth in teeth], axis=0) + 9
    corners = np.array([(k, j, i, 1) for j in (0, len(hu)) for i in (0, len(hu.T))])
    heights = corners @ frame_from_voxel[2]
    if heights.max() < low[2] or heights.min() > high[2]:
        return
    j, i = np.indices(hu.shape)
    voxels = np.stack([np.full_like(j, k), j, i, np.ones_like(j)], axis=-1)
    points = voxels @ frame_from_voxel[:3].T
    near = ((points > low) & (points < high)).all(axis=-1)
    if near.any():
        share = step(-teeth_distance(teeth, points[near]).astype(np.float32))
        hu[near] += (np.float32(TOOTH_HU) - hu[near]) * share
