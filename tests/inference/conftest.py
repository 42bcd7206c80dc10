"""Synthetic scans for the intake tests: a small head with a marker on its left side.

The head is a formula, so it can be sampled on any grid: axis-aligned, oblique or sheared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from facegen_inference.dicom_writer import write_series
from facegen_inference.volume import Volume

MARKER_LPS = np.array([55.0, -10.0, 20.0])
"""Centre of the marker, on the examinee's left (+x in LPS), a little forward and up."""

CENTRE = np.array([4.0, -6.0, 10.0])


def head_hu(points: NDArray[np.float64]) -> NDArray[np.int16]:
    """HU of the synthetic head at LPS points (..., 3): skin, bone, brain, a marker of metal."""
    offset = points - CENTRE
    radius = np.sqrt(((offset / [70.0, 90.0, 80.0]) ** 2).sum(axis=-1))
    hu = np.full(radius.shape, -1000.0)
    hu[radius < 1.0] = 60
    hu[radius < 0.9] = 1100
    hu[radius < 0.78] = 35
    near = (np.abs(points - MARKER_LPS) < 7.0).all(axis=-1)
    hu[near] = 2500
    return hu.astype(np.int16)


def sample_head(matrix: NDArray[np.float64], shape: tuple[int, int, int]) -> Volume:
    """Sample the head on a grid; `matrix` (k, j, i, 1) → LPS mm may be oblique or sheared."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return Volume(head_hu(index @ matrix[:3, :3].T + matrix[:3, 3]), matrix)


def centred(columns: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Return a grid matrix with the given columns (k, j, i; mm), its middle at the head's."""
    matrix = np.eye(4)
    matrix[:3, :3] = columns
    matrix[:3, 3] = CENTRE - columns @ ((np.array(shape) - 1) / 2)
    return matrix


AXIAL_SHAPE = (50, 56, 48)
AXIAL_COLUMNS = np.array([[0.0, 0.0, 4.0], [0.0, 4.0, 0.0], [4.0, 0.0, 0.0]])


@pytest.fixture(scope="session")
def axial_head() -> Volume:
    """An axial head of 4 mm voxels, (50, 56, 48)."""
    return sample_head(centred(AXIAL_COLUMNS, AXIAL_SHAPE), AXIAL_SHAPE)


def marker_centre(volume: Volume) -> NDArray[np.float64]:
    """Return the LPS centre of what is denser than any bone of the synthetic head."""
    points = volume.grid.patient_points(np.argwhere(volume.array > 1500).astype(float))
    assert len(points), "the marker is gone"
    return np.asarray(points.mean(axis=0))


@pytest.fixture(scope="session")
def heads() -> SimpleNamespace:
    """Functions that make synthetic heads (test modules cannot import this file)."""
    return SimpleNamespace(
        hu=head_hu, sample=sample_head, centred=centred, marker=MARKER_LPS, centre=CENTRE,
        marker_centre=marker_centre, columns=AXIAL_COLUMNS, shape=AXIAL_SHAPE,
    )  # fmt: skip


@pytest.fixture
def series_folder(tmp_path: Path, axial_head: Volume) -> Callable[..., Path]:
    """Write the axial head as a series; takes the options of `write_series`."""

    def write(name: str = "series", volume: Volume | None = None, **options: object) -> Path:
        write_series(volume or axial_head, tmp_path / name, **options)  # type: ignore[arg-type]
        return tmp_path / name

    return write
