"""The skull: bone of the head alone, on a grid, and what of it is there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facegen_inference import surface
from facegen_inference.bone import FLOOR_HU, LEVEL_HU, BoneLevels, bone_levels
from facegen_inference.bone_distance import head_grid, sample, signed_distance
from facegen_inference.errors import NoHeadFound
from facegen_inference.head_bone import MIN_SCORE, HeadBone, find_head_bone, in_frame
from facegen_inference.head_pose import mean_skull, place_head
from facegen_inference.mesh import Mesh
from facegen_inference.progress import Progress, silent
from facegen_inference.skull_parts import PARTS, BoneEvidence, Presence, find_parts
from facegen_inference.volume import AIR_HU, Grid, Volume

__all__ = ["PARTS", "Presence", "Skull", "bone_only", "make_skull", "skull_from_mesh"]

_MESH_TRIANGLES = 400_000


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
    placed
        4×4 LPS mm → frame mm: how the head was laid on the mean skull while its bone was told from
        the rest, roughly; None where that was not needed.
    voxel_mm
        The scan's coarsest voxel side; 1 for a mesh.
    """

    distance: NDArray[np.float32]
    grid: Grid
    observed: NDArray[np.bool_]
    mesh: Mesh
    parts: dict[str, Presence] = field(default_factory=dict)
    level_hu: float = float("nan")
    notes: tuple[str, ...] = ()
    placed: NDArray[np.float64] | None = None
    voxel_mm: float = 1.0


def make_skull(volume: Volume, progress: Progress = silent) -> Skull:
    """Find the bone of the head in a CT.

    Parameters
    ----------
    volume
        The scan, HU.
    progress
        ``progress(fraction, step)``; may raise `Cancelled`.

    Raises
    ------
    NoHeadFound
        When there is no bone, or none that looks like a head.

    Notes
    -----
    Only voxels of the head's bone keep their value; the rest is set to `FLOOR_HU` before anything
    is interpolated.  So `make_skull` of a scan and of its `bone_only` are the same skull, and no
    soft tissue shows through the distance.
    """
    progress(0.0, "Finding bone")
    head = find_head_bone(volume, bone_levels(volume.array, volume.spacing))
    progress(0.4, "Measuring distances to bone")
    values, matrix = _bone_values(volume, head)
    grid = _grid_around(head.keep, matrix, volume.spacing)
    field_hu = sample(values, matrix, grid, FLOOR_HU)
    step = float(grid.spacing[0])
    distance = signed_distance(field_hu, head.level, step)
    progress(0.8, "Drawing the skull's surface")
    observed = _observed(volume, grid)
    mesh = _display_mesh(distance, grid)
    parts = find_parts(_evidence(volume, head), mean_skull().surface)
    progress(1.0, "Skull ready")
    return Skull(
        distance,
        grid,
        observed,
        mesh,
        parts,
        head.level,
        _remarks(parts),
        placed=head.fit.frame_from_patient,
        voxel_mm=float(volume.spacing.max()),
    )


def _evidence(volume: Volume, head: HeadBone) -> BoneEvidence:
    """Return what the scan says about the skull's parts."""
    back = np.linalg.inv(head.fit.frame_from_patient)
    seen = volume.observed_mask()

    def observed(points: NDArray[np.float64]) -> NDArray[np.bool_]:
        index = volume.grid.voxel_points(points @ back[:3, :3].T + back[:3, 3])
        nearest = np.round(index).astype(int)
        inside = np.asarray(((nearest >= 0) & (nearest < seen.shape)).all(axis=1))
        result = np.zeros(len(points), dtype=bool)
        result[inside] = seen[tuple(nearest[inside].T)]
        return result

    hu = volume.array[head.box][tuple(head.index.T)]
    size = float(np.prod(volume.spacing))
    return BoneEvidence(head.frame, hu, size, float(volume.spacing.max()), observed)


def _remarks(parts: dict[str, Presence]) -> tuple[str, ...]:
    """Return a sentence for each kind of what is not there."""
    wording = {
        Presence.ABSENT: "Not found on this skull: {}.",
        Presence.NOT_SCANNED: "Outside the scanned region: {}.",
        Presence.UNSURE: "It is not certain whether these are there: {}.",
    }
    named = {state: [name for name, found in parts.items() if found is state] for state in wording}
    return tuple(wording[s].format(", ".join(names)) for s, names in named.items() if names)


def bone_only(volume: Volume, level: float = LEVEL_HU) -> Volume:
    """Return the scan with everything but bone of the head at −1000 HU.

    Parameters
    ----------
    volume
        The scan, HU.
    level
        Bone level, HU: voxels of the head's bone at or above it keep their value.

    Returns
    -------
    Volume of the same grid and scanned region.

    Raises
    ------
    NoHeadFound
        As `make_skull`.
    """
    own = bone_levels(volume.array, volume.spacing)
    sure = max(own.sure, level + 100)
    head = find_head_bone(volume, BoneLevels(level, sure, own.reach_mm))
    array = np.full(volume.array.shape, AIR_HU, dtype=np.int16)
    array[head.box][head.keep] = volume.array[head.box][head.keep]
    return Volume(array, volume.patient_from_voxel, volume.observed, volume.source, volume.warnings)


def _bone_values(volume: Volume, head: HeadBone) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the head's HU with everything but bone at `FLOOR_HU`, (k, j, i), and its matrix."""
    cut = volume.array[head.box]
    values = np.where(head.keep, cut, np.int16(FLOOR_HU)).astype(np.float32)
    matrix = volume.patient_from_voxel.copy()
    start = np.array([s.start for s in head.box], dtype=np.float64)
    matrix[:3, 3] = volume.grid.patient_points(start[None])[0]
    return values, matrix


def _grid_around(
    keep: NDArray[np.bool_], matrix: NDArray[np.float64], spacing: NDArray[np.float64]
) -> Grid:
    """Return the skull's grid: 1 mm, 1.5–2 mm for coarse scans, around the bone."""
    coarse = float(spacing.max())
    step = 1.0 if coarse <= 2.5 else float(np.clip(coarse / 2.5, 1.5, 2.0))
    used = [np.flatnonzero(keep.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    ends = np.array([[u[0], u[-1]] for u in used], dtype=np.float64)
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, 8).T
    shape = (keep.shape[0], keep.shape[1], keep.shape[2])
    points = Grid(shape, matrix).patient_points(corners)
    return head_grid(points.min(axis=0), points.max(axis=0), step)


def _observed(volume: Volume, grid: Grid) -> NDArray[np.bool_]:
    """Return where the scanner looked, on the skull's grid, (k, j, i)."""
    seen = sample(
        volume.observed_mask().astype(np.uint8), volume.patient_from_voxel, grid, 0.0, nearest=True
    )
    return np.asarray(seen > 0)


def _display_mesh(distance: NDArray[np.float32], grid: Grid) -> Mesh:
    """Return the bone surface, lightly smoothed and light enough to be turned on a screen."""
    mesh = surface.isosurface(distance, grid.patient_from_voxel, 0.0)
    return surface.reduce(surface.smooth(mesh, 8), _MESH_TRIANGLES)


def skull_from_mesh(mesh: Mesh, progress: Progress = silent) -> Skull:
    """Make a skull from a closed, or nearly closed, surface of bone.

    Parameters
    ----------
    mesh
        LPS mm; triangles may face either way.
    progress
        ``progress(fraction, step)``; may raise `Cancelled`.

    Raises
    ------
    NoHeadFound
        When the mesh is empty, or is too small or too large for a head.
    """
    progress(0.0, "Filling the skull's surface")
    low, high = _checked_extent(mesh)
    grid = head_grid(low, high, 1.0)
    share = surface.filled(mesh, grid)
    progress(0.4, "Measuring distances to bone")
    distance = signed_distance(share, 0.5, 1.0)
    progress(0.8, "Drawing the skull's surface")
    shown = _display_mesh(distance, grid)
    parts = _parts_of_mesh(mesh, grid)
    progress(1.0, "Skull ready")
    return Skull(
        distance, grid, np.ones(grid.shape, dtype=bool), shown, parts, notes=_remarks(parts)
    )


def _parts_of_mesh(mesh: Mesh, grid: Grid) -> dict[str, Presence]:
    """Lay the mesh on the mean skull and state what is there; refuse what is no skull."""
    some = np.random.default_rng(0).permutation(len(mesh.vertices))[:20_000]
    points = mesh.vertices[some]
    fit = place_head(points[:5000], grid, (points.min(axis=0) + points.max(axis=0)) / 2)
    if fit is None or fit.score < MIN_SCORE:
        raise NoHeadFound(
            "The mesh does not have the shape of a skull.",
            "Give a closed surface of a skull, with --units where the file does not state them.",
        )
    evidence = BoneEvidence(
        in_frame(points, fit), None, 0.0, 1.0, lambda where: np.ones(len(where), dtype=bool)
    )
    return find_parts(evidence, mean_skull().surface)


def _checked_extent(mesh: Mesh) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mesh's box; refuse what cannot be a skull in millimetres."""
    advice = "Give a closed surface of a skull, with --units where the file does not state them."
    if not len(mesh.triangles) or not np.isfinite(mesh.vertices).all():
        raise NoHeadFound("The mesh holds no usable surface.", advice)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    longest = float((high - low).max())
    if not 60 <= longest <= 400:
        raise NoHeadFound(
            f"The mesh is {longest:.3g} mm long; a skull is 60 to 400 mm.", advice, longest=longest
        )
    return low, high
