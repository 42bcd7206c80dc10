"""Bone taken away from a scan as casework finds it: no mandible, a part of the face broken out.

Where something lies is told by the landmarks found in the whole bone of the same scan.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facegen_inference.atlas import load_atlas
from facegen_inference.errors import UserError
from facegen_inference.face_region import landmarks_in_frame
from facegen_inference.reconstruct import Prepared
from facegen_inference.volume import AIR_HU, Volume

LUMP_MM = (6.0, 12.0)
"""Radius of the lumps of `facial_bone_missing`."""
_FEWEST_LANDMARKS = 12

Points = NDArray[np.float64]


def without_mandible(bone: Volume, own: Prepared) -> Volume:
    """Return a scan of bone without the lower jaw, its teeth included.

    Parameters
    ----------
    bone
        What `facegen_inference.skull.bone_only` returned.
    own
        The whole skull of the same scan, placed.

    Raises
    ------
    UserError
        When too few landmarks were found to tell where it is.

    Notes
    -----
    The person's landmarks are laid on the mean skull's by an affine map.  There the mandible is
    what lies below the plane between the teeth, and outside it and below the joint the rami.  The
    plane goes through the point midway between prosthion and infradentale of this person.
    """
    index, points = _bone(bone)
    x, y, z = on_mean_skull(points, own).T
    places = landmarks_in_frame(own.landmarks, own.frame)
    mean = load_atlas().landmarks
    bite = (np.array(mean["pr"]) + np.array(mean["id"])) / 2
    if {"pr", "id"} <= places.keys():
        middle = (np.asarray(places["pr"]) + np.asarray(places["id"])) / 2
        bite = on_mean_skull(_to_patient(middle[None], own), own)[0]
    # The plane rises backwards by 0.1, as between the rows of teeth of the mean skull.
    body = (z < bite[2] + 0.1 * (y - bite[1])) & (y < 8)
    rami = (np.abs(x) > 34) & (z < -14) & (y > -52) & (y < 6) & (z < -14 - 0.6 * (y + 22))
    return _emptied(bone, index[body | rami])


def facial_bone_missing(bone: Volume, own: Prepared, share: float = 0.2) -> Volume:
    """Return a scan of bone with a share of the facial skeleton broken out in compact lumps.

    Facial is what lies in front of the ears' middle and between menton and glabella.  The lumps
    are balls of `LUMP_MM` around random places of it, the same for the same scan.

    Parameters
    ----------
    bone, own
        As `without_mandible`.
    share
        Of the facial bone's voxels, 0 to 1.
    """
    index, points = _bone(bone)
    x, y, z = on_mean_skull(points, own).T
    mean = load_atlas().landmarks
    facial = (y < -25) & (z < mean["g"][2] + 5) & (z > mean["me"][2] - 8) & (np.abs(x) < 75)
    places, rows = points[facial], index[facial]
    if not len(rows):
        raise UserError("There is no facial bone in this scan.", "Score scans that show the face.")
    digest = hashlib.sha256(np.ascontiguousarray(bone.array).tobytes()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    tree = cKDTree(places)
    gone = np.zeros(len(rows), dtype=bool)
    wanted = round(share * len(rows))
    while gone.sum() < wanted:
        left = np.flatnonzero(~gone)
        centre = places[random.choice(left)]
        near = np.array(tree.query_ball_point(centre, random.uniform(*LUMP_MM)))
        near = near[~gone[near]]
        # The last lump is cut to what is still wanted, from its middle outwards.
        order = np.argsort(np.linalg.norm(places[near] - centre, axis=1), kind="stable")
        gone[near[order][: wanted - int(gone.sum())]] = True
    return _emptied(bone, rows[gone])


def _bone(bone: Volume) -> tuple[NDArray[np.intp], Points]:
    """Return the voxels that hold bone, (N, 3) indices and LPS mm."""
    index = np.argwhere(bone.array > AIR_HU)
    return index, bone.grid.patient_points(index.astype(np.float64))


def _emptied(bone: Volume, index: NDArray[np.intp]) -> Volume:
    array = bone.array.copy()
    array[tuple(index.T)] = AIR_HU
    return replace(bone, array=array)


def _to_patient(points: Points, own: Prepared) -> Points:
    matrix = own.frame.patient_from_frame
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def on_mean_skull(points: Points, own: Prepared) -> Points:
    """Return LPS points (N, 3) where they lie on the mean skull, frame mm.

    By the affine map that lays the landmarks of `own` best on the mean skull's.

    Raises
    ------
    UserError
        When too few landmarks were found.
    """
    matrix = own.frame.frame_from_patient
    here = points @ matrix[:3, :3].T + matrix[:3, 3]
    found = landmarks_in_frame(own.landmarks, own.frame)
    mean = load_atlas().landmarks
    codes = [code for code in found if code in mean]
    if len(codes) < _FEWEST_LANDMARKS:
        raise UserError(
            "Too few landmarks were found to tell which bone is which.", "Score whole skulls."
        )
    mine = np.column_stack([np.array([found[c] for c in codes]), np.ones(len(codes))])
    to_mean, *_ = np.linalg.lstsq(mine, np.array([mean[c] for c in codes]), rcond=None)
    return np.asarray(np.column_stack([here, np.ones(len(here))]) @ to_mean)
