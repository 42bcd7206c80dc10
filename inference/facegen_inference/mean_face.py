"""The mean face: the average skin of many people, placed in the person's Frankfurt frame.

The baseline that every other method has to beat; of the skull it uses the frame, and that skin
never lies under bone.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

from facegen_inference.atlas import load_atlas
from facegen_inference.face import Face, Profile, Variant
from facegen_inference.face_surface import face_from_field
from facegen_inference.familiarity import GROWN_YEARS
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks
from facegen_inference.progress import Progress
from facegen_inference.provenance import timed
from facegen_inference.skull import Skull

if TYPE_CHECKING:
    from facegen_inference.reconstruct import Request

BUILD_SD = {"thin": -1.2816, "average": 0.0, "heavy": 1.2816}
"""Standard deviations of soft tissue: the 10th, 50th and 90th percentile of a Gaussian."""


def build_steps(count: int) -> dict[str, float]:
    """Return name → standard deviations of soft tissue for so many variants.

    The three builds first; further ones fill the 5th to the 95th percentile evenly (the van der
    Corput sequence), so that any number of them is spread well and none is random.
    """
    steps = dict(list(BUILD_SD.items())[:count])
    for number in range(1, count - len(BUILD_SD) + 1):
        place, part, rest = 0.0, 0.5, number + 1
        while rest:
            place, part, rest = place + part * (rest % 2), part / 2, rest // 2
        steps[f"alternative {number}"] = NormalDist().inv_cdf(0.05 + 0.9 * place)
    return steps


def profile_notes(profile: Profile, reason: str) -> list[str]:
    """Return sentences about which parts of the profile had influence on the shape."""
    notes = []
    if profile.build in ("thin", "heavy"):
        sd = BUILD_SD[profile.build]
        notes.append(f"Build '{profile.build}' moved the soft tissue by {sd:+.2f} SD.")
    given = [("sex", profile.sex != "unknown"), ("age", profile.age is not None)]
    unused = [name for name, is_given in given if is_given]
    if unused:
        notes.append(f"The given {' and '.join(unused)} had no influence on the shape: {reason}.")
    return notes


def age_warnings(profile: Profile) -> tuple[str, ...]:
    """Return a warning where the age given is below that of the people the method is made of."""
    if profile.age is None or profile.age >= GROWN_YEARS:
        return ()
    return (
        f"The age is given as {profile.age:g} years, but this method is made of adults: depths and "
        "proportions of a growing face differ. Make it by hand with a table for that age.",
    )


def predict_face(
    skull: Skull, frame: Frame, landmarks: Landmarks, request: Request, progress: Progress
) -> Face:
    """Lay the mean face over a skull.

    Parameters
    ----------
    skull, frame, landmarks
        Of one person, patient space (LPS mm).
    request
        ``profile.build``, ``variants`` and ``atlas`` have influence.
    progress
        Told how far the work is; may raise `Cancelled`.

    Returns
    -------
    Face whose spread is the standard deviation of the skin between people, and variants moved
    by multiples of it.
    """
    timings: dict[str, float] = {}
    with timed(timings, "atlas"):
        atlas = load_atlas(request.atlas)
    chosen = BUILD_SD.get(request.profile.build, 0.0)
    wanted = {"": chosen, **build_steps(request.variants)}
    meshes = {}
    with timed(timings, "surface"):
        for number, (name, sd) in enumerate(wanted.items()):
            progress(number / len(wanted), "mean face")
            field = (atlas.skin - sd * atlas.skin_sd).astype(atlas.skin.dtype)
            meshes[name] = face_from_field(
                field, atlas.skin_sd, atlas.grid, skull, frame, landmarks
            )
    progress(1.0, "face ready")
    warnings = age_warnings(request.profile)
    return Face(
        mesh=meshes.pop(""),
        method="mean-face",
        variants=tuple(Variant(name, mesh) for name, mesh in meshes.items()),
        notes=(
            *warnings,
            f"Mean of {atlas.people} people in the Frankfurt frame; of the skull only its place "
            "had influence on the shape.",
            *profile_notes(request.profile, "the mean is pooled over people without such labels"),
        ),
        device="CPU",
        timings=timings,
        warnings=warnings,
    )
