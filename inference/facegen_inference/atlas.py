"""The mean skull and mean face in the Frankfurt frame, with landmarks on the mean skull."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray

from facegen_inference.volume import Grid


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


@cache
def load_atlas() -> Atlas:
    """Read the atlas that ships in the resources."""
    with as_file(files("facegen_resources") / "atlas.npz") as path, np.load(path) as data:
        shape = data["bone"].shape
        points = {
            str(code): (float(p[0]), float(p[1]), float(p[2]))
            for code, p in zip(data["landmark_codes"], data["landmark_positions"], strict=True)
        }
        return Atlas(
            bone=data["bone"].astype(np.float32),
            skin=data["skin"].astype(np.float32),
            skin_sd=data["skin_sd"].astype(np.float32),
            bone_people=data["bone_people"].astype(np.float32),
            skin_people=data["skin_people"].astype(np.float32),
            grid=Grid((shape[0], shape[1], shape[2]), data["frame_from_voxel"]),
            landmarks=points,
            people=int(data["people"]),
        )
