"""The neural method: preprocess, run the model, finish the surface; and its variants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.alternatives import (
    APART_MM,
    build_latents,
    builds,
    drawn_apart,
    least_apart_mm,
)
from facegen_inference.bands import Bands
from facegen_inference.card import raised_mm
from facegen_inference.face import Face, Variant
from facegen_inference.face_surface import LEAST_SLOPE, face_from_field
from facegen_inference.familiarity import check_familiar
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks
from facegen_inference.mesh import Mesh
from facegen_inference.missing_bone import missing_bone
from facegen_inference.network import Model, default_model, open_model
from facegen_inference.preprocess import preprocess
from facegen_inference.progress import Progress, part
from facegen_inference.provenance import timed
from facegen_inference.runtime import Device, choose_device
from facegen_inference.skull import Presence, Skull

if TYPE_CHECKING:
    from facegen_inference.reconstruct import Request

Floats = NDArray[np.float32]

_ACROSS_MM = 2.0
_ALIKE = (
    f"Some alternatives lie less than {APART_MM:g} mm apart: this model knows of hardly any more "
    "ways in which faces over this bone differ."
)
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
    UnfamiliarSkull
        When the skull, or the age given, is too unlike the people the model learned from.
    """
    timings: dict[str, float] = {}
    with timed(timings, "open model"):
        model = open_model(request.model or default_model())
        device = choose_device(request.device)
    progress(0.1, "preparing the skull")
    with timed(timings, "preprocess"):
        grid = preprocess(skull, frame, model.spec)
        bands = Bands.of(model.card.calibration, missing_bone(grid[0], model.spec.grid))

    with timed(timings, "compare with the training people"):
        familiar = check_familiar(grid, model.spec, model.familiarity, request.profile)

    maker = _Maker(model, device, grid, (skull, frame, landmarks), bands, timings)
    calibration, size = model.card.calibration, model.latent_size
    latent = np.zeros(size, dtype=np.float32)
    latent[:1] = builds(calibration).get(request.profile.build, 0.0)
    mesh = maker.mesh(latent, part(progress, 0.2, 0.3))
    wanted = dict(list(build_latents(size, calibration).items())[: request.variants])
    more = request.variants - len(wanted) if size else 0
    notes = _notes(model, request, skull, maker.averaged)
    if more > 0:
        effects = maker.effects(mesh, part(progress, 0.3, 0.4))
        wanted |= drawn_apart(wanted, effects, more, request.seed)
        if least_apart_mm(wanted, effects) < APART_MM:
            notes = (*notes, _ALIKE)
    variants = []
    for n, (name, latent) in enumerate(wanted.items()):
        low, high = (0.4 + 0.6 * k / len(wanted) for k in (n, n + 1))
        variants.append(Variant(name, maker.mesh(latent, part(progress, low, high))))
    progress(1.0, "face ready")
    return Face(
        mesh=mesh,
        method="neural",
        variants=tuple(variants),
        notes=familiar.around(notes),
        warnings=familiar.warnings,
        device=device.label,
        model={
            **model.card.as_data(),
            "file": model.path.name,
            "sha256": model.sha256,
            "familiarity": familiar.values,
            "template_share": maker.averaged,
        },
        timings=timings,
    )


@dataclass
class _Maker:
    """Runs the network over one skull and finishes the surface, each latent once.

    Attributes
    ----------
    model, device, grid
        The network, where it runs, and its input.
    person
        Skull, frame and landmarks.
    bands
        How the spread becomes bands.
    timings
        Step → seconds, added to.
    """

    model: Model
    device: Device
    grid: Floats
    person: tuple[Skull, Frame, Landmarks]
    bands: Bands
    timings: dict[str, float]
    _meshes: dict[bytes, Mesh] = field(default_factory=dict)
    _moved: Floats | None = None
    _laid: bool = False

    @property
    def averaged(self) -> float:
        """Share of the model's template in the faces made; 0 where it found no bone."""
        return self.model.template.share if self.model.template and self._moved is not None else 0.0

    def fields(self, latent: Floats, progress: Progress) -> tuple[Floats, Floats]:
        """Return distance and spread on the model's grid, mm; the template averaged in."""
        distance, spread = self._run(latent, progress)
        moved = self._moved_by_template(latent, distance, progress)
        if moved is not None:
            distance = distance + moved
        raised = raised_mm(self.model.card.calibration, self.person[0].voxel_mm)
        return distance - np.float32(raised), spread

    def _run(self, latent: Floats, progress: Progress) -> tuple[Floats, Floats]:
        with timed(self.timings, "network"):
            return self.model.run(self.grid, latent, self.device, progress)

    def _moved_by_template(
        self, latent: Floats, distance: Floats, progress: Progress
    ) -> Floats | None:
        """Return by how much the template moves the likeliest face, the same for every latent."""
        if self.model.template is not None and not self._laid:
            if latent.any():
                distance = self._run(np.zeros_like(latent), progress)[0]
            with timed(self.timings, "template"):
                self._moved = self.model.template.moved(self.grid, distance)
            self._laid = True
        return self._moved

    def mesh(self, latent: Floats, progress: Progress) -> Mesh:
        """Return the finished face, LPS mm."""
        key = latent.tobytes()
        if key not in self._meshes:
            fields = self.fields(latent, progress)
            with timed(self.timings, "surface"):
                skull, frame, landmarks = self.person
                self._meshes[key] = face_from_field(
                    *fields, self.model.spec.grid, skull, frame, landmarks, self.bands
                )
        return self._meshes[key]

    def effects(self, face: Mesh, progress: Progress) -> Floats:
        """Return by how much one SD along each latent axis moves a face's N vertices outward.

        Returns
        -------
        (K, N) float32 mm: by how much the signed distance there falls from latent zero, over how
        steeply it rises across the skin (averages over people are flatter than a distance).
        """
        skin = face.transformed(self.person[1].frame_from_patient)
        grid, across = self.model.spec.grid, _ACROSS_MM * skin.normals()

        def at(values: Floats, points: NDArray[np.float64]) -> Floats:
            where = grid.voxel_points(points).T
            return np.asarray(map_coordinates(values, where, order=1, mode="nearest"))

        plain, *others = (
            self.fields(end, progress)[0]
            for end in np.eye(self.model.latent_size + 1, dtype=np.float32)[:, 1:]
        )
        rise = at(plain, skin.vertices + across) - at(plain, skin.vertices - across)
        slope = np.clip(rise / np.float32(2 * _ACROSS_MM), LEAST_SLOPE, 1)
        moved = [at(plain - other, skin.vertices) / slope for other in others]
        return np.asarray(moved, dtype=np.float32)


def _notes(model: Model, request: Request, skull: Skull, averaged: float) -> tuple[str, ...]:
    """Return what had influence on the shape and what had not."""
    profile, build = request.profile, request.profile.build
    notes = [f"Shape from bone alone by the model {model.card.name} {model.card.version}."]
    if model.template is not None:
        notes.append(
            f"Averaged with the model's template of {model.template.template.about['people']} "
            f"people, share {100 * averaged:.0f} %."
            if averaged
            else "The model's template found too little bone and has no share in the face."
        )
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
    if request.variants and not model.latent_size:
        notes.append("This model makes no alternatives.")
    missing = [name for name, state in skull.parts.items() if state in _MISSING]
    if missing:
        notes.append(
            f"Missing bone: {', '.join(missing)}; the face above it follows the mean and the rest, "
            "and its bands are wider there."
        )
    return tuple(notes)
