"""Files of landmarks, as the command line writes and reads them, checked against the open skull."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facegen_app.model.landmark_names import CODES, name_of
from facegen_inference.errors import OutputError, UserError
from facegen_inference.landmarks import Landmarks, read_landmarks, write_landmarks

_OUTSIDE_MM = 50.0
"""A point may stand off the bone where bone is missing, but not by more than this."""


def read_points(path: Path, vertices: NDArray[np.float64]) -> Landmarks:
    """Read a landmarks file that belongs to a skull.

    Parameters
    ----------
    path
        As `facegen_inference.landmarks.write_landmarks` writes it.
    vertices
        (N, 3) LPS mm, the skull's surface.

    Raises
    ------
    UserError
        When it is no such file, names no point or an unknown one, or belongs to another scan.
    """
    points = read_landmarks(path)
    if not points:
        raise UserError(f"{path.name} names no landmark.", "Place points by hand and save them.")
    unknown = sorted(points.keys() - set(CODES))
    if unknown:
        raise UserError(
            f"{path.name} names a landmark that FaceGen does not know: {unknown[0]}.",
            f"The known ones are {', '.join(CODES)}.",
            unknown=unknown,
        )
    low, high = vertices.min(axis=0) - _OUTSIDE_MM, vertices.max(axis=0) + _OUTSIDE_MM
    for code, point in points.items():
        position = np.array(point.position)
        if not (
            np.isfinite(position).all() and (low <= position).all() and (position <= high).all()
        ):
            raise UserError(
                f"{path.name} does not belong to this scan: in it {name_of(code)} "
                "lies away from the skull.",
                "Choose the file that was saved for this scan; its points are LPS in mm.",
                code=code,
            )
    return points


def write_points(points: Landmarks, path: Path) -> None:
    """Write a landmarks file, whole or not at all.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=".landmarks-", suffix=".json", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        write_landmarks(points, temporary)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise OutputError(
            f"The landmarks cannot be written to {path}.",
            "Choose another folder, or free some space on the disk.",
            reason=error,
        ) from error
