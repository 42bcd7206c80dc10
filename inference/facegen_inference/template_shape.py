"""How skulls vary: components of dense registrations, read off one skull even in part."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from facegen_inference.template_registration import OuterBone, Points, Registered

NOISE_MM = 1.5
"""Standard deviation of a point's miss of what the components say."""
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
