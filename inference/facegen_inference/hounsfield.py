"""Whether values can be Hounsfield units at all, and how they become the int16 of a `Volume`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facegen_inference.errors import ScanError
from facegen_inference.volume import AIR_HU

LOWEST_HU = -1024
"""Scanners write less than this only outside the scanned circle and in the shadow of metal."""

_SAMPLES = 2_000_000


class NotACt(ScanError):
    """The values or the header are not those of a CT."""


def check_hounsfield(array: NDArray[Any], name: str) -> None:
    """Raise `NotACt` unless the values look like Hounsfield units.

    A CT of a head, or of a dry skull, holds air (about -1000) and something much denser.  Values
    of an MR start at zero; a CT written without its offset of 1024 does so too, with soft tissue
    near 1024.

    Parameters
    ----------
    array
        (k, j, i), any numeric type.
    name
        What to call the scan in the sentence.
    """
    flat = array.reshape(-1)
    sample = flat[:: max(1, flat.size // _SAMPLES)]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        raise NotACt(f"{name} holds no values.", "Choose a CT with its original values.")
    lowest, highest = float(sample.min()), float(sample.max())
    details = {"lowest": lowest, "highest": highest}
    air = float((sample < -500).mean())
    if air >= 0.001 and highest >= 150:
        return
    if air >= 0.001:
        raise NotACt(
            f"{name} holds nothing denser than {highest:.0f} HU, so there is no bone in it.",
            "Choose a scan that shows the skull.",
            **details,
        )
    tissue = float(((sample > 900) & (sample < 1250)).mean())
    if lowest > -300 and highest > 1500 and tissue > 0.02:
        raise NotACt(
            f"The values of {name} run from {lowest:.0f} to {highest:.0f} with soft tissue near "
            "1024: a CT stored without its offset, not Hounsfield units.",
            "Export it again in Hounsfield units (usually: subtract 1024).",
            **details,
        )
    raise NotACt(
        f"{name} does not hold Hounsfield units: its values run from {lowest:.4g} to "
        f"{highest:.4g} and none stands for air (an MR, a mask or a rescaled picture).",
        "FaceGen needs a CT with its original values.",
        **details,
    )


def to_hounsfield(
    values: NDArray[Any],
) -> tuple[NDArray[np.int16], NDArray[np.bool_] | None]:
    """Return values as int16 HU and where they are known.

    Parameters
    ----------
    values
        (k, j, i) integer or float HU; NaN means not scanned.

    Returns
    -------
    (k, j, i) int16, at least `LOWEST_HU`; and a bool array, or None where all are known.
    """
    observed: NDArray[np.bool_] | None = None
    if np.issubdtype(values.dtype, np.floating):
        known = np.isfinite(values)
        if not known.all():
            observed = known
            values = np.where(known, values, AIR_HU)
        values = np.rint(values)
    out = np.clip(values, LOWEST_HU, 32767).astype(np.int16)
    return out, observed
