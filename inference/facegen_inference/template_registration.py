"""Dense registration of a mean skull's surface onto a person's bone, both in the Frankfurt frame.

Points of the mean skull move by a smooth displacement, a Gaussian process of three length scales
written in a low-rank basis (Lüthi et al. 2018, "Gaussian process morphable models"), until the
person's signed distance to bone vanishes at them.  Where bone is missing, not scanned, faces
another way or lies too far off, a point does not pull, and the displacement is what its
neighbours and the smoothness say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from facegen_inference.registration import surface_points
from facegen_inference.volume import Grid

Points = NDArray[np.float64]

SCALES_MM = ((150.0, 15.0), (50.0, 4.0), (22.0, 2.0))
"""Length scale and standard deviation of each part of the displacement, mm."""
CENTRES = 400
RANK = 160
NOISE_MM = 2.5
"""Standard deviation of the miss at one point; neighbours miss alike, so more than their noise."""
MATCH_NOISE_MM = 5.0
MATCH_MM = ((25.0, 3, 24), (15.0, 3, 60), (8.0, 3, 160))
"""Matching: scale of the Geman-McClure weight in mm, iterations, how many smooth functions."""
FIT_MM = ((6.0, 2), (4.0, 2), (3.0, 2))
"""Fit to the distance field: scale of the weight in mm, wide to narrow, and iterations."""
TURN_MM = 15.0
"""A right angle between normals counts like 1.4 times this distance when points are matched."""
MUTUAL_MM = 4.0
"""Points farther than this from the one their match would choose hardly pull."""
SURFACE_POINTS = 12000
_STEP_MM = 0.02


@dataclass(frozen=True)
class SmoothBasis:
    """A low-rank basis of smooth functions; coefficients have unit Gaussian priors.

    Attributes
    ----------
    centres
        (M, 3) frame mm.
    weights
        (M, R): kernel to the centres → functions.
    """

    centres: Points
    weights: Points

    def at(self, points: Points) -> Points:
        """Return the functions at (N, 3) frame points, (N, R)."""
        return np.asarray(_kernel(points, self.centres) @ self.weights)


def smooth_basis(points: Points, centres: int = CENTRES, rank: int = RANK) -> SmoothBasis:
    """Return a basis for displacements of (N, 3) points and of what lies near them.

    The Nyström approximation on points chosen far from each other, the same on both sides: the
    mirror image of a displacement in this basis lies in it, too.
    """
    chosen = _spread_out(points, min(centres, len(points)))
    kernel = _kernel(chosen, chosen)
    values, vectors = np.linalg.eigh(kernel)
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    kept = values > 1e-6 * values[0]
    return SmoothBasis(chosen, np.asarray(vectors[:, kept] / np.sqrt(values[kept])))


def _kernel(a: Points, b: Points) -> Points:
    square = cdist(a, b, "sqeuclidean")
    return np.asarray(sum(sd**2 * np.exp(-square / (2 * length**2)) for length, sd in SCALES_MM))


def _spread_out(points: Points, count: int) -> Points:
    """Return about `count` points, each far from those before it, symmetric about x = 0."""
    half = points[points[:, 0] >= 0]
    chosen = [int(np.argmin(((half - half.mean(axis=0)) ** 2).sum(axis=1)))]
    nearest = ((half - half[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(min(count // 2, len(half)) - 1):
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, ((half - half[chosen[-1]]) ** 2).sum(axis=1))
    left = half[chosen]
    left[left[:, 0] < 0.5, 0] = 0.0
    right = left[left[:, 0] > 0] * [-1.0, 1.0, 1.0]
    return np.concatenate([left, right])


@dataclass(frozen=True)
class Facing:
    """Points of a surface and its unit normals there, (N, 3) each."""

    points: Points
    normals: Points

    @property
    def place(self) -> Points:
        """(N, 6): near to each other are points that lie near and face the same way."""
        return np.hstack([self.points, TURN_MM * self.normals])


class BoneField:
    """A person's bone as signed distance, with its slope and where the scanner looked."""

    def __init__(
        self, distance: NDArray[np.float32], observed: NDArray[np.float32], grid: Grid
    ) -> None:
        """Take (k, j, i) mm and 0/1 on a grid of the frame with equal spacing."""
        self.grid = grid
        self._distance = distance
        self._observed = observed
        step = float(grid.spacing[0])
        self._slope = [np.gradient(distance, step, axis=axis) for axis in (2, 1, 0)]
        on_bone = surface_points(distance, grid, SURFACE_POINTS)
        _, slope, seen = self.at(on_bone)
        facing = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 0.1)
        self._bone = Facing(on_bone[seen > 0], facing[seen > 0])
        self._tree = cKDTree(self._bone.place)

    def nearest(self, points: Points, normals: Points) -> Facing:
        """Return the bone's point nearest to each of (N, 3), likeness of normals counted.

        Where there is no bone at all, the points themselves.
        """
        if not len(self._bone.points):
            return Facing(points, normals)
        _, which = self._tree.query(Facing(points, normals).place)
        return Facing(self._bone.points[which], self._bone.normals[which])

    def at(self, points: Points) -> tuple[Points, Points, Points]:
        """Return distance (N,) mm, its gradient (N, 3), and 1 where it was scanned, else 0 (N,)."""
        at = self.grid.voxel_points(points).T
        value = map_coordinates(self._distance, at, order=1, mode="nearest", output=np.float64)
        slope = [map_coordinates(g, at, order=1, mode="nearest") for g in self._slope]
        seen = map_coordinates(self._observed, at, order=1, mode="constant", output=np.float64)
        return value, np.stack(slope, axis=1).astype(np.float64), (seen > 0.99).astype(np.float64)


@dataclass(frozen=True)
class Registered:
    """A mean skull laid onto a person.

    Attributes
    ----------
    shift
        (N, 3) mm, how far each point moved.
    weight
        (N,) 0..1, how sure bone was found there.
    coefficients
        (R, 3) of the displacement in its basis.
    """

    shift: Points
    weight: Points
    coefficients: Points


@dataclass(frozen=True)
class OuterBone:
    """The surface that is laid onto people.

    Attributes
    ----------
    points, normals
        (N, 3) frame mm and unit vectors out of the bone.
    basis_at
        (N, R), `SmoothBasis.at` of the points.
    """

    points: Points
    normals: Points
    basis_at: Points


def register(outer: OuterBone, bone: BoneField, expected: Points | None = None) -> Registered:
    """Lay the points of a mean skull onto a person's bone.

    First each point is drawn to the nearest bone that faces its way, with few smooth functions and
    then with more; then all lie down on the bone by Gauss-Newton on its distance.

    Parameters
    ----------
    outer
        Of the mean skull.
    bone
        The person's.
    expected
        (R, 3) coefficients that are likeliest before anything is seen, where to start from;
        None for no displacement.
    """
    prior = np.zeros((outer.basis_at.shape[1], 3)) if expected is None else expected
    return fitted(outer, bone, _matched(outer, bone, prior), prior)


def _matched(outer: OuterBone, bone: BoneField, prior: Points) -> Points:
    """Return the coefficients that matching to the nearest bone ends with, (R, 3)."""
    found = prior.copy()
    for scale, iterations, functions in MATCH_MM:
        basis = outer.basis_at[:, :functions]
        rest = outer.basis_at[:, functions:] @ prior[functions:]
        for _ in range(iterations):
            now = outer.points + basis @ found[:functions] + rest
            there = bone.nearest(now, outer.normals)
            pull = there.points - now
            weight = match_weights(outer, now, there, scale) / MATCH_NOISE_MM**2
            normal = basis.T @ (weight[:, None] * basis) + np.eye(basis.shape[1])
            aim = basis.T @ (weight[:, None] * pull) - (found - prior)[:functions]
            found[:functions] += solve(normal, aim, assume_a="pos")
    return found


def match_weights(
    outer: OuterBone, now: Points, there: Facing, scale: float
) -> NDArray[np.float64]:
    """Return how much each point is drawn to its match, (N,) 0..1.

    Less the farther it is, and the farther apart, on the mean skull, the point and the one that
    its match would choose: without a mandible, that of the template finds the maxilla, but the
    maxilla chooses the maxilla.
    """
    far = ((there.points - now) ** 2).sum(axis=1)
    _, back = cKDTree(Facing(now, outer.normals).place).query(there.place)
    apart = ((outer.points - outer.points[back]) ** 2).sum(axis=1)
    return np.asarray(np.exp(-apart / (2 * MUTUAL_MM**2)) / (1 + far / scale**2) ** 2)


def fitted(
    outer: OuterBone,
    bone: BoneField,
    start: Points,
    prior: Points,
    reach: tuple[tuple[float, int], ...] = FIT_MM,
) -> Registered:
    """Return the template lying on bone, from a placement that is roughly right.

    Parameters
    ----------
    outer, bone
        As for `register`.
    start, prior
        (R, 3) coefficients to start from, and those likeliest before anything is seen.
    reach
        See `FIT_MM`.
    """
    found = start.copy()
    weight = np.zeros(len(outer.points))
    for scale, iterations in reach:
        for _ in range(iterations):
            value, slope, seen = bone.at(outer.points + outer.basis_at @ found)
            weight = _weights(value, slope, seen, outer.normals, scale)
            step = _step(outer.basis_at, slope, value, weight / NOISE_MM**2, found - prior)
            found = found + step
            if np.abs(outer.basis_at @ step).max() < _STEP_MM:
                break
    return Registered(outer.basis_at @ found, weight, found)


def _step(
    basis_at: Points, slope: Points, value: Points, weight: Points, moved: Points
) -> NDArray[np.float64]:
    """Return the Gauss-Newton step of the coefficients, (R, 3)."""
    rank = basis_at.shape[1]
    hessian = np.eye(3 * rank)
    gradient = -moved.T.ravel()
    rows = [slice(a * rank, (a + 1) * rank) for a in range(3)]
    for a in range(3):
        gradient[rows[a]] -= basis_at.T @ (weight * slope[:, a] * value)
        for b in range(a, 3):
            scaled = (weight * slope[:, a] * slope[:, b])[:, None] * basis_at
            block = basis_at.T @ scaled
            hessian[rows[a], rows[b]] += block
            if b > a:
                hessian[rows[b], rows[a]] += block
    solved = solve(hessian, gradient, assume_a="pos", overwrite_a=True, check_finite=False)
    return np.asarray(solved.reshape(3, rank).T)


def _weights(
    value: Points, slope: Points, seen: Points, normals: Points, scale: float
) -> NDArray[np.float64]:
    """Return how much each point pulls: seen, near, and facing the same way."""
    length = np.maximum(np.linalg.norm(slope, axis=1), 0.3)
    facing = np.clip((slope * normals).sum(axis=1) / length, 0, 1)
    return np.asarray(seen * facing**2 / (1 + (value / scale) ** 2) ** 2)
