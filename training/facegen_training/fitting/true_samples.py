"""How far a predicted field lies from the true skin of a prepared person, along true normals.

The same measure as `facegen_inference.compare` has: surfaces made of both fields, samples evenly
over the true one, and the prediction looked for along their normals.  Voxels near
the skin do not do for this: predictions are averages over people and flatter than a distance, so
that misses come out a third too small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.closest import sample_surface
from facegen_inference.compare import REACH_MM
from facegen_inference.face_region import LandmarksInFrame, face_regions, predicted_region
from facegen_inference.face_surface import SMOOTHING, slope_at
from facegen_inference.mesh import Mesh
from facegen_inference.surface import isosurface, largest_piece, ray_hits, smooth
from facegen_inference.volume import Grid

Floats = NDArray[np.float32]
Points = NDArray[np.float64]

PER_MM2 = 0.1
"""Samples per square millimetre, some 4,000 of a face: misses hardly differ within 3 mm."""
MARGIN_MM = 12.0
"""How far around the box of the face the skin is drawn: its normals meet a prediction there."""


@dataclass(frozen=True)
class TrueSamples:
    """Samples of the true skin whose normal meets the prediction, N of them.

    Attributes
    ----------
    along
        (N,) mm, positive where the prediction lies outside the true skin.
    spread
        (N,) mm, predicted spread along the normal at the place that is met.
    code
        (N,) index into `REGION_NAMES`, of the true sample.
    met
        (N, 3) frame mm, the place that is met.
    """

    along: Floats
    spread: Floats
    code: NDArray[np.int8]
    met: Points


def skin_of(field: Floats, grid: Grid) -> Mesh:
    """Return the finished surface of a field of signed distances, as a face is finished."""
    return smooth(largest_piece(isosurface(field, grid.patient_from_voxel, 0.0)), SMOOTHING)


def true_samples(
    predicted: Mesh,
    true: Mesh,
    landmarks: LandmarksInFrame | None = None,
    seed: int = 0,
) -> TrueSamples:
    """Measure a predicted face along the normals of the true skin.

    Parameters
    ----------
    predicted
        Skin, frame mm, with vertex data ``spread_mm``.
    true
        True skin, frame mm, where it can be believed.
    landmarks
        Of the person, in the frame; they fit the regions.
    seed
        Of the samples.
    """
    at, triangle = sample_surface(true, PER_MM2, seed)
    code = face_regions(at, landmarks)
    keep = code > 0
    at, triangle, code = at[keep], triangle[keep], code[keep]
    normal = true.normals()[true.triangles[triangle]].mean(axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    along, met = ray_hits(predicted, at, normal, REACH_MM)
    hit = met >= 0
    spread = predicted.vertex_data["spread_mm"][predicted.triangles[met[hit]]].mean(axis=1)
    place = at[hit] + along[hit, None] * normal[hit]
    return TrueSamples(along[hit].astype(np.float32), spread, code[hit], place)


@dataclass(frozen=True)
class PersonFields:
    """A person's prediction and truth on one grid, (k, j, i) float32 each.

    Attributes
    ----------
    distance, spread
        Predicted, mm.
    skin, valid
        True distance, mm, and 1 where it can be believed.
    grid
        Of all; its space is the Frankfurt frame.
    """

    distance: Floats
    spread: Floats
    skin: Floats
    valid: Floats
    grid: Grid

    def samples(self) -> TrueSamples | None:
        """Return the samples in the face; None where one of the surfaces has none there.

        The regions are those of an adult's mean height of face: prepared people carry no
        landmarks.
        """
        predicted, true = (_near_face(skin_of(f, self.grid)) for f in (self.distance, self.skin))
        if len(true.vertices):
            true = true.kept(_sampled(self.valid, self.grid, true.vertices) > 0.99)
        if not (len(true.triangles) and len(predicted.triangles)):
            return None
        slope = slope_at(self.distance, self.grid, predicted.vertices)
        spread = _sampled(self.spread, self.grid, predicted.vertices) / slope
        predicted.vertex_data["spread_mm"] = spread
        found = true_samples(predicted, true)
        return found if len(found.along) else None


def _near_face(mesh: Mesh) -> Mesh:
    """Return what of a surface lies in the box of an adult's face, with a margin."""
    if not len(mesh.vertices):
        return mesh
    inside = mesh.vertices[predicted_region(mesh.vertices)]
    if not len(inside):
        return mesh.kept(np.zeros(len(mesh.vertices), dtype=bool))
    low, high = inside.min(axis=0) - MARGIN_MM, inside.max(axis=0) + MARGIN_MM
    return mesh.kept(((mesh.vertices > low) & (mesh.vertices < high)).all(axis=1))


def _sampled(values: Floats, grid: Grid, points: Points) -> Floats:
    """Return a field at (N, 3) frame points, (N,)."""
    at = grid.voxel_points(points).T
    return np.asarray(map_coordinates(values, at, order=1, mode="nearest", output=np.float32))
