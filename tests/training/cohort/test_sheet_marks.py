"""The words on the contact sheet's pictures."""

from __future__ import annotations

import numpy as np

from facegen_training.cohort.pictures import _tile


def test_words_stand_apart() -> None:
    dark = np.zeros((256, 200, 3), np.uint8)
    lit = np.flatnonzero(np.asarray(_tile(dark, "left side")).max((0, 2)) > 60)
    gaps = np.diff(lit) - 1
    assert np.count_nonzero(gaps >= 4) == 1
    assert np.asarray(_tile(dark, "midline")).any()
