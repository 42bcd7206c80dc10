"""Small shaded pictures of a face field, from the front and from the left, to watch a run by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
_LIGHT = np.array([0.35, -0.85, 0.4])
"""Towards the light, in the frame's (x, y, z)."""


def face_picture(distance: Field, spacing_mm: float) -> NDArray[np.uint8]:
    """Return the surface seen from the front and, beside it, from the examinee's left.

    Parameters
    ----------
    distance
        (Z, Y, X) signed distance to the skin in the frame's axes, mm, negative inside.
    spacing_mm
        Of the grid.

    Returns
    -------
    (Z, X + Y) uint8, above is up; black where there is nothing.
    """
    front = _shaded(distance, spacing_mm)
    # Seen from the left (+x): turned about z by a quarter, the face looks to the picture's left.
    turned = np.ascontiguousarray(distance.transpose(0, 2, 1)[:, ::-1, :])
    return np.concatenate([front, _shaded(turned, spacing_mm)], axis=1)[::-1]


def _shaded(distance: Field, spacing_mm: float) -> NDArray[np.uint8]:
    """Return the first surface along axis 1, shaded by its slope, (Z, columns)."""
    inside = distance < 0
    hit = inside.any(axis=1)
    first = np.maximum(inside.argmax(axis=1), 1)[:, None, :]
    after = np.take_along_axis(distance, first, axis=1)[:, 0]
    before = np.take_along_axis(distance, first - 1, axis=1)[:, 0]
    share = before / np.maximum(before - after, 1e-6)
    depth = (first[:, 0] - 1 + np.clip(share, 0, 1)) * spacing_mm
    slope_z, slope_x = np.gradient(depth, spacing_mm)
    normal = np.stack([slope_x, -np.ones_like(depth), slope_z], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light = np.clip(normal @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    return np.where(hit, 40 + 215 * light, 0).astype(np.uint8)
