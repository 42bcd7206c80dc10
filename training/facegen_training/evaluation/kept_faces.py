"""Predicted faces that the identification and the memory test read: kept beside the scores.

They lie in ``DIR/faces/<scan>/``, in the scan's own coordinates (LPS mm), with where the head lies
in ``frame.json``.  They are faces of people: they never belong into a repository.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facegen_inference.face_region import landmarks_in_frame
from facegen_inference.mesh import Mesh
from facegen_inference.mesh_files import read_mesh, write_mesh
from facegen_inference.reconstruct import Prepared
from facegen_training.cohort.dataset import write_json

FRAME = "frame.json"


@dataclass(frozen=True)
class Place:
    """Where a head lies, as found in its bone.

    Attributes
    ----------
    patient_from_frame
        4×4 rigid, frame mm → LPS mm.
    landmarks
        Code → (x, y, z), frame mm.
    """

    patient_from_frame: NDArray[np.float64]
    landmarks: dict[str, tuple[float, float, float]]


def face_file(faces: Path, scan: str, method: str) -> Path:
    """Return where the face of a scan by a method lies."""
    return faces / scan / f"{method}.ply"


def keep_face(faces: Path, scan: str, method: str, face: Mesh, own: Prepared) -> Path:
    """Write where the head lies, then a predicted face: where there is a face, there is both."""
    path = face_file(faces, scan, method)
    path.parent.mkdir(parents=True, exist_ok=True)
    points = landmarks_in_frame(own.landmarks, own.frame)
    write_json(
        path.parent / FRAME,
        {
            "patient_from_frame": own.frame.patient_from_frame.tolist(),
            "landmarks": {code: [float(v) for v in point] for code, point in points.items()},
        },
    )
    write_mesh(face, path)
    return path


def kept_faces(faces: Path) -> dict[tuple[str, str], Path]:
    """Return (scan, method) → file of every face that is kept, in order of the names."""
    return {(path.parent.name, path.stem): path for path in sorted(faces.glob("*/*.ply"))}


def read_place(faces: Path, scan: str) -> Place:
    """Return where the head of a kept face lies."""
    data = json.loads((faces / scan / FRAME).read_text(encoding="utf-8"))
    points = {code: (float(x), float(y), float(z)) for code, (x, y, z) in data["landmarks"].items()}
    return Place(np.array(data["patient_from_frame"]), points)


def read_face(faces: Path, scan: str, method: str) -> Mesh:
    """Return a kept face, in the Frankfurt frame of its head."""
    place = read_place(faces, scan)
    mesh = read_mesh(face_file(faces, scan, method))
    back = np.asarray(np.linalg.inv(place.patient_from_frame), dtype=np.float64)
    return mesh.transformed(back)
