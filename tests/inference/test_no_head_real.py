"""Real CT without a head in it: shoulders and upper chest of scans whose head is cut away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facegen_inference.errors import FrameUnsure, NoHeadFound
from facegen_inference.reconstruct import prepare
from facegen_inference.scan import Scan, open_scan
from facegen_inference.volume import Volume


@pytest.mark.parametrize("person", ["okbp_030", "okbp_212", "okbp_306"])
def test_a_chest_is_refused(shared_ct: Path, person: str) -> None:
    scan = open_scan(shared_ct / "openkbp" / f"{person}.nii.gz")
    volume = scan.volume
    assert volume is not None
    bone = (volume.array > 200).any(axis=(1, 2))
    top = int(np.flatnonzero(bone).max() - 250 / volume.spacing[0])  # below chin and jaw
    chest = Volume(np.ascontiguousarray(volume.array[:top]), volume.patient_from_voxel)
    assert (chest.array > 200).sum() > 2000  # there is bone in it
    with pytest.raises((NoHeadFound, FrameUnsure)) as caught:
        prepare(Scan(chest, None, scan.series, ()))
    assert caught.value.message
    assert caught.value.advice
