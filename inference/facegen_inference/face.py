"""What comes out: a face with its uncertainty, its variants, and how it was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from facegen_inference.mesh import Mesh

Build = Literal["thin", "average", "heavy", "unknown"]
Sex = Literal["female", "male", "unknown"]
METHODS = ("neural", "template", "tissue-depth", "mean-face")


@dataclass(frozen=True)
class Profile:
    """What the examiner knows of the person; which parts had influence is said in the face.

    Attributes
    ----------
    age
        Years, None where unknown.
    """

    sex: Sex = "unknown"
    age: float | None = None
    build: Build = "unknown"


@dataclass(frozen=True)
class Variant:
    """One plausible alternative face of the same skull (``thin``, ``average``, ``heavy``, ...)."""

    name: str
    mesh: Mesh


@dataclass(frozen=True)
class Face:
    """A predicted face in patient space.

    Attributes
    ----------
    mesh
        Cut to the predicted region, LPS mm, with vertex data ``spread_mm`` (one SD along the
        normal), ``band50_mm`` and ``band90_mm`` (half-widths along the normal),
        ``thickness_mm`` (to bone along the inward normal; NaN where none within 60 mm) and
        ``predicted`` (1 inside the region the method answers for, else 0).
    method
        One of `METHODS`.
    variants
        Alternatives; the first is not the face itself.
    notes
        Sentences for window, result and report: what influenced the shape and what did not,
        what was missing.
    device
        Where it was computed, e.g. ``CPU (ONNX Runtime)``.
    model
        Card of the model file as plain data, or None for a method without one.
    timings
        Step → seconds.
    warnings
        The first of the notes, as far as they doubt the face: to be read before it is used.
    """

    mesh: Mesh
    method: str
    variants: tuple[Variant, ...] = ()
    notes: tuple[str, ...] = ()
    device: str = "CPU"
    model: dict[str, object] | None = None
    timings: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
