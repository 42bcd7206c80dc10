"""The template method's file: mean surfaces, how skulls vary, how deep skin lies over them.

Averages and components over a group; no one's own shape.  A plain ``.npz`` of numbers, read
without unpickling.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass, fields
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from facegen_inference.errors import UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.template_registration import OuterBone, Points, SmoothBasis
from facegen_inference.template_shape import ShapeModel

VERSION = 1
MAX_BYTES = 1 << 26
"""A template unpacked is not larger than this."""
LEAST_PEOPLE = 50
"""A file that ships is made of at least so many people."""


@dataclass(frozen=True)
class TemplateModel:
    """A statistical model of skull shape and skin depth on one dense registration.

    N points of outer bone, M of skin, R smooth functions, K components of shape.

    Attributes
    ----------
    bone, bone_normals
        (N, 3) mean outer bone, frame mm, and unit vectors outward.
    skin, skin_normals
        (M, 3) mean skin, and unit vectors outward, along which depth is counted.
    centres, weights
        Of the `SmoothBasis` that displacements are written in.
    shape_mean
        (R, 3) coefficients of the mean displacement.
    shape_modes
        (K, R, 3) coefficients of one standard deviation along each component.
    depth_mean
        (M,) mm: mean place of the skin along its normal, after the displacement.
    depth_modes
        (K, M) mm: its change for one standard deviation of shape (PCR or PLSR).
    other_modes
        (L, M) mm: one standard deviation along the leading directions of what shape does not
        tell; the first is outward (heavier).
    spread
        (M,) mm: standard deviation of the miss on people left out.
    skin_field
        (k, j, i) signed distance to the mean skin, mm, on `field_matrix`'s grid.
    field_matrix
        4×4, voxel → frame mm.
    about
        Plain data: version, spec, people, regression, rank, errors, calibration.
    """

    bone: Points
    bone_normals: Points
    skin: Points
    skin_normals: Points
    centres: Points
    weights: Points
    shape_mean: Points
    shape_modes: Points
    depth_mean: Points
    depth_modes: Points
    other_modes: Points
    spread: Points
    skin_field: Points
    field_matrix: Points
    about: dict[str, Any]

    @property
    def spec(self) -> PreprocessSpec:
        """The grid that bone is read on."""
        return PreprocessSpec.from_json(json.dumps(self.about["spec"]))

    @property
    def calibration(self) -> tuple[float, float]:
        """Factors on the 50 % and the 90 % band."""
        first, second = self.about["calibration"]
        return float(first), float(second)

    @property
    def error_mm(self) -> float:
        """Mean miss of the skin's depth in the cross-validation that chose the regression."""
        return float(self.about["error_mm"][f"{self.about['regression']} {self.about['rank']}"])

    @cached_property
    def basis(self) -> SmoothBasis:
        """The smooth functions."""
        return SmoothBasis(self.centres, self.weights)

    @cached_property
    def outer(self) -> OuterBone:
        """The surface to register."""
        return OuterBone(self.bone, self.bone_normals, self.basis.at(self.bone))

    @cached_property
    def shape(self) -> ShapeModel:
        """How skulls vary."""
        return ShapeModel(self.outer, self.shape_mean, self.shape_modes)

    @cached_property
    def basis_at_skin(self) -> Points:
        """(M, R), the smooth functions at the mean skin."""
        return self.basis.at(self.skin)

    @cached_property
    def mean_field(self) -> NDArray[np.float32]:
        """Signed distance to the mean skin on the grid of `spec`, (k, j, i) mm."""
        grid = self.spec.grid
        onto = np.linalg.inv(self.field_matrix) @ grid.patient_from_voxel
        return np.asarray(
            affine_transform(
                self.skin_field.astype(np.float32),
                onto[:3, :3],
                onto[:3, 3],
                output_shape=grid.shape,
                order=3,
                mode="nearest",
            )
        )


_SMALL = frozenset({"depth_modes", "other_modes", "skin_field", "shape_modes"})
"""Stored in half precision."""


def write_template(model: TemplateModel, path: Path) -> Path:
    """Write a template under a temporary name, then rename it; returns `path`."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for one in fields(TemplateModel):
        value = getattr(model, one.name)
        if one.name == "about":
            text = json.dumps(value, sort_keys=True).encode("utf-8")
            arrays["about"] = np.frombuffer(text, dtype=np.uint8)
        elif one.name in _SMALL:
            arrays[one.name] = value.astype(np.float16)
        else:
            arrays[one.name] = value.astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        # Numpy types a flag among the names.
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)
    return path


def shipped_template() -> Path:
    """Return the template file that ships."""
    return Path(str(files("facegen_resources") / "template.npz"))


def read_template(path: Path | None = None) -> TemplateModel:
    """Read a template file, or the one that ships.

    A file is read once and again only when it has changed.

    Raises
    ------
    UserError
        When it is missing, damaged, or no template of this version.
    """
    if path is None:
        return _shipped()
    try:
        state = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _from_file(path.resolve(), state.st_mtime_ns, state.st_size)


@cache
def _shipped() -> TemplateModel:
    return _read(shipped_template())


@lru_cache(maxsize=8)
def _from_file(path: Path, _changed_ns: int, _size: int) -> TemplateModel:
    return _read(path)


def _read(path: Path) -> TemplateModel:
    try:
        return template_from(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def template_from(content: bytes) -> TemplateModel:
    """Return the template that a file's content is.

    Raises
    ------
    ValueError
        When it is none, or none of this version.
    """
    try:
        with zipfile.ZipFile(BytesIO(content)) as file:
            if sum(one.file_size for one in file.infolist()) > MAX_BYTES:
                raise ValueError("larger than a template can be")
        with np.load(BytesIO(content), allow_pickle=False) as data:
            about = json.loads(data["about"].tobytes().decode("utf-8"))
            if about["version"] != VERSION:
                raise ValueError(f"version {about['version']}")
            names = [one.name for one in fields(TemplateModel) if one.name != "about"]
            arrays = {name: data[name].astype(np.float64) for name in names}
        model = TemplateModel(**arrays, about=about)
        _check_shapes(model)
        _check_about(model)
    except (
        OSError, KeyError, TypeError, EOFError, UserError, zipfile.BadZipFile, zlib.error
    ) as error:  # fmt: skip
        raise ValueError(f"no template: {error}") from error
    return model


def _unreadable(path: Path, reason: Exception) -> UserError:
    return UserError(
        f"{path.name} is not a template file that can be read.",
        "Make one with facegen-train template, or leave it away to use the one that ships.",
        reason=reason,
    )


def _check_about(model: TemplateModel) -> None:
    """Raise ValueError, KeyError or TypeError where what a file says of itself is not usable."""
    about = model.about
    if int(about["people"]) < 1 or int(about["rank"]) < 0:
        raise ValueError("a number of people or a rank that is not possible")
    if not all(isinstance(about[name], str) for name in ("regression", "manifest_sha256")):
        raise ValueError("its regression or manifest is no text")
    if not (np.isfinite(model.calibration).all() and min(model.calibration) > 0):
        raise ValueError("its bands are not positive")
    if not np.isfinite(model.error_mm):
        raise ValueError("its error is no number")
    _ = model.spec


def _check_shapes(model: TemplateModel) -> None:
    if model.weights.ndim != 2 or not np.isfinite(model.weights).all():
        raise ValueError("weights are not a table of finite numbers")
    n, m = len(model.bone), len(model.skin)
    r, k = model.weights.shape[1], len(model.shape_modes)
    wanted = {
        "bone": (n, 3),
        "bone_normals": (n, 3),
        "skin": (m, 3),
        "skin_normals": (m, 3),
        "centres": (len(model.weights), 3),
        "shape_mean": (r, 3),
        "shape_modes": (k, r, 3),
        "depth_mean": (m,),
        "depth_modes": (k, m),
        "other_modes": (len(model.other_modes), m),
        "spread": (m,),
        "field_matrix": (4, 4),
    }
    for name, shape in wanted.items():
        value = getattr(model, name)
        if value.shape != shape or not np.isfinite(value).all():
            raise ValueError(f"{name} is {value.shape}, not finite numbers of {shape}")
    field = model.skin_field
    if field.ndim != 3 or not np.isfinite(field).all() or not field.min() < 0 < field.max():
        raise ValueError("skin_field holds no skin")
    if abs(np.linalg.det(model.field_matrix[:3, :3])) < 1e-9:
        raise ValueError("field_matrix does not say where the voxels lie")
