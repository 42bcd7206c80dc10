"""From a field of signed distances in the Frankfurt frame to a finished face in the scan.

Every method that predicts a field ends here, so that cutting, smoothing, spread and thickness are
the same whichever made it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import grey_dilation, map_coordinates

from facegen_inference.bands import FACTOR50, FACTOR90, Bands
from facegen_inference.carried_head import away_from_teeth
from facegen_inference.errors import UserError
from facegen_inference.face_region import landmarks_in_frame, predicted_region
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks
from facegen_inference.mesh import Mesh
from facegen_inference.pegs import usable_points
from facegen_inference.skull import Skull
from facegen_inference.surface import isosurface, largest_piece, smooth
from facegen_inference.volume import Grid, resample

__all__ = [
    "FACTOR50",
    "FACTOR90",
    "LEAST_SLOPE",
    "SMOOTHING",
    "face_from_field",
    "outside_bone",
    "slope_at",
    "thickness",
]

THINNEST_MM = 1.5
"""Skin is never nearer to bone than this."""
DEEPEST_MM = 60.0
"""Where no bone is met within this depth along the normal, thickness is NaN."""
LEAST_SLOPE = 0.3
"""A field flatter than this says nothing more of the spread along the normal."""
SMOOTHING = 8
STRETCH_MM = 16.0
"""Radius of curvature of skin stretched over an edge of bone: a choice, gentler than most edges of
a face."""
AT_TEETH_MM = 2.0
"""In the average face of one of five people a streak stood out by 4.8 mm; bone of the mean skull
stands out of its thin build by less than 2."""
NEAR_BONE_MM = 6.0
"""Bone farther away than this does not lift the skin."""
_LIFTED = 7
_FAR_MM = 40.0
_INWARD_MM = 12.0


def face_from_field(
    distance: NDArray[np.float32],
    spread: NDArray[np.float32],
    grid: Grid,
    skull: Skull,
    frame: Frame,
    landmarks: Landmarks,
    bands: Bands | None = None,
) -> Mesh:
    """Return the face that a field describes.

    Parameters
    ----------
    distance
        (k, j, i) float32, signed distance to the skin, mm, negative inside.
    spread
        (k, j, i) float32, one SD of it, mm.
    grid
        Grid of both; its space is the Frankfurt frame.
    skull, frame, landmarks
        Of the person, in patient space.
    bands
        How the spread becomes bands; None for those of a Gaussian.

    Returns
    -------
    Mesh in LPS mm with the vertex data that `facegen_inference.face.Face` names.

    Raises
    ------
    UserError
        When the field leaves no face in the predicted region.
    """
    field = outside_bone(distance, grid, skull, frame, landmarks)
    head = smooth(largest_piece(isosurface(field, grid.patient_from_voxel, 0.0)), SMOOTHING)
    points = landmarks_in_frame(landmarks, frame)
    keep = predicted_region(head.vertices, points)
    face = largest_piece(head.kept(keep))
    if not len(face.triangles):
        raise UserError(
            "No face can be made over this skull.",
            "Look whether the frame is right: the orbits must face forward, the vault up.",
        )
    sd = _sampled(spread, grid, face.vertices, 0.0) / slope_at(distance, grid, face.vertices)
    placed = face.transformed(frame.patient_from_frame)
    placed.vertex_data.update(
        **(bands or Bands()).at(sd, face.vertices, points),
        thickness_mm=thickness(placed, skull),
        predicted=_scanned(placed, skull),
    )
    return placed


def slope_at(
    distance: NDArray[np.float32], grid: Grid, points: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return how steeply a field of distances rises at points, by differences over two voxels.

    Parameters
    ----------
    distance, grid
        As for `face_from_field`.
    points
        (N, 3) frame mm.

    Returns
    -------
    (N,) float32, `LEAST_SLOPE` to 1.

    Notes
    -----
    The rise is 1 for a distance and less for a mean over skins that lie apart: the less, the
    farther apart they lie.  A field that is moved by its spread has its skin moved by the spread
    over the slope.
    """
    squares = np.zeros(len(points), dtype=np.float32)
    for step in np.eye(3) * grid.spacing[0]:
        ahead, behind = (_sampled(distance, grid, points + s * step, np.nan) for s in (1, -1))
        rise = np.nan_to_num((ahead - behind) / np.float32(2 * grid.spacing[0]))
        squares += rise**2
    return np.asarray(np.clip(np.sqrt(squares), LEAST_SLOPE, 1), dtype=np.float32)


def outside_bone(
    distance: NDArray[np.float32], grid: Grid, skull: Skull, frame: Frame, landmarks: Landmarks
) -> NDArray[np.float32]:
    """Return the field with the skin pushed out to `THINNEST_MM` over bone where it lay under.

    Parameters are those of `face_from_field`; the result is (k, j, i) float32 mm.

    Notes
    -----
    The skin around is lifted too, by a parabola (grey dilation): over a thin edge that stands out
    it stretches as skin does and has no welt.  At the level of the teeth it is lifted by
    `AT_TEETH_MM` at most: lips and cheeks lie so deep over bone that what stands farther out of
    them is a streak of metal or a bridge.
    """
    source = skull.grid.patient_from_voxel
    bone = resample(skull.distance, source, grid, _FAR_MM, frame.patient_from_frame)
    seen = resample(skull.observed, source, grid, 0.0, frame.patient_from_frame)
    bone[seen < 0.99] = _FAR_MM
    lift = np.maximum(distance - (bone - np.float32(THINNEST_MM)), 0)
    lift[bone > NEAR_BONE_MM] = 0
    slices = np.arange(float(grid.shape[0]))[:, None] * [1, 0, 0]
    away = away_from_teeth(usable_points(landmarks, frame), grid.patient_points(slices)[:, 2])
    most = AT_TEETH_MM + _FAR_MM * away[:, None, None]
    lift = np.minimum(lift, most.astype(np.float32))
    if not lift.any():
        return distance
    reach = np.arange(-_LIFTED, _LIFTED + 1) * grid.spacing.min()
    slope = np.float32(-(reach**2) / (2 * STRETCH_MM))
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = -1
        lift = grey_dilation(lift, structure=slope.reshape(shape), mode="nearest")
    return np.asarray(distance - lift, dtype=np.float32)


def thickness(mesh: Mesh, skull: Skull) -> NDArray[np.float32]:
    """Return the way from each vertex to bone along its inward normal.

    Parameters
    ----------
    mesh
        Skin, LPS mm.
    skull
        Bone in the same space.

    Returns
    -------
    (N,) float32 mm; NaN where no bone is met within `DEEPEST_MM`.

    Notes
    -----
    Sphere tracing: the distance to bone at a point is a step that cannot pass through bone.
    """
    inward = -mesh.normals()
    depth = np.zeros(len(mesh.vertices))
    result = np.full(len(mesh.vertices), np.nan, dtype=np.float32)
    going = np.arange(len(depth))
    while len(going):
        points = mesh.vertices[going] + depth[going, None] * inward[going]
        gap = _sampled(skull.distance, skull.grid, points, _FAR_MM).astype(np.float64)
        hit = gap <= 0.05
        result[going[hit]] = np.maximum(depth[going[hit]] + np.minimum(gap[hit], 0.0), 0.0)
        going, gap = going[~hit], gap[~hit]
        depth[going] += np.maximum(gap, 0.1)
        going = going[depth[going] <= DEEPEST_MM]
    return result


def _scanned(mesh: Mesh, skull: Skull) -> NDArray[np.float32]:
    """Return 1 where the scanner looked at a vertex or a little below it, else 0, (N,)."""
    below = mesh.vertices - _INWARD_MM * mesh.normals()
    seen = skull.observed.astype(np.float32)
    at = _sampled(seen, skull.grid, mesh.vertices, 0.0)
    under = _sampled(seen, skull.grid, below, 0.0)
    return (np.maximum(at, under) > 0.5).astype(np.float32)


def _sampled(
    values: NDArray[np.float32], grid: Grid, points: NDArray[np.float64], outside: float
) -> NDArray[np.float32]:
    """Return a field's linear interpolation at (N, 3) points of the grid's space, (N,)."""
    at = grid.voxel_points(points).T
    return np.asarray(
        map_coordinates(values, at, order=1, mode="constant", cval=outside, output=np.float32)
    )
