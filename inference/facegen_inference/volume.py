"""A CT volume: Hounsfield values and where they are in millimetres, never one without the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

AIR_HU = -1000


@dataclass(frozen=True)
class Grid:
    """A regular grid of voxels in patient space, without values.

    Attributes
    ----------
    shape
        Number of voxels along (k, j, i) = (slice, row, column).
    patient_from_voxel
        4×4 float64; maps homogeneous (k, j, i, 1) to DICOM LPS millimetres.
    """

    shape: tuple[int, int, int]
    patient_from_voxel: NDArray[np.float64]

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Distance in mm between neighbouring voxels along k, j and i."""
        return np.asarray(np.linalg.norm(self.patient_from_voxel[:3, :3], axis=0))

    @property
    def voxel_from_patient(self) -> NDArray[np.float64]:
        """4×4 inverse of `patient_from_voxel`."""
        return np.asarray(np.linalg.inv(self.patient_from_voxel), dtype=np.float64)

    def patient_points(self, voxels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (N, 3) voxel coordinates (k, j, i) to (N, 3) LPS mm."""
        m = self.patient_from_voxel
        return np.asarray(voxels @ m[:3, :3].T + m[:3, 3])

    def voxel_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (N, 3) LPS mm to (N, 3) fractional voxel coordinates (k, j, i)."""
        m = self.voxel_from_patient
        return np.asarray(points @ m[:3, :3].T + m[:3, 3])

    def corners(self) -> NDArray[np.float64]:
        """Return the centres of the eight corner voxels, (8, 3) LPS mm."""
        top = np.array(self.shape, dtype=np.float64) - 1
        index = np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, 8).T
        return self.patient_points(index * top)


@dataclass(frozen=True)
class Volume:
    """A CT volume in Hounsfield units.

    Attributes
    ----------
    array
        (k, j, i) int16 HU.
    patient_from_voxel
        4×4 float64; (k, j, i, 1) → LPS mm; columns orthogonal (no shear).
    observed
        (k, j, i) bool, where the scanner looked; None means everywhere.
    source
        Short text naming where it came from (never a patient's name).
    warnings
        Sentences about what was done to make it regular (resampled, tilt undone, ...).
    """

    array: NDArray[np.int16]
    patient_from_voxel: NDArray[np.float64]
    observed: NDArray[np.bool_] | None = None
    source: str = ""
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check what every later step relies on."""
        if self.array.ndim != 3 or self.array.dtype != np.int16:
            raise ValueError(f"volume must be 3-D int16, is {self.array.ndim}-D {self.array.dtype}")
        if self.patient_from_voxel.shape != (4, 4):
            raise ValueError("patient_from_voxel must be 4×4")
        if self.observed is not None and self.observed.shape != self.array.shape:
            raise ValueError("observed must have the shape of array")

    @property
    def grid(self) -> Grid:
        """The volume's grid."""
        k, j, i = self.array.shape
        return Grid((k, j, i), self.patient_from_voxel)

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Distance in mm between neighbouring voxels along k, j and i."""
        return self.grid.spacing

    def observed_mask(self) -> NDArray[np.bool_]:
        """Return `observed` as an array even where it is None."""
        if self.observed is None:
            return np.ones(self.array.shape, dtype=bool)
        return self.observed

    def with_warning(self, sentence: str) -> Volume:
        """Return the same volume with one more warning."""
        return replace(self, warnings=(*self.warnings, sentence))

    def to_sitk(self) -> sitk.Image:
        """Return a SimpleITK image (x, y, z order, LPS) sharing no memory with this volume."""
        return sitk_image(self.array, self.patient_from_voxel)


def sitk_image(array: NDArray[np.generic], patient_from_voxel: NDArray[np.float64]) -> sitk.Image:
    """Return (k, j, i) values on a grid as a SimpleITK image in LPS.

    A left-handed (k, j, i) grid is fine: SimpleITK accepts any orthonormal direction matrix.
    """
    m = patient_from_voxel[:3, [2, 1, 0]]  # columns in i, j, k order
    spacing = np.linalg.norm(m, axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection([float(v) for v in (m / spacing).ravel()])
    image.SetOrigin([float(v) for v in patient_from_voxel[:3, 3]])
    return image


def matrix_from_sitk(image: sitk.Image) -> NDArray[np.float64]:
    """Return the 4×4 (k, j, i, 1) → LPS mm matrix of a SimpleITK image."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    columns = direction * np.array(image.GetSpacing())
    matrix = np.eye(4)
    matrix[:3, :3] = columns[:, [2, 1, 0]]
    matrix[:3, 3] = image.GetOrigin()
    return matrix


def resample(
    array: NDArray[np.generic],
    patient_from_voxel: NDArray[np.float64],
    target: Grid,
    fill: float,
    target_to_source: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Resample values linearly onto another grid.

    Parameters
    ----------
    array
        (k, j, i) values.
    patient_from_voxel
        4×4, the source grid's matrix.
    target
        The grid wanted; in source patient space unless `target_to_source` is given.
    fill
        Value outside the source.
    target_to_source
        4×4 rigid or affine matrix from the target's space to the source's patient space.

    Returns
    -------
    (k, j, i) float32 on `target`.
    """
    from scipy.ndimage import affine_transform

    to_source = np.eye(4) if target_to_source is None else target_to_source
    matrix = np.linalg.inv(patient_from_voxel) @ to_source @ target.patient_from_voxel
    return np.asarray(
        affine_transform(
            np.asarray(array, dtype=np.float32),
            matrix[:3, :3],
            matrix[:3, 3],
            output_shape=target.shape,
            order=1,
            mode="constant",
            cval=fill,
            output=np.float32,
        )
    )
