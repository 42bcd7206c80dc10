"""The whole line in two steps: prepare a scan once, then reconstruct faces from it.

Neither step knows whether a window is open, writes a file or shows anything.  The parts are
imported when they are needed, so that looking at this module costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from facegen_inference.errors import FrameUnsure, UserError
from facegen_inference.face import Face, Profile
from facegen_inference.landmarks import Landmark, Landmarks, read_landmarks
from facegen_inference.methods import METHODS
from facegen_inference.progress import Progress, part, silent
from facegen_inference.provenance import timed

if TYPE_CHECKING:
    from facegen_inference.frame import Frame
    from facegen_inference.scan import Scan
    from facegen_inference.skull import Skull

Device = Literal["auto", "cuda", "cpu"]
Purpose = Literal["casework", "validation"]


@dataclass(frozen=True)
class Request:
    """What the examiner asks for.

    Attributes
    ----------
    method
        A name in `facegen_inference.methods.METHODS`.
    profile
        Sex, age and build where known.
    variants
        How many alternatives to make beside the face itself.
    seed
        Start of every random number; the same seed gives the same meshes.
    device
        ``auto`` takes CUDA where it works, else the CPU.
    model
        A model file, or None for the one that ships.
    depth_table
        Name of a tissue-depth table, or None for the default one.
    purpose
        ``casework`` or ``validation``; logged, without influence on the shape.
    atlas
        Another mean head for ``mean-face`` and ``tissue-depth``, for instance one fitted inside
        a validation fold; None for the one that ships.
    template
        Another file for the method ``template``; None for the one that ships.
    """

    method: str = "neural"
    profile: Profile = field(default_factory=Profile)
    variants: int = 3
    seed: int = 0
    device: Device = "auto"
    model: Path | None = None
    depth_table: str | None = None
    purpose: Purpose = "casework"
    atlas: Path | None = None
    template: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """A scan made ready: bone, landmarks and frame; one of these serves any number of requests.

    Attributes
    ----------
    scan
        The scan as opened.
    skull
        Its bone.
    landmarks
        Code → craniometric point, LPS mm.
    frame
        The Frankfurt frame.
    timings
        Step → seconds.
    """

    scan: Scan
    skull: Skull
    landmarks: Landmarks
    frame: Frame
    timings: dict[str, float] = field(default_factory=dict)


class SkullUnplaced(FrameUnsure):
    """The frame is unsure; carries what had been found, for the examiner to go on from.

    Attributes
    ----------
    skull
        The bone.
    landmarks
        Code → point found so far.
    """

    def __init__(self, error: FrameUnsure, skull: Skull, landmarks: Landmarks) -> None:
        details = {**error.details, "landmarks": ", ".join(sorted(landmarks)) or "none"}
        super().__init__(error.message, error.advice, **details)
        self.skull = skull
        self.landmarks = landmarks


def check_request(request: Request) -> None:
    """Refuse a request that no method can answer, before any work is done.

    Raises
    ------
    UserError
        For an unknown method, or numbers out of range.
    """
    if request.method not in METHODS:
        raise UserError(
            f"There is no method called {request.method}.",
            f"Choose one of {', '.join(METHODS)}.",
        )
    if not 0 <= request.variants <= 20:
        raise UserError(f"{request.variants} variants cannot be made.", "Ask for 0 to 20 variants.")
    age = request.profile.age
    if age is not None and not 0 <= age <= 120:
        raise UserError(f"An age of {age:g} years is not possible.", "Give the age in years.")


def check_model(request: Request) -> None:
    """Refuse a file or device that the method cannot use, before any work is done.

    Raises
    ------
    UserError
        When the runtime or the device is not there; for a depth table that is not known, or an
        atlas or template that cannot be read.
    ModelError
        When the model file named is missing, damaged or not a FaceGen model, or none is there.
    """
    if request.method == "template":
        from facegen_inference.template_model import read_template

        read_template(request.template)
    if request.method in ("tissue-depth", "mean-face"):
        from facegen_inference.atlas import load_atlas
        from facegen_inference.depth_table import load_depth_table

        load_atlas(request.atlas)
        load_depth_table(request.depth_table)
    if request.method != "neural":
        return
    from facegen_inference.network import default_model, open_model
    from facegen_inference.runtime import choose_device

    choose_device(request.device)
    if request.model is None:
        default_model()
    else:
        open_model(request.model)


def prepare(
    scan: Scan, *, landmarks_file: Path | None = None, progress: Progress = silent
) -> Prepared:
    """Find bone, landmarks and frame of a scan.

    Parameters
    ----------
    scan
        What `facegen_inference.scan.open_scan` returned.
    landmarks_file
        Points given by the examiner, as `write_landmarks` writes them; they override what is
        found automatically.
    progress
        Told how far the work is; may raise `Cancelled`.

    Raises
    ------
    NoHeadFound
        When there is no head in the scan.
    SkullUnplaced
        A `FrameUnsure`: the Frankfurt frame cannot be established safely.
    UserError
        When the scan is de-identified or the landmarks file cannot be read.
    """
    if scan.deidentified:
        raise UserError(
            "The face was removed from this scan, or blurred, to protect a person.",
            "FaceGen does not reconstruct such scans; use the original where you may.",
        )
    given = None if landmarks_file is None else read_landmarks(landmarks_file)
    timings: dict[str, float] = {}
    with timed(timings, "skull"):
        skull = _skull_of(scan, part(progress, 0.0, 0.6))
    prepared = place(scan, skull, given, part(progress, 0.6, 1.0))
    progress(1.0, "skull ready")
    return replace(prepared, timings={**timings, **prepared.timings})


def place(
    scan: Scan, skull: Skull, given: Landmarks | None = None, progress: Progress = silent
) -> Prepared:
    """Find landmarks and frame of a skull that was made before; the second half of `prepare`.

    Parameters
    ----------
    scan, skull
        The scan and its bone.
    given
        Code → point placed by the examiner, LPS mm; they override what is found.
    progress
        Told how far the work is; may raise `Cancelled`.

    Raises
    ------
    NoHeadFound, SkullUnplaced
        As `prepare`.
    """
    from facegen_inference.craniometry import find_landmarks_and_frame
    from facegen_inference.given_frame import check_sides

    timings: dict[str, float] = {}
    with timed(timings, "landmarks and frame"):
        try:
            landmarks, frame = find_landmarks_and_frame(skull, given, progress)
            check_sides(skull, landmarks, frame)
        except FrameUnsure as error:
            raise SkullUnplaced(error, skull, _found_so_far(error)) from error
    return Prepared(scan, skull, landmarks, frame, timings)


def _skull_of(scan: Scan, progress: Progress) -> Skull:
    """Return the bone of a scan, be it a volume or a mesh."""
    from facegen_inference.skull import make_skull, skull_from_mesh

    if scan.volume is not None:
        return make_skull(scan.volume, progress)
    assert scan.mesh is not None
    return skull_from_mesh(scan.mesh, progress)


def _found_so_far(error: FrameUnsure) -> Landmarks:
    """Return the landmarks that the error carries, as an attribute or among its details."""
    found = getattr(error, "landmarks", None) or error.details.get("landmarks") or {}
    if not isinstance(found, dict):
        return {}
    return {code: point for code, point in found.items() if isinstance(point, Landmark)}


def reconstruct(prepared: Prepared, request: Request, progress: Progress = silent) -> Face:
    """Predict the face of a prepared skull by the method asked for.

    Returns
    -------
    The face in the scan's own coordinates (LPS mm); its ``timings`` hold the method's own steps
    and the rest of its time under the method's name, so that they add up to the whole.

    Raises
    ------
    UserError
        When the request cannot be answered; `ModelError` when the model file cannot be used.
    """
    check_request(request)
    timings: dict[str, float] = {}
    with timed(timings, request.method):
        face = METHODS[request.method](
            prepared.skull, prepared.frame, prepared.landmarks, request, progress
        )
    rest = max(0.0, timings[request.method] - sum(face.timings.values()))
    return replace(face, timings={**face.timings, request.method: rest})
