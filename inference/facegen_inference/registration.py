"""Where the head is: bone of a scan laid rigidly on a template skull, from any starting pose.

Two steps.  A coarse search correlates the bone's points with the template over many rotations and
all translations at once (FFT on an 8 mm grid).  The best few are refined by Gauss-Newton on the
template's signed distance with a redescending weight (Geman and McClure), so that spine, couch and
missing bone do not pull.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfftn, rfftn
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from facegen_inference.volume import Grid

Points = NDArray[np.float64]
Matrix = NDArray[np.float64]

COARSE_MM = 8.0
INLIER_MM = 5.0
"""A bone point explains the template, and the reverse, within this distance."""


@dataclass(frozen=True)
class Template:
    """A template skull: signed distance to bone on a grid whose space is the Frankfurt frame.

    Attributes
    ----------
    distance
        (k, j, i) float32 mm, negative inside bone.
    grid
        Axis-aligned grid (k, j, i) = (z, y, x) of the frame, equal spacing.
    surface
        (N, 3) points on its bone surface, frame mm.
    """

    distance: NDArray[np.float32]
    grid: Grid
    surface: Points

    @staticmethod
    def from_field(distance: NDArray[np.float32], grid: Grid, count: int = 6000) -> Template:
        """Build a template from a signed distance field (see class)."""
        return Template(distance, grid, surface_points(distance, grid, count))

    def sample(self, points: Points) -> tuple[NDArray[np.float64], Points]:
        """Return distance (N,) and its gradient (N, 3) at frame points; 1e3 and 0 outside."""
        voxel = self.grid.voxel_points(points).T
        value = map_coordinates(self.distance, voxel, order=1, mode="constant", cval=1e3)
        gradient = np.zeros_like(points)
        spacing = self.grid.spacing
        for row, axis in ((0, 2), (1, 1), (2, 0)):
            step = np.zeros((3, 1))
            step[row] = 1.0
            ahead = map_coordinates(self.distance, voxel + step, order=1, mode="nearest")
            behind = map_coordinates(self.distance, voxel - step, order=1, mode="nearest")
            gradient[:, axis] = (ahead - behind) / (2 * spacing[row])
        gradient[value > 999] = 0
        return np.asarray(value, dtype=np.float64), gradient


@dataclass(frozen=True)
class HeadFit:
    """A rigid placement of a head.

    Attributes
    ----------
    frame_from_patient
        4×4 rigid, LPS mm → frame mm.
    residual_mm
        Median absolute distance to the template's bone of the points that lie within 12 mm of it.
    explained
        Share of the scan's bone points inside the template's box that lie within `INLIER_MM`.
    covered
        Share of the template's surface points with a bone point of the scan within `INLIER_MM`,
        counted only where the scan looked.
    """

    frame_from_patient: Matrix
    residual_mm: float
    explained: float
    covered: float

    @property
    def score(self) -> float:
        """Quality of the fit, 0..1; both directions must agree."""
        return self.explained * self.covered


def surface_points(distance: NDArray[np.float32], grid: Grid, count: int) -> Points:
    """Return about `count` points on the zero level of a signed distance field, patient mm.

    Voxels within one voxel of the surface are moved onto it along the gradient; deterministic.
    """
    near = np.argwhere(np.abs(distance) < 0.6 * grid.spacing.max())
    if len(near) == 0:
        return np.zeros((0, 3))
    chosen = np.random.default_rng(0).permutation(len(near))[:count]
    voxels = near[chosen].astype(np.float64)
    value = map_coordinates(distance, voxels.T, order=1)
    gradient = np.stack(
        [
            map_coordinates(distance, (voxels + e).T, order=1, mode="nearest")
            - map_coordinates(distance, (voxels - e).T, order=1, mode="nearest")
            for e in np.eye(3)
        ],
        axis=1,
    ) / (2 * grid.spacing)
    norm = np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 0.3)
    voxels -= value[:, None] * gradient / norm**2 / grid.spacing
    return grid.patient_points(voxels)


def gross_rotations(every_way: bool) -> list[NDArray[np.float64]]:
    """Return rotation matrices patient → frame to start from.

    Pitch −60..60°, roll and yaw ±25° about the upright patient; with `every_way` also about the
    other 23 axis-aligned orientations (coarser), for meshes and mislabelled files.
    """
    tilts = [
        Rotation.from_euler("xyz", (pitch, roll, yaw), degrees=True).as_matrix()
        for pitch in (-60, -40, -20, 0, 20, 40, 60)
        for roll, yaw in ((0, 0), (25, 0), (-25, 0), (0, 25), (0, -25))
    ]
    if not every_way:
        return tilts
    gross = Rotation.create_group("O").as_matrix()
    few = [Rotation.from_euler("x", p, degrees=True).as_matrix() for p in (-30, 0, 30)]
    upright = np.eye(3)
    return tilts + [t @ g for g in gross if not np.allclose(g, upright) for t in few]


def _attraction(template: Template) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coarse map that bone points are drawn to, (k, j, i), and its origin (x, y, z)."""
    low = template.grid.patient_points(np.zeros((1, 3)))[0]
    high = template.grid.patient_points(np.array([template.grid.shape], dtype=np.float64) - 1)[0]
    counts = np.ceil((high - low) / COARSE_MM).astype(int) + 1
    axes = [low[n] + COARSE_MM * np.arange(counts[n]) for n in (2, 1, 0)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    points = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    near, _ = cKDTree(template.surface).query(points)
    near = np.asarray(near).reshape(z.shape)
    return np.exp(-((near / 8.0) ** 2)) - 0.25, low


def _coarse_candidates(
    points: Points, template: Template, rotations: list[NDArray[np.float64]], keep: int
) -> list[Matrix]:
    attraction, low = _attraction(template)
    best: list[tuple[float, Matrix]] = []
    for rotation in rotations:
        turned = points @ rotation.T
        start = turned.min(axis=0)
        index = np.round((turned - start) / COARSE_MM).astype(int)[:, ::-1]
        shape = tuple(int(n) for n in index.max(axis=0) + 1)
        mass = np.zeros(shape)
        np.add.at(mass, tuple(index.T), 1.0)
        mass = np.sqrt(mass)
        full = [a + b - 1 for a, b in zip(shape, attraction.shape, strict=True)]
        size = [int(2 ** np.ceil(np.log2(n))) if n < 64 else n + n % 2 for n in full]
        both = irfftn(rfftn(attraction, size) * np.conj(rfftn(mass, size)), size)
        for _ in range(2):
            flat = int(np.argmax(both))
            shift = np.array(np.unravel_index(flat, both.shape))
            value = float(both.flat[flat])
            signed = np.where(shift > np.array(size) // 2, shift - np.array(size), shift)
            if (shift >= np.array(attraction.shape)).any():
                signed = np.where(
                    shift >= np.array(attraction.shape), shift - np.array(size), shift
                )
            matrix = np.eye(4)
            matrix[:3, :3] = rotation
            matrix[:3, 3] = low - start + COARSE_MM * signed[::-1]
            best.append((value, matrix))
            around = tuple(slice(max(0, s - 3), s + 4) for s in shift)
            both[around] = -1e9
    best.sort(key=lambda item: -item[0])
    return [matrix for _, matrix in best[:keep]]


def refine(
    points: Points, template: Template, start: Matrix, scales: tuple[float, ...] = (15, 9, 6, 4)
) -> Matrix:
    """Refine frame_from_patient by robust Gauss-Newton.

    Parameters
    ----------
    points
        (N, 3) bone surface points, LPS mm.
    start
        4×4 first guess.
    scales
        Scale of the Geman-McClure weight in mm, wide to narrow.
    """
    matrix = start.copy()
    centre = np.array([0.0, -40.0, -10.0])  # near the middle of the facial skull
    for scale in scales:
        for _ in range(12):
            moved = points @ matrix[:3, :3].T + matrix[:3, 3]
            value, gradient = template.sample(moved)
            use = np.abs(value) < 4 * scale
            if use.sum() < 50:
                break
            d, g, p = value[use], gradient[use], moved[use] - centre
            weight = 1.0 / (1.0 + (d / scale) ** 2) ** 2
            jacobian = np.hstack([g, np.cross(p, g)])
            normal = (jacobian * weight[:, None]).T @ jacobian
            normal += np.diag([1e-3 * use.sum()] * 3 + [1.0 * use.sum()] * 3) * 1e-2
            step = np.linalg.solve(normal, -(jacobian * weight[:, None]).T @ d)
            turn = Rotation.from_rotvec(step[3:]).as_matrix()
            update = np.eye(4)
            update[:3, :3] = turn
            update[:3, 3] = step[:3] + centre - turn @ centre
            matrix = update @ matrix
            if np.abs(step[:3]).max() < 0.02 and np.abs(step[3:]).max() < 2e-4:
                break
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    matrix[:3, :3] = u @ vt
    return matrix


def judge(
    points: Points, template: Template, frame_from_patient: Matrix, observed: Grid | None
) -> HeadFit:
    """Measure a placement in both directions (see `HeadFit`).

    Parameters
    ----------
    observed
        The scan's grid: template points outside it do not count as uncovered.
    """
    moved = points @ frame_from_patient[:3, :3].T + frame_from_patient[:3, 3]
    value, _ = template.sample(moved)
    inside = value < 999
    if inside.sum() < 50:
        return HeadFit(frame_from_patient, 99.0, 0.0, 0.0)
    near = np.abs(value[inside])
    close = near[near < 12]
    surface = template.surface
    if observed is not None:
        patient = (surface - frame_from_patient[:3, 3]) @ frame_from_patient[:3, :3]
        voxel = observed.voxel_points(patient)
        surface = surface[((voxel >= 0) & (voxel <= np.array(observed.shape) - 1)).all(axis=1)]
    gap, _ = cKDTree(moved).query(surface) if len(surface) else (np.full(1, 99.0), None)
    return HeadFit(
        frame_from_patient,
        float(np.median(close)) if len(close) else 99.0,
        float((near < INLIER_MM).mean()),
        float((np.asarray(gap) < INLIER_MM).mean()),
    )


def find_head(
    points: Points,
    template: Template,
    observed: Grid | None = None,
    *,
    every_way: bool = False,
    keep: int = 8,
) -> list[HeadFit]:
    """Find placements of the template skull in a cloud of bone points, best first.

    Parameters
    ----------
    points
        (N, 3) bone surface points of a scan, LPS mm; 3000–8000 are enough.
    template
        The skull to look for.
    observed
        The scan's grid, where known.
    every_way
        Also try the orientations that the file's axes contradict.
    keep
        How many coarse candidates to refine.

    Returns
    -------
    Fits sorted by `HeadFit.score`, at least one unless there are fewer than 50 points.
    """
    if len(points) < 50:
        return []
    few = points[:: max(1, len(points) // 3000)]
    starts = _coarse_candidates(few, template, gross_rotations(every_way), keep)
    quick = [refine(few[::3], template, start, (15, 9)) for start in starts]
    fits = sorted((judge(few, template, m, observed) for m in quick), key=lambda f: -f.score)
    best = [refine(points, template, f.frame_from_patient, (9, 6, 4)) for f in _different(fits)]
    return sorted((judge(points, template, m, observed) for m in best), key=lambda f: -f.score)


def _different(fits: list[HeadFit]) -> list[HeadFit]:
    """Return the best two or three fits that are not the same placement over again."""
    chosen: list[HeadFit] = []
    for fit in fits:
        if all(
            np.abs(fit.frame_from_patient - other.frame_from_patient).max() > 3.0
            for other in chosen
        ):
            chosen.append(fit)
    return chosen[:3]
