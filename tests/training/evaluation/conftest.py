from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from facegen_inference.demo_head import head_volume, load_head_model
from facegen_inference.volume import Volume

SPACING_MM = 3.0


@pytest.fixture(scope="session")
def head_3mm() -> Volume:
    """A 3 mm copy of the demonstration head."""
    volume = head_volume(load_head_model())
    step = SPACING_MM / volume.spacing
    count = tuple(int(n) for n in np.array(volume.array.shape) / step)
    array = affine_transform(
        volume.array.astype(np.float32), step, output_shape=count, order=1, cval=-1000
    )
    matrix = volume.patient_from_voxel @ np.diag([*step, 1.0])
    return Volume(np.round(array).astype(np.int16), matrix)
