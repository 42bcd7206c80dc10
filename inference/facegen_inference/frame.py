"""The Frankfurt frame: where front, left and up of the examinee are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """A rigid anatomical frame.

    Origin midway between the porions; +x the examinee's left, +y posterior, +z superior; the
    xy plane holds both porions and is level with the orbitalia.  (For an upright supine patient
    these are the LPS axes.)

    Attributes
    ----------
    patient_from_frame
        4×4 float64, rigid, determinant +1, no scale: frame mm → LPS mm.
    method
        ``landmarks``, ``registration`` or ``given``.
    residual_mm
        Trimmed distance of the bone to the mean skull, or of the four points to the plane.
    confidence
        0..1.
    """

    patient_from_frame: NDArray[np.float64]
    method: Literal["landmarks", "registration", "given"]
    residual_mm: float
    confidence: float

    def __post_init__(self) -> None:
        """Refuse anything but a rigid, unmirrored matrix."""
        r = self.patient_from_frame[:3, :3]
        if not np.allclose(r @ r.T, np.eye(3), atol=1e-6) or np.linalg.det(r) < 0:
            raise ValueError("a frame must be rigid with determinant +1")

    @property
    def frame_from_patient(self) -> NDArray[np.float64]:
        """4×4 inverse of `patient_from_frame`."""
        return np.asarray(np.linalg.inv(self.patient_from_frame), dtype=np.float64)
