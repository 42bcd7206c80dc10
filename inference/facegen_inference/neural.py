"""The neural method: preprocess, run the model, finish the surface; and its variants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facegen_inference.card import raised_mm
from facegen_inference.face import Face, Variant
from facegen_inference.face_surface import face_from_field
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks
from facegen_inference.mesh import Mesh
from facegen_inference.network import Model, default_model, open_model
from facegen_inference.preprocess import preprocess
from facegen_inference.progress import Progress, part
from facegen_inference.provenance import timed
from facegen_inference.runtime import choose_device
from facegen_inference.skull import Presence, Skull

if TYPE_CHECKING:
    from facegen_inference.reconstruct import Request

BUILD_SD = {"thin": -1.2816, "average": 0.0, "heavy": 1.2816}
"""Value of the first latent axis: the 10th, 50th and 90th percentile of a Gaussian."""
_MISSING = (Presence.ABSENT, Presence.NOT_SCANNED)


def predict_face(
    skull: Skull, frame: Frame, landmarks: Landmarks, request: Request, progress: Progress
) -> Face:
    """Predict the face over one skull with a model file.

    Parameters
    ----------
    skull, frame, landmarks
        Of one person, patient space.
    request
        What was asked for; the profile's build chooses the face itself.
    progress
        Told how far the work is; may raise `Cancelled`, which stops the network too.

    Raises
    ------
    ModelError
        When the model file cannot be used.
    """
    timings: dict[str, float] = {}
    with timed(timings, "open model"):
        model = open_model(request.model or default_model())
        device = choose_device(request.device)
    progress(0.1, "preparing the skull")
    with timed(timings, "preprocess"):
        grid = preprocess(skull, frame, model.spec)

    meshes: dict[bytes, Mesh] = {}

    def made(latent: NDArray[np.float32], report: Progress) -> Mesh:
        if latent.tobytes() in meshes:
            return meshes[latent.tobytes()]
        with timed(timings, "network"):
            distance, spread = model.run(grid, latent, device, report)
        with timed(timings, "surface"):
            distance = distance - np.float32(raised_mm(model.card.calibration, skull.voxel_mm))
            factors = (model.card.calibration.factor50, model.card.calibration.factor90)
            mesh = face_from_field(
                distance, spread, model.spec.grid, skull, frame, landmarks, factors
            )
        meshes[latent.tobytes()] = mesh
        return mesh

    chosen = BUILD_SD.get(request.profile.build, 0.0)
    wanted = latents(model.latent_size, request.variants, request.seed)
    step = 0.8 / (1 + len(wanted))
    mesh = made(_axis(model.latent_size, chosen), part(progress, 0.2, 0.2 + step))
    variants = []
    for n, (name, latent) in enumerate(wanted.items(), start=1):
        report = part(progress, 0.2 + n * step, 0.2 + (n + 1) * step)
        variants.append(Variant(name, made(latent, report)))
    progress(1.0, "face ready")
    return Face(
        mesh=mesh,
        method="neural",
        variants=tuple(variants),
        notes=_notes(model, request, skull),
        device=device.label,
        model={**model.card.as_data(), "file": model.path.name, "sha256": model.sha256},
        timings=timings,
    )


def _axis(size: int, value: float) -> NDArray[np.float32]:
    latent = np.zeros(size, dtype=np.float32)
    latent[:1] = value
    return latent


def latents(size: int, count: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return the latent of each variant by name: builds first, then draws from the model.

    Parameters
    ----------
    size
        Number of latent axes; without any there are no variants.
    count
        How many variants are wanted.
    seed
        Start of the random numbers from the fourth variant on.
    """
    if not size:
        return {}
    wanted = {name: _axis(size, value) for name, value in BUILD_SD.items()}
    chosen = dict(list(wanted.items())[:count])
    random = np.random.default_rng(seed)
    for number in range(4, count + 1):
        draw = random.normal(size=size).astype(np.float32)
        chosen[f"alternative {number - 3}"] = draw
    return chosen


def _notes(model: Model, request: Request, skull: Skull) -> tuple[str, ...]:
    """Return what had influence on the shape and what had not."""
    profile, build = request.profile, request.profile.build
    notes = [f"Shape from bone alone by the model {model.card.name} {model.card.version}."]
    if build != "unknown" and model.latent_size:
        notes.append(f"Build '{build}' chose the face on the model's first axis of variation.")
    unused = [
        word
        for word, given in (("sex", profile.sex != "unknown"), ("age", profile.age is not None))
        if given
    ]
    if unused:
        notes.append(
            f"The given {' and '.join(unused)} had no influence on the shape: "
            "the training scans carry no such labels."
        )
    missing = [name for name, state in skull.parts.items() if state in _MISSING]
    if missing:
        notes.append(
            f"Missing bone: {', '.join(missing)}; the face above it follows the mean and the rest."
        )
    return tuple(notes)
