from __future__ import annotations

import numpy as np

from facegen_inference.volume import Volume
from facegen_training.evaluation.protocol import cropped


def flipped(volume: Volume) -> Volume:
    """The same scan with its rows stored from back to front."""
    matrix = volume.patient_from_voxel.copy()
    matrix[:3, 3] += matrix[:3, 1] * (volume.array.shape[1] - 1)
    matrix[:3, 1] *= -1
    return Volume(np.ascontiguousarray(volume.array[:, ::-1]), matrix)


def front(volume: Volume) -> float:
    """The most anterior place that the scan reaches, LPS y mm."""
    rows = np.array([0, volume.array.shape[1] - 1])
    return float(min(volume.patient_from_voxel[1, 3] + volume.patient_from_voxel[1, 1] * rows))


def test_a_crop_never_takes_the_face_however_the_rows_are_stored(head_3mm: Volume) -> None:
    for volume in (head_3mm, flipped(head_3mm)):
        assert front(cropped(volume)) == front(volume)
        assert cropped(volume).array.size < volume.array.size
