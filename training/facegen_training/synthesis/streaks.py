"""Streaks that metal casts over a CT slice: beam hardening through the metal's own projections.

A polychromatic beam measures p - b p² along a ray through p mm of metal (Brooks & Di Chiro 1976,
Phys Med Biol 21(3):390-398); reconstructing the error -b p² gives the dark bands between metal
parts and the bright ones beside them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

ANGLES = 180
SIDE = 192
"""Views, and pixels a side on which the streaks are computed: they are broad."""
HARDENING_HU = 150.0
"""Scale of the error, HU per mm of metal: our choice, which leaves bands of some hundred HU between
two crowns."""
LIMIT_HU = 900.0


def streaks(metal: NDArray[np.bool_], pixel_mm: float) -> Array:
    """Return what metal adds to a slice.

    Parameters
    ----------
    metal
        (j, i) where metal is.
    pixel_mm
        Side of a pixel.

    Returns
    -------
    (j, i) float32 HU.
    """
    rows, columns = metal.shape
    size = max(rows, columns) * pixel_mm / SIDE
    j, i = np.nonzero(metal)
    y, x = (j - (rows - 1) / 2) * pixel_mm, (i - (columns - 1) / 2) * pixel_mm
    axis = size * (np.arange(SIDE) - (SIDE - 1) / 2)
    across = size * (np.arange(2 * SIDE) - (2 * SIDE - 1) / 2)
    edges = np.append(across, across[-1] + size) - size / 2
    image = np.zeros((SIDE, SIDE))
    for angle in np.pi * np.arange(ANGLES) / ANGLES:
        c, s = np.cos(angle), np.sin(angle)
        counts, _ = np.histogram(c * x + s * y, edges)
        through = counts * pixel_mm**2 / size
        error = _filtered(-(through**2), size)
        at = c * axis[None, :] + s * axis[:, None]
        image += np.interp(at.ravel(), across, error).reshape(SIDE, SIDE)
    image *= np.pi / ANGLES * HARDENING_HU
    at_j = (np.arange(rows) - (rows - 1) / 2) * pixel_mm
    at_i = (np.arange(columns) - (columns - 1) / 2) * pixel_mm
    return np.clip(_enlarged(image, axis, at_j, at_i), -LIMIT_HU, LIMIT_HU)


def _filtered(projection: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Apply the ramp filter of filtered back-projection with a Hann window."""
    count = 2 * len(projection)
    frequency = np.fft.rfftfreq(count, size)
    window = 0.5 + 0.5 * np.cos(np.pi * frequency / frequency[-1])
    spectrum = np.fft.rfft(projection, count) * frequency * window
    return np.asarray(np.fft.irfft(spectrum, count)[: len(projection)])


def _enlarged(
    image: NDArray[np.float64], axis: NDArray[np.float64],
    at_j: NDArray[np.float64], at_i: NDArray[np.float64],
) -> Array:  # fmt: skip
    """Return an image linearly on finer pixels, one axis after the other."""
    tall = np.stack([np.interp(at_j, axis, column) for column in image.T], axis=1)
    return np.stack([np.interp(at_i, axis, row) for row in tall]).astype(np.float32)
