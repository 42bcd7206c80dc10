"""How skulls vary: components of dense registrations, read off one skull even in part."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from facegen_inference.template_registration import (
    BoneField,
    OuterBone,
    Points,
    Registered,
    fitted,
    match_weights,
)

NOISE_MM = 1.5
"""Standard deviation of a point's miss of what the components say."""
MATCH_MM = (12.0, 12.0, 10.0, 10.0, 8.0, 8.0, 8.0)
"""Scale of the weight at each step of matching."""
MATCH_NOISE_MM = 3.0
AGAIN_MM = ((4.0, 2), (3.0, 2))
"""As `facegen_inference.template_registration.FIT_MM`."""
INDEPENDENT = 300
"""So many of a registration's points count as seen independently of each other."""


@dataclass(frozen=True)
class Shape:
    """A skull's place on the components.

    Attributes
    ----------
    components
        (K,) likeliest values, in standard deviations.
    covariance
        (K, K) of what is not known of them: large where bone is missing.
    """

    components: Points
    covariance: Points


@dataclass(frozen=True)
class ShapeModel:
    """Mean and components of displacements, in coefficients of smooth functions.

    Attributes
    ----------
    outer
        The surface that was registered.
    mean
        (R, 3).
    modes
        (K, R, 3), one standard deviation each.
    """

    outer: OuterBone
    mean: Points
    modes: Points

    @cached_property
    def _bone_modes(self) -> Points:
        """(K, 3 N) mm, one standard deviation of the bone along each component."""
        moved = np.einsum("nr,krc->knc", self.outer.basis_at, self.modes, optimize=True)
        return np.asarray(moved.reshape(len(self.modes), -1))

    def matched(self, bone: BoneField) -> Points:
        """Return the components at which the bone that is there is matched best, (K,).

        Each point is drawn to the nearest bone that faces its way, wide at first; only what skulls
        do is allowed, so that a missing mandible is not sought in the maxilla.
        """
        components: Points = np.zeros(len(self.modes))
        rest = self.outer.points + self.outer.basis_at @ self.mean
        each = INDEPENDENT / len(self.outer.points) / MATCH_NOISE_MM**2
        for scale in MATCH_MM:
            now = rest + (components @ self._bone_modes).reshape(-1, 3)
            there = bone.nearest(now, self.outer.normals)
            weight = np.repeat(each * match_weights(self.outer, now, there, scale), 3)
            weighted = self._bone_modes * weight
            precision = weighted @ self._bone_modes.T + np.eye(len(self.modes))
            drawn = weighted @ (there.points - rest).ravel()
            components = np.asarray(np.linalg.solve(precision, drawn))
        return components

    def register(self, bone: BoneField) -> Registered:
        """Lay the mean skull onto a person's bone: by what skulls do, then smoothly.

        Twice, the second time from what the shape found at first lets expect: missing bone follows
        the rest of the skull.
        """
        start = self.coefficients_of(self.matched(bone))
        first = fitted(self.outer, bone, start, start)
        expected = self.coefficients_of(self.shape_of(first).components)
        return fitted(self.outer, bone, expected, expected, AGAIN_MM)

    def shape_of(self, found: Registered) -> Shape:
        """Return the components of a registered skull.

        Weighted least squares with a unit Gaussian prior, so that bone that is missing neither
        counts nor leaves a component undetermined.
        """
        each = INDEPENDENT / len(self.outer.points) / NOISE_MM**2
        weighted = self._bone_modes * np.repeat(found.weight * each, 3)
        left = (found.shift - self.outer.basis_at @ self.mean).ravel()
        covariance = np.linalg.inv(weighted @ self._bone_modes.T + np.eye(len(self.modes)))
        return Shape(np.asarray(covariance @ (weighted @ left)), np.asarray(covariance))

    def coefficients_of(self, components: Points) -> Points:
        """Return the displacement of (K,) components, (R, 3)."""
        return np.asarray(self.mean + np.tensordot(components, self.modes, 1))
