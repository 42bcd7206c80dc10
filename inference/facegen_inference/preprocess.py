"""From a skull to what a network sees: the one way, for training and for use.

`PreprocessSpec` is data and travels inside the model file; `preprocess` carries it out.  Nothing
here is random, and no other code turns bone into network input.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from facegen_inference.errors import ModelError
from facegen_inference.frame import Frame
from facegen_inference.skull import Skull
from facegen_inference.volume import Grid, resample

SPEC_VERSION = 1
"""Version of the fields and of what `preprocess` does with them; any change raises it."""

CHANNELS = ("bone distance", "observed")
_MAX_VOXELS = 64_000_000


@dataclass(frozen=True)
class PreprocessSpec:
    """What the network's input grid is and what its channels hold.

    Attributes
    ----------
    version
        `SPEC_VERSION` of the code that wrote it.
    shape
        Voxels along (k, j, i) = (z, y, x) of the Frankfurt frame.
    spacing_mm
        Distance between neighbouring voxels, the same along every axis.
    origin_mm
        (x, y, z) of voxel (0, 0, 0) in the frame, mm.
    channels
        What each channel holds; this version knows `CHANNELS` alone.
    clip_mm
        Distances are clipped to ±this; also the value where the scanner did not look.
    """

    version: int = SPEC_VERSION
    shape: tuple[int, int, int] = (128, 104, 96)
    spacing_mm: float = 2.0
    origin_mm: tuple[float, float, float] = (-95.0, -159.0, -151.0)
    channels: tuple[str, ...] = CHANNELS
    clip_mm: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what `preprocess` cannot carry out.

        Raises
        ------
        ModelError
            For a newer version, unknown channels or numbers out of range.
        """
        advice = "Use a FaceGen at least as new as the model, or another model."
        if self.version != SPEC_VERSION:
            raise ModelError(
                f"The model wants preprocessing version {self.version}; "
                f"this program knows version {SPEC_VERSION}.",
                advice,
            )
        if self.channels != CHANNELS:
            raise ModelError(
                f"The model wants unknown channels {', '.join(self.channels)}.", advice
            )
        sound = (
            len(self.shape) == 3
            and min(self.shape) >= 8
            and int(np.prod(self.shape)) <= _MAX_VOXELS
            and len(self.origin_mm) == 3
            and bool(np.isfinite(self.origin_mm).all())
            and 0.25 <= self.spacing_mm <= 16
            and 5 <= self.clip_mm <= 40
        )
        if not sound:
            raise ModelError("The model's preprocessing numbers are out of range.", advice)

    @property
    def grid(self) -> Grid:
        """The input grid; its "patient space" is the Frankfurt frame."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.spacing_mm * np.eye(3)[:, ::-1]
        matrix[:3, 3] = self.origin_mm
        return Grid(self.shape, matrix)

    def to_json(self) -> str:
        """Return the spec as JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    def digest(self) -> str:
        """Return the first 16 hexadecimal digits of the SHA-256 of `to_json`."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @staticmethod
    def from_json(text: str) -> PreprocessSpec:
        """Read what `to_json` wrote.

        Raises
        ------
        ModelError
            When it is not JSON, has unknown or missing keys, or cannot be carried out.
        """
        try:
            data = json.loads(text)
            known = {field.name for field in fields(PreprocessSpec)}
            if set(data) != known:
                odd = ", ".join(sorted(set(data) ^ known))
                raise ModelError(
                    f"The model's preprocessing has unknown or missing keys: {odd}.",
                    "Use a FaceGen at least as new as the model, or another model.",
                )
            k, j, i = (_whole(n) for n in data["shape"])
            x, y, z = (float(v) for v in data["origin_mm"])
            return PreprocessSpec(
                version=_whole(data["version"]),
                shape=(k, j, i),
                spacing_mm=float(data["spacing_mm"]),
                origin_mm=(x, y, z),
                channels=tuple(str(name) for name in data["channels"]),
                clip_mm=float(data["clip_mm"]),
            )
        except (ValueError, TypeError, RecursionError) as error:
            raise ModelError(
                "The model's preprocessing cannot be read.", "Use another model.", reason=error
            ) from error


def _whole(value: object) -> int:
    """Return an integer as it is; refuse anything else, true and 1.5 included."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a whole number")
    return value


def preprocess(skull: Skull, frame: Frame, spec: PreprocessSpec) -> NDArray[np.float32]:
    """Return the network's input for one skull.

    Parameters
    ----------
    skull
        Bone in patient space.
    frame
        Its Frankfurt frame.
    spec
        Grid and channels; from the model file.

    Returns
    -------
    (C, Z, Y, X) float32 in the frame's axes.  Channel 0: signed distance to bone, mm, negative
    inside, clipped; +clip where the scanner did not look.  Channel 1: 1 where it looked, else 0.
    """
    patient_from_frame = frame.patient_from_frame
    source = skull.grid.patient_from_voxel
    seen = resample(skull.observed, source, spec.grid, 0.0, patient_from_frame) > 0.99
    bone = resample(skull.distance, source, spec.grid, spec.clip_mm, patient_from_frame)
    np.clip(bone, -spec.clip_mm, spec.clip_mm, out=bone)
    bone[~seen] = spec.clip_mm
    return np.stack([bone, seen.astype(np.float32)])
