"""The floors: how exactly the skin itself is known in a coarse scan."""

from __future__ import annotations

from pathlib import Path

from facegen_inference.compare import compare
from facegen_inference.reconstruct import prepare
from facegen_inference.scan import open_scan
from facegen_inference.skin import partial_volume_percent, skin_surface
from facegen_training.evaluation.floors import COARSE_MM, sampled


def test_skin_under_a_body_mask_is_known_to_half_a_millimetre(shared_ct: Path) -> None:
    """The floor of a scan whose body mask runs along the skin (DESIGN: 0.5 mm, bias 0.15 mm)."""
    scan = open_scan(shared_ct / "volumes" / "visible_human_female.nii.gz")
    assert scan.volume is not None
    masked = sampled(scan.volume, COARSE_MM, 0.0)
    assert partial_volume_percent(masked) < 25
    placed = prepare(scan)
    result = compare(
        skin_surface(masked), skin_surface(scan.volume), placed.frame, placed.landmarks
    )
    assert result.closest.mean < 0.5
    assert abs(result.closest.signed_mean) < 0.15
