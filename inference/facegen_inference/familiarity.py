"""Whether a skull is like those a model learned from: used, used with a warning, or refused.

A network answers whatever it is given.  What is asked here is only whether its training people say
anything about this skull; the reason is named, and the way out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from facegen_inference.errors import UserError
from facegen_inference.face import Profile
from facegen_inference.familiarity_file import Familiarity, Limits, Measure
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.skull_space import Bone, Place, place

GROWN_YEARS, CHILD_YEARS = 18.0, 10.0
"""Below the first a person is no adult, which is whom the tissue-depth tables and, where no ages
are labelled, the training people are.  Below the second the face is still well short of its final
size in everyone: it matures at 12 to 15 years in males, two years earlier in females (Farkas,
Posnick and Hreczko 1992, Cleft Palate Craniofac J 29:308-315)."""

NOT_MEASURED = (
    "How far this skull lies from the training people was not measured: the model file does not "
    "hold their skulls."
)
_TOO_LITTLE = (
    "How far this skull lies from the training people could not be measured: too little bone."
)
_GROWING = ("size", "face_size", "proportion")
_OTHER_METHOD = (
    "For an adult's skull, choose the method tissue-depth, which follows published depths at the "
    "bone's landmarks."
)
_NO_CHILD = (
    "No method fits a child: the tissue-depth tables are of adults too, so that its face is to be "
    "made by hand with a table for its age."
)

_Sentence = Callable[[float, float], str]
_HIGH: dict[Measure, _Sentence] = {
    "size": lambda v, m: f"it is {v:.2f} times their mean size (limit {m:.2f}); check the scale",
    "face_size": lambda v, m: f"its face is {v:.2f} times their mean size (limit {m:.2f})",
    "proportion": lambda v, m: f"its face is large for its head ({v:.2f}, limit {m:.2f})",
    "misfit_mm": lambda v, m: (
        f"its bone lies {v:.1f} mm from any shape between theirs (limit {m:.1f} mm)"
    ),
    "far_percent": lambda v, m: (
        f"{v:.0f} % of its bone lies where none of theirs does (limit {m:.0f} %)"
    ),
    "upper_far_percent": lambda v, m: (
        f"{v:.1f} % of its bone above the jaw lies where none of theirs does (limit {m:.1f} %)"
    ),
    "shape_sd": lambda v, m: f"its shape is {v:.1f} SD from their mean (limit {m:.1f} SD)",
    "missing_percent": lambda v, m: (
        f"{v:.0f} % of the upper face's bone is not there though it was scanned (limit {m:.0f} %)"
    ),
    "turned_deg": lambda v, m: f"its frame is turned by {v:.0f}° from theirs (limit {m:.0f}°)",
    "moved_mm": lambda v, m: f"its frame lies {v:.0f} mm from theirs (limit {m:.0f} mm)",
}
_LOW: dict[Measure, _Sentence] = {
    "size": lambda v, m: f"it is {v:.2f} times their mean size (limit {m:.2f}), as a child's is",
    "face_size": lambda v, m: (
        f"its face is {v:.2f} times their mean size (limit {m:.2f}), as a child's is"
    ),
    "proportion": lambda v, m: (
        f"its face is small for its head ({v:.2f}, limit {m:.2f}), as a child's is"
    ),
}


class UnfamiliarSkull(UserError):
    """The skull is too unlike the training people's for the model; another method may do.

    Attributes
    ----------
    values
        Measure → what was found.
    """

    def __init__(self, message: str, advice: str, values: dict[str, float]) -> None:
        super().__init__(message, advice, **{name: f"{v:.3g}" for name, v in values.items()})
        self.values = values


@dataclass(frozen=True)
class Familiar:
    """What was found of a skull that is not refused.

    Attributes
    ----------
    warnings
        Sentences; empty where the skull is as theirs are.
    values
        Measure → what was found.
    remark
        Why nothing was measured, if so.
    """

    warnings: tuple[str, ...] = ()
    values: dict[str, float] = field(default_factory=dict)
    remark: str = ""

    def around(self, notes: tuple[str, ...]) -> tuple[str, ...]:
        """Return a face's notes with the warnings before them, as the first to be read."""
        return (*self.warnings, *notes, *((self.remark,) if self.remark else ()))


def measures_of(found: Place) -> dict[Measure, float]:
    """Return the measures of a place that could be taken."""
    values: dict[Measure, float] = {
        "size": found.size,
        "face_size": found.face_size,
        "proportion": found.face_size / found.size,
        "misfit_mm": found.misfit_mm,
        "far_percent": found.far_percent,
        "upper_far_percent": found.upper_far_percent,
        "shape_sd": found.shape_sd,
        "missing_percent": found.missing_percent,
        "turned_deg": found.turned_deg,
        "moved_mm": found.moved_mm,
    }
    return {name: value for name, value in values.items() if isfinite(value)}


def check_familiar(
    fields: NDArray[np.float32],
    spec: PreprocessSpec,
    familiarity: Familiarity | None,
    profile: Profile,
) -> Familiar:
    """Measure how far a skull lies from the training people.

    Parameters
    ----------
    fields
        (2, Z, Y, X), what `facegen_inference.preprocess.preprocess` gave.
    spec
        Of the model.
    familiarity
        From the model file, or None where it holds none.
    profile
        A given age may rule the model out; nothing else of it is looked at.

    Raises
    ------
    UnfamiliarSkull
        Beyond the limits for refusal.
    """
    notes = _age_notes(familiarity, profile.age)
    if familiarity is None:
        return Familiar(notes, remark=NOT_MEASURED)
    values = measures_of(place(Bone.of(fields, spec), familiarity.space()))
    if not values:
        return Familiar(notes, remark=_TOO_LITTLE)
    beyond, doubtful = beyond_limits(values, familiarity.limits)
    plain = {str(name): round(value, 4) for name, value in values.items()}
    if beyond:
        raise UnfamiliarSkull(
            "The model's training people say nothing about this skull: "
            f"{'; '.join(_reason(*one) for one in beyond)}.",
            _way_out(beyond),
            plain,
        )
    if doubtful:
        reasons = "; ".join(_reason(*one) for one in doubtful)
        notes = (
            f"Unlike the training people: {reasons}. The face may be farther from the truth than "
            f"its spread says; compare it with another method (tissue-depth, of adults).",
            *notes,
        )
    return Familiar(notes, plain)


_Beyond = tuple[Measure, float, float, bool]
"""Measure, value, limit, whether below it."""


def beyond_limits(
    values: dict[Measure, float], all_limits: dict[Measure, Limits]
) -> tuple[list[_Beyond], list[_Beyond]]:
    """Return which measures lie beyond the limits for refusal, and which beyond a warning's."""
    beyond: list[_Beyond] = []
    doubtful: list[_Beyond] = []
    for name, limits in all_limits.items():
        if name not in values:
            continue
        value = values[name]
        for found, low, high in (
            (beyond, limits.refuse_below, limits.refuse_above),
            (doubtful, limits.warn_below, limits.warn_above),
        ):
            if low is not None and value < low:
                found.append((name, value, low, True))
            if high is not None and value > high:
                found.append((name, value, high, False))
    return beyond, doubtful


def _reason(name: Measure, value: float, limit: float, below: bool) -> str:
    return (_LOW if below else _HIGH)[name](value, limit)


def _way_out(beyond: list[_Beyond]) -> str:
    if any(below and name in _GROWING for name, _, _, below in beyond):
        return f"{_OTHER_METHOD} {_NO_CHILD}"
    return (
        f"{_OTHER_METHOD} Nothing here fits what is not a human skull; check the scan's scale and "
        "the landmarks."
    )


def _age_notes(familiarity: Familiarity | None, age: float | None) -> tuple[str, ...]:
    """Return a warning of an age the training people do not have.

    Raises
    ------
    UnfamiliarSkull
        For a child.
    """
    youngest = None if familiarity is None else familiarity.youngest
    grown = GROWN_YEARS if youngest is None else youngest
    if age is None or age >= grown:
        return ()
    if age < min(grown, CHILD_YEARS):
        raise UnfamiliarSkull(
            f"The age is given as {age:g} years; the model's training people are not children.",
            _NO_CHILD,
            {"age": age},
        )
    return (
        f"The age is given as {age:g} years: younger than the training people, whose faces have "
        "stopped growing. The tissue-depth tables are of adults too.",
    )
