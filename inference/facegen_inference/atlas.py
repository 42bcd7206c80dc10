"""The mean skull and mean face in the Frankfurt frame, with landmarks on the mean skull."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from facegen_inference.errors import UserError
from facegen_inference.volume import Grid

VALUES = ("bone", "skin", "skin_sd", "bone_people", "skin_people")


@dataclass(frozen=True)
class Atlas:
    """Averages over many people; no one's own shape.

    Attributes
    ----------
    bone
        (k, j, i) float32, mean signed distance to bone, mm, negative inside.
    skin
        (k, j, i) float32, mean signed distance to skin, mm, negative inside.
    skin_sd
        (k, j, i) float32, standard deviation of the skin's signed distance between people, mm.
    bone_people, skin_people
        (k, j, i) float32, how many people's scans covered each voxel.
    grid
        Their grid; its "patient space" is the Frankfurt frame (x left, y posterior, z superior).
    landmarks
        Code → (x, y, z) on the mean skull, frame mm.
    people
        How many people were averaged.
    """

    bone: NDArray[np.float32]
    skin: NDArray[np.float32]
    skin_sd: NDArray[np.float32]
    bone_people: NDArray[np.float32]
    skin_people: NDArray[np.float32]
    grid: Grid
    landmarks: dict[str, tuple[float, float, float]]
    people: int


def load_atlas(path: Path | None = None) -> Atlas:
    """Read an atlas: the one that ships, or another of the same form.

    Parameters
    ----------
    path
        A file as `facegen_training` writes it, for instance of a validation fold; None for the
        atlas that ships.  A file is read once and again only when it has changed.

    Raises
    ------
    UserError
        When the file is missing, damaged, incomplete or of another form.
    """
    if path is None:
        return _shipped()
    try:
        state = path.stat()
        return _from_file(path.resolve(), state.st_mtime_ns, state.st_size)
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path.name} is not an atlas that can be read.",
            "Give an .npz file that FaceGen's training wrote, or leave the atlas out.",
            reason=error,
        ) from error


@cache
def _shipped() -> Atlas:
    with as_file(files("facegen_resources") / "atlas.npz") as path:
        return _read(path)


@lru_cache(maxsize=8)
def _from_file(path: Path, _changed_ns: int, _size: int) -> Atlas:
    return _read(path)


def _read(path: Path) -> Atlas:
    """Read and check a file; raises what NumPy raises, or ValueError in words."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        points = {
            str(code): (float(p[0]), float(p[1]), float(p[2]))
            for code, p in zip(data["landmark_codes"], data["landmark_positions"], strict=True)
        }
        values = {name: data[name].astype(np.float32) for name in VALUES}
        matrix = np.asarray(data["frame_from_voxel"], dtype=np.float64)
        people = int(data["people"])
    shape = values["bone"].shape
    if len(shape) != 3 or any(array.shape != shape for array in values.values()):
        raise ValueError("its arrays differ in shape")
    if not all(np.isfinite(array).all() for array in values.values()):
        raise ValueError("it holds values that are not numbers")
    if not (values["skin"].min() < 0 < values["skin"].max()):
        raise ValueError("it holds no skin")
    if matrix.shape != (4, 4) or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
        raise ValueError("it does not say where its voxels lie")
    if not np.isfinite(list(points.values())).all() or people < 1:
        raise ValueError("it holds landmarks or a number of people that are not possible")
    for array in values.values():
        array.flags.writeable = False  # it is shared by all who ask
    return Atlas(
        **values, grid=Grid((shape[0], shape[1], shape[2]), matrix), landmarks=points, people=people
    )
