"""The template method: a statistical model of shape and depth, laid densely onto the bone.

The mean outer bone is registered to the person's bone; the smooth displacement carries the mean
skin along with it; how deep the skin lies there follows from the skull's shape by a linear
regression (PCR or PLSR) whose kind and rank were chosen on people left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from facegen_inference.bands import Bands
from facegen_inference.errors import UserError
from facegen_inference.face import Face, Variant
from facegen_inference.face_surface import face_from_field
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks
from facegen_inference.mean_face import BUILD_SD, age_warnings, build_steps, profile_notes
from facegen_inference.preprocess import preprocess
from facegen_inference.progress import Progress
from facegen_inference.provenance import record_file, timed
from facegen_inference.skull import Skull
from facegen_inference.template_model import TemplateModel, read_template, shipped_template
from facegen_inference.template_registration import BoneField, Points
from facegen_inference.template_shape import Shape
from facegen_inference.volume import Grid

if TYPE_CHECKING:
    from facegen_inference.reconstruct import Request

SEEN = 0.3
"""Weight from which on bone counts as found."""
BARE_SD_MM, BARE_REACH_MM = 3.5, 20.0
"""How much the spread grows, and how fast, where bone near by is missing: chosen so that over
mandibles taken away from five people it grew as the error did (2.7 to 3.8 mm)."""
FAR_MM = 100.0
LEAST_BONE = 0.15
"""Share of the template's points that must find bone."""
SMOOTH_MM = ((4.0, 1.0), (9.0, 1e-2), (20.0, 1e-4), (45.0, 1e-6))
"""How values at points become a field: Gaussians, the wide ones where nothing is near."""
DRAWN = 0.8
"""Standard deviations of the further directions in alternatives beyond the three builds."""


@dataclass(frozen=True)
class Laid:
    """The template laid onto one person.

    Attributes
    ----------
    skin
        (M, 3) where the skin's points came to lie by the displacement alone, frame mm.
    shape
        The skull's.
    found
        Share of the template's bone that was found.
    bare
        (M,) mm: how much farther the nearest bone found lies from each point of skin than the
        nearest bone there would be.
    """

    skin: Points
    shape: Shape
    found: float
    bare: Points


def predict_face(
    skull: Skull, frame: Frame, landmarks: Landmarks, request: Request, progress: Progress
) -> Face:
    """Predict the face over one skull by the template.

    Parameters
    ----------
    skull, frame, landmarks
        Of one person, patient space (LPS mm).
    request
        ``template``, ``profile.build``, ``variants`` and ``seed`` have influence.
    progress
        Told how far the work is; may raise `Cancelled`.

    Raises
    ------
    UserError
        When the file cannot be used, or hardly any bone was found.
    """
    timings: dict[str, float] = {}
    with timed(timings, "template"):
        model = read_template(request.template)
    progress(0.05, "laying the template on the skull")
    with timed(timings, "registration"):
        bone, observed = preprocess(skull, frame, model.spec)
        laid = lay(model, BoneField(bone, observed, model.spec.grid))
    if laid.found < LEAST_BONE:
        raise UserError(
            f"The template found only {100 * laid.found:.0f} % of its bone on this skull.",
            "Use the tissue-depth method, or look whether the frame is right.",
        )
    chosen = BUILD_SD.get(request.profile.build, 0.0)
    others = len(model.other_modes)
    wanted = {"": _steps(others, chosen), **_variants(others, request.variants, request.seed)}
    meshes = {}
    with timed(timings, "surface"):
        grid = model.spec.grid
        for number, (name, steps) in enumerate(wanted.items()):
            progress(0.4 + 0.6 * number / len(wanted), "a face over the template")
            distance, spread = skin_fields(model, laid, steps)
            meshes[name] = face_from_field(
                distance, spread, grid, skull, frame, landmarks, Bands(model.calibration)
            )
    progress(1.0, "face ready")
    warnings = age_warnings(request.profile)
    return Face(
        mesh=meshes.pop(""),
        method="template",
        variants=tuple(Variant(name, mesh) for name, mesh in meshes.items()),
        notes=(*warnings, *_notes(model, laid, request)),
        device="CPU",
        model=card_of(model, request.template or shipped_template()),
        timings=timings,
        warnings=warnings,
    )


def lay(model: TemplateModel, bone: BoneField) -> Laid:
    """Register the template to a person's bone and read the skull's shape."""
    found = model.shape.register(bone)
    skin = model.skin + model.basis_at_skin @ found.coefficients
    seen = found.weight > SEEN
    whole = cKDTree(model.bone).query(model.skin)[0]
    bare = cKDTree(model.bone[seen]).query(model.skin)[0] - whole if seen.any() else whole + FAR_MM
    return Laid(skin, model.shape.shape_of(found), float(seen.mean()), np.asarray(bare))


def depth_of(model: TemplateModel, laid: Laid) -> Points:
    """Return the likeliest place of the skin along its normals, (M,) mm."""
    return np.asarray(model.depth_mean + laid.shape.components @ model.depth_modes)


def skin_fields(
    model: TemplateModel, laid: Laid, steps: Points
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return signed distance to the skin and its spread on the grid of the model's spec.

    Parameters
    ----------
    model, laid
        The template and where it lies.
    steps
        (L,) standard deviations along `TemplateModel.other_modes`.

    Returns
    -------
    Both (k, j, i) float32 mm; the distance is negative inside.

    Notes
    -----
    The mean skin's field is pulled back along the displacement of its points; what distance is
    left at the points is then taken off.
    """
    depth = depth_of(model, laid) + steps @ model.other_modes
    skin = laid.skin + depth[:, None] * model.skin_normals
    coarse = Grid((_shape(model)), model.field_matrix)
    grid = model.spec.grid
    spread = np.sqrt(model.spread**2 + _doubt(model, laid) ** 2)
    back, sd = _spread_out(skin, [*(model.skin - skin).T, spread], coarse, grid)
    turn = grid.voxel_from_patient[:3, :3]
    at = np.tensordot(turn, back, 1) + np.indices(grid.shape, sparse=False)
    field = map_coordinates(model.mean_field, at, order=1, mode="nearest")
    for _ in range(2):
        left = map_coordinates(field, grid.voxel_points(skin).T, order=1, mode="nearest")
        field = field - _spread_out(skin, [left], coarse, grid)[0][0]
    return field.astype(np.float32), sd.astype(np.float32)


def _shape(model: TemplateModel) -> tuple[int, int, int]:
    k, j, i = model.skin_field.shape
    return k, j, i


def _spread_out(
    points: Points, values: list[Points], coarse: Grid, grid: Grid
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values at scattered points as fields on `grid`: all but the last, and the last."""
    fields = _scattered(points, values, coarse)
    onto = coarse.voxel_from_patient @ grid.patient_from_voxel
    full = np.stack(
        [
            affine_transform(
                f, onto[:3, :3], onto[:3, 3], output_shape=grid.shape, order=1, mode="nearest"
            )
            for f in fields
        ]
    )
    return (full[:-1] if len(full) > 1 else full), full[-1]


def _scattered(points: Points, values: list[Points], grid: Grid) -> list[NDArray[np.float64]]:
    """Return Gaussian-weighted means of values at points, on a coarse grid, defined everywhere."""
    at = grid.voxel_points(points)
    low = np.floor(at).astype(int)
    part = at - low
    sums = [np.full(grid.shape, 1e-12)] + [np.full(grid.shape, 1e-12 * v.mean()) for v in values]
    hits = [np.zeros(grid.shape) for _ in sums]
    for corner in np.ndindex(2, 2, 2):
        index = low + corner
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
        place = tuple(index[inside].T)
        for hit, value in zip(hits, [np.ones(len(points)), *values], strict=True):
            np.add.at(hit, place, weight[inside] * value[inside])
    for sigma, share in SMOOTH_MM:
        for total, hit in zip(sums, hits, strict=True):
            total += share * gaussian_filter(hit, sigma / float(grid.spacing[0]), mode="constant")
    return [total / sums[0] for total in sums[1:]]


def _doubt(model: TemplateModel, laid: Laid) -> Points:
    """Return what not knowing the skull adds to the spread, one SD, (M,) mm.

    Of the shape's components, and of what is local: bone that is not found near by.
    """
    root = np.linalg.cholesky(laid.shape.covariance)
    moved = np.einsum("mr,krc,mc->km", model.basis_at_skin, model.shape_modes, model.skin_normals)
    shape = ((root.T @ (moved + model.depth_modes)) ** 2).sum(axis=0)
    local = BARE_SD_MM * (1 - np.exp(-laid.bare / BARE_REACH_MM))
    return np.asarray(np.sqrt(shape + local**2))


def _steps(count: int, first: float) -> Points:
    steps = np.zeros(count)
    steps[:1] = first
    return steps


def _variants(count: int, wanted: int, seed: int) -> dict[str, Points]:
    """Return name → steps along the other directions; the builds move the first alone."""
    random = np.random.default_rng(seed)
    found = {}
    for name, sd in build_steps(wanted).items():
        steps = _steps(count, sd)
        if name not in BUILD_SD:
            steps[1:] = DRAWN * random.normal(size=max(count - 1, 0))
        found[name] = steps
    return found


def card_of(model: TemplateModel, path: Path) -> dict[str, object]:
    """Return what the file says of itself, as plain data for `Face.model`."""
    about = model.about
    return {
        "name": "template",
        "version": str(about["version"]),
        "predicts": "skin over a dense registration of bone, mm",
        "training_population": {
            "people": about["people"],
            "description": "Averages and components over a group; no one's own shape.",
            "counts": {},
        },
        "held_out_note": (
            "In cross-validation over these people the depth of the skin, after registration, was "
            f"missed by {model.error_mm:.2f} mm on average; the regression was chosen by it."
        ),
        "manifest_sha256": about["manifest_sha256"],
        "file": path.name,
        "sha256": record_file(path).sha256,
    }


def _notes(model: TemplateModel, laid: Laid, request: Request) -> tuple[str, ...]:
    about = model.about
    return (
        f"A template of {about['people']} people was laid on the bone; "
        f"{100 * laid.found:.0f} % of its bone was found, the rest follows the skull's shape.",
        f"The depth of the skin over it follows from the skull's shape ({about['regression']}, "
        f"rank {about['rank']}).",
        *profile_notes(request.profile, "the template is of people without such labels"),
    )
