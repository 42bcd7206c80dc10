"""How far a predicted face lies from the true skin of a scan, by the fixed scoring protocol.

No alignment: prediction and truth are compared where the scan is.  The region is that of
`face_region`, in the person's own Frankfurt frame.  Both surfaces are sampled once per square
millimetre; closest distances are taken both ways and averaged, and distances along the true
normals are given beside them.  Signed distances are positive where the prediction lies outside
the true skin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.closest import ClosestOnSurface, sample_surface
from facegen_inference.errors import UserError
from facegen_inference.face_region import (
    REGION_NAMES,
    LandmarksInFrame,
    RegionDefinition,
    face_regions,
    landmarks_in_frame,
    region_definition,
)
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks
from facegen_inference.mesh import Mesh
from facegen_inference.skin import skin_surface
from facegen_inference.soft_landmarks import soft_landmarks
from facegen_inference.surface import ray_hits
from facegen_inference.volume import Volume

Points = NDArray[np.float64]

REACH_MM = 30.0
"""How far along a true normal the prediction is looked for."""
APART_MM = 40.0
"""A face farther than this on average belongs to another scan."""
LEAST_SAMPLES = 500
MARGIN_MM = 45.0


@dataclass(frozen=True)
class Distances:
    """Distances over one region, in mm.

    Attributes
    ----------
    mean, median, rmse, p95
        Of the unsigned distances.
    signed_mean
        Positive where the prediction lies outside the true skin.
    below_2_mm, below_2_5_mm
        Percent of the samples nearer than that.
    samples
        How many samples were measured, both directions together.
    """

    mean: float
    median: float
    rmse: float
    p95: float
    signed_mean: float
    below_2_mm: float
    below_2_5_mm: float
    samples: int


@dataclass(frozen=True)
class Comparison:
    """How one predicted face scores against one scan.

    Attributes
    ----------
    closest
        Closest distances, the two directions averaged.
    along_normals
        Distances along the true normals; samples without a hit within 30 mm are left out.
    met
        Percent of the true samples whose normal meets the prediction.
    regions
        Region name → closest distances there.
    normal_angle
        Mean angle in degrees between true and predicted normals.
    landmarks
        Soft-tissue landmark → distance in mm between where both surfaces have it.
    band_coverage
        ``50`` and ``90`` → percent of the true samples that lie within the predicted band, of
        those whose normal meets the prediction.
    region_coverage
        Region name → the same there.
    spread_rank
        Spearman's rank correlation between predicted spread and distance along the true normals,
        over these samples; None where no spread is predicted, or the same everywhere.
    left_out
        Percent of the predicted samples left out: masked, or where the scan ends.
    region_version
        Version of the definition of the region.
    """

    closest: Distances
    along_normals: Distances
    met: float
    regions: dict[str, Distances]
    normal_angle: float
    landmarks: dict[str, float]
    band_coverage: dict[str, float]
    left_out: float
    region_version: int
    region_coverage: dict[str, dict[str, float]] = field(default_factory=dict)
    spread_rank: float | None = None
    notes: tuple[str, ...] = field(default=())

    def as_data(self) -> dict[str, object]:
        """Return everything as plain data for ``--json``."""
        return asdict(self)

    def table(self) -> str:
        """Return a text table for the terminal."""
        head = f"{'mm':<14}{'mean':>7}{'median':>8}{'RMSE':>7}{'P95':>7}{'signed':>8}"
        lines = [head + f"{'<2 mm':>8}{'<2.5 mm':>9}"]
        rows = {"whole face": self.closest, "along normals": self.along_normals, **self.regions}
        for name, d in rows.items():
            lines.append(
                f"{name:<14}{d.mean:>7.2f}{d.median:>8.2f}{d.rmse:>7.2f}{d.p95:>7.2f}"
                f"{d.signed_mean:>+8.2f}{d.below_2_mm:>7.0f}%{d.below_2_5_mm:>8.0f}%"
            )
        lines.append(f"angle between normals {self.normal_angle:.1f} degrees")
        for name, distance in self.landmarks.items():
            lines.append(f"{name:<14}{distance:>7.2f}")
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True)
class _Side:
    """Samples of one surface measured against the other."""

    code: NDArray[np.int8]
    signed: NDArray[np.float64]


@dataclass(frozen=True)
class _AlongNormals:
    """What the true samples' normals meet.

    Attributes
    ----------
    along
        (N,) signed distance to the prediction, NaN without a hit.
    angle
        Mean angle between normals, degrees.
    predicted
        ``band50_mm``, ``band90_mm`` and ``spread_mm`` where the prediction has them, (N,) at the
        place that was met.
    """

    along: NDArray[np.float64]
    angle: float
    predicted: dict[str, NDArray[np.float64]]

    def coverage(self, where: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Return ``50`` and ``90`` → percent of the samples within the band."""
        hit = np.isfinite(self.along) if where is None else np.isfinite(self.along) & where
        if not hit.any():
            return {}
        return {
            percent: float(100 * (np.abs(self.along[hit]) <= width[hit]).mean())
            for percent in ("50", "90")
            if (width := self.predicted.get(f"band{percent}_mm")) is not None
        }

    def spread_rank(self) -> float | None:
        """Return the rank correlation of distance and spread; see `Comparison`."""
        spread = self.predicted.get("spread_mm")
        hit = np.isfinite(self.along)
        if spread is None or not hit.any() or np.ptp(spread[hit]) == 0:
            return None
        return float(np.corrcoef(_ranks(np.abs(self.along[hit])), _ranks(spread[hit]))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1, equal values sharing the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])


def summarize(*sides: NDArray[np.float64]) -> Distances:
    """Return the figures of signed distances; several directions are averaged with equal weight.

    Directions without samples are left out; without any, every figure is NaN.
    """
    count = sum(len(signed) for signed in sides)
    figures = [_figures(signed) for signed in sides if len(signed)]
    names = ("mean", "median", "rmse", "p95", "signed_mean", "below_2_mm", "below_2_5_mm")
    average = np.mean(figures, axis=0) if figures else np.full(len(names), np.nan)
    values = {name: float(value) for name, value in zip(names, average, strict=True)}
    return Distances(**values, samples=count)


def _figures(signed: NDArray[np.float64]) -> list[float]:
    """Return the seven figures of `Distances` for one direction."""
    d = np.abs(signed)
    return [
        float(d.mean()),
        float(np.median(d)),
        float(np.sqrt((d**2).mean())),
        float(np.percentile(d, 95)),
        float(signed.mean()),
        float(100 * (d < 2.0).mean()),
        float(100 * (d < 2.5).mean()),
    ]


def compare(
    face: Mesh,
    truth: Volume | Mesh,
    frame: Frame,
    landmarks: Landmarks | None = None,
    *,
    level: float | None = None,
    excluded: Volume | None = None,
    rules: RegionDefinition | None = None,
    seed: int = 0,
) -> Comparison:
    """Measure a predicted face against the true skin.

    Parameters
    ----------
    face
        The prediction, LPS mm, in the scan's own coordinates.
    truth
        The scan with its soft tissue, or its skin as a mesh (LPS mm).
    frame, landmarks
        Of the scan's own skull; menton and nasion fit the region to the person.
    level
        HU of the true skin, where `truth` is a volume; that of `skin_level` where None.
    excluded
        Voxels above 0 are not the person (mask, tube, headrest, streak); they are not scored.
    rules
        Another definition of the region than the one that ships.
    seed
        Of the samples.

    Raises
    ------
    UserError
        When there is nothing to compare, or the face belongs to another scan.
    """
    rules = rules or region_definition()
    points = None if landmarks is None else landmarks_in_frame(landmarks, frame)
    skin = skin_surface(truth, level) if isinstance(truth, Volume) else truth
    face_f = face.transformed(frame.frame_from_patient)
    skin_f = _near(skin.transformed(frame.frame_from_patient), face_f)
    if not len(face_f.triangles) or not len(skin_f.triangles):
        raise _nothing_to_compare()
    to_patient = frame.patient_from_frame

    def hidden(at: Points) -> NDArray[np.bool_]:
        return _masked(at @ to_patient[:3, :3].T + to_patient[:3, 3], excluded)

    def scored(at: Points) -> tuple[Points, NDArray[np.int8]]:
        code = face_regions(at, points, rules)
        code[hidden(at)] = 0
        return at, code

    truth_at, truth_triangle = sample_surface(skin_f, 1.0, seed)
    truth_at, code = scored(truth_at)
    keep = code > 0
    truth_at, truth_triangle, code = truth_at[keep], truth_triangle[keep], code[keep]
    face_at, face_code = scored(sample_surface(face_f, 1.0, seed)[0])
    in_region = face_code > 0
    if len(truth_at) < LEAST_SAMPLES or np.count_nonzero(in_region) < LEAST_SAMPLES:
        raise _nothing_to_compare()

    to_face = _measure_truth(truth_at, code, face_f)
    to_skin, open_end = _measure_face(face_at[in_region], face_code[in_region], skin_f)
    if min(np.abs(to_face.signed).mean(), np.abs(to_skin.signed).mean()) > APART_MM:
        raise _nothing_to_compare()
    met = _along_normals(truth_at, truth_triangle, skin_f, face_f)
    hit = np.isfinite(met.along)
    regions = {
        name: summarize(to_face.signed[to_face.code == n], to_skin.signed[to_skin.code == n])
        for n, name in enumerate(REGION_NAMES)
        if n and np.any(to_face.code == n)
    }
    measured = np.count_nonzero(in_region) - open_end
    return Comparison(
        closest=summarize(to_face.signed, to_skin.signed),
        along_normals=summarize(met.along[hit]),
        met=float(100 * hit.mean()),
        regions=regions,
        normal_angle=met.angle,
        landmarks=_landmark_errors(skin_f, face_f, points, rules, hidden),
        band_coverage=met.coverage(),
        left_out=float(100 * (1 - measured / len(face_at))),
        region_version=rules.version,
        region_coverage={
            name: inside
            for n, name in enumerate(REGION_NAMES)
            if n and (inside := met.coverage(code == n))
        },
        spread_rank=met.spread_rank(),
    )


def _nothing_to_compare() -> UserError:
    return UserError(
        "The face and the skin in the scan do not meet.",
        "Compare a face with the very scan it was made from, before its soft tissue was removed.",
    )


def _near(mesh: Mesh, other: Mesh) -> Mesh:
    """Return the part of a mesh within `MARGIN_MM` of the other's bounding box."""
    if not len(other.vertices):
        return other
    low, high = other.vertices.min(axis=0) - MARGIN_MM, other.vertices.max(axis=0) + MARGIN_MM
    return mesh.kept(((mesh.vertices > low) & (mesh.vertices < high)).all(axis=1))


def _masked(points: Points, excluded: Volume | None) -> NDArray[np.bool_]:
    """Tell which (N, 3) LPS points lie in an excluded voxel."""
    if excluded is None:
        return np.zeros(len(points), dtype=bool)
    at = excluded.grid.voxel_points(points).T
    inside = map_coordinates((excluded.array > 0).astype(np.uint8), at, order=0, mode="constant")
    return np.asarray(inside > 0)


def _measure_truth(at: Points, code: NDArray[np.int8], face: Mesh) -> _Side:
    """Measure true samples to the prediction; a sample inside it means: predicted outside."""
    near = ClosestOnSurface(face)
    found = near.query(at)
    beyond = ((at - found.point) * near.normals[found.triangle]).sum(axis=1) > 0
    return _Side(code, np.where(beyond, -found.distance, found.distance))


def _measure_face(at: Points, code: NDArray[np.int8], skin: Mesh) -> tuple[_Side, int]:
    """Measure predicted samples to the true skin, less those that meet where the scan ends.

    Returns
    -------
    The samples, and how many were left out.
    """
    near = ClosestOnSurface(skin)
    found = near.query(at)
    outside = ((at - found.point) * near.normals[found.triangle]).sum(axis=1) > 0
    signed = np.where(outside, found.distance, -found.distance)
    closed = ~_open_triangles(skin)[found.triangle]
    return _Side(code[closed], signed[closed]), int(np.count_nonzero(~closed))


def _open_triangles(mesh: Mesh) -> NDArray[np.bool_]:
    """Tell which triangles (M,) touch an edge that only one triangle has."""
    t = mesh.triangles.astype(np.int64)
    ends = np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), axis=1)
    key = ends[:, 0] * len(mesh.vertices) + ends[:, 1]
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    rim = np.zeros(len(mesh.vertices), dtype=bool)
    rim[ends[count[inverse] == 1].ravel()] = True
    return np.asarray(rim[mesh.triangles].any(axis=1))


def _along_normals(at: Points, triangle: NDArray[np.intp], skin: Mesh, face: Mesh) -> _AlongNormals:
    """Look for the prediction along the true normals."""
    true_normal = skin.normals()[skin.triangles[triangle]].mean(axis=1)
    true_normal /= np.maximum(np.linalg.norm(true_normal, axis=1, keepdims=True), 1e-9)
    along, met = ray_hits(face, at, true_normal, REACH_MM)
    hit = met >= 0
    if not hit.any():
        return _AlongNormals(along, float("nan"), {})
    normal = face.normals()[face.triangles[met[hit]]].mean(axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    cosine = np.clip((normal * true_normal[hit]).sum(axis=1), -1, 1)
    predicted = {}
    for name in ("band50_mm", "band90_mm", "spread_mm"):
        values = face.vertex_data.get(name)
        if values is not None:
            predicted[name] = np.full(len(at), np.nan)
            predicted[name][hit] = values[face.triangles[met[hit]]].mean(axis=1)
    return _AlongNormals(along, float(np.degrees(np.arccos(cosine)).mean()), predicted)


def _landmark_errors(
    skin: Mesh,
    face: Mesh,
    landmarks: LandmarksInFrame | None,
    rules: RegionDefinition,
    excluded: Callable[[Points], NDArray[np.bool_]],
) -> dict[str, float]:
    """Return soft-tissue landmark → distance between both surfaces' own points, mm.

    A point that the truth has in an excluded voxel is not the person's.
    """
    true = soft_landmarks(skin, landmarks, rules)
    predicted = soft_landmarks(face, landmarks, rules)
    return {
        code: float(np.linalg.norm(true[code] - predicted[code]))
        for code in true
        if code in predicted and not excluded(true[code][None])[0]
    }
