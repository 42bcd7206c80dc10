"""``result.json``: what was put in, what was found and what came out, as plain data.

The report is made from this data alone, so that the two can never tell different stories.
Nothing of it comes from a scan's patient fields.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from facegen_app.casework.case_data import CaseData
from facegen_inference.face import Face
from facegen_inference.intended_use import INTENDED_USE
from facegen_inference.mesh import Mesh
from facegen_inference.provenance import (
    FileRecord,
    combined_sha256,
    machine,
    package_versions,
    program_version,
    record_file,
)
from facegen_inference.reconstruct import Prepared, Request
from facegen_inference.scan import Scan

FORMAT = "facegen result"
FORMAT_VERSION = 1
_PROBES = 20_000

Data = dict[str, object]


@dataclass(frozen=True)
class Inputs:
    """Where the input came from and the hashes of its files.

    Attributes
    ----------
    root
        Folder that the names in `files` are relative to; absolute, or inside the results.
    files
        Every file that was read of the scan.
    landmarks
        The landmarks file, where one was given.
    """

    root: Path
    files: tuple[FileRecord, ...]
    landmarks: FileRecord | None = None

    @property
    def sha256(self) -> str:
        """One digest for all files of the scan, whatever their names."""
        return combined_sha256(self.files)

    def as_data(self) -> Data:
        """Return the record as plain data for JSON."""
        return {
            "root": str(self.root),
            "sha256": self.sha256,
            "files": [record.as_data() for record in self.files],
            "landmarks": None if self.landmarks is None else self.landmarks.as_data(),
        }


def request_data(request: Request) -> Data:
    """Return what was asked for; two equal ones ask for the same face."""
    model = None if request.model is None else record_file(request.model).as_data()
    given = {"atlas": request.atlas, "template": request.template}
    others = {name: record_file(path).as_data() for name, path in given.items() if path is not None}
    return {
        "method": request.method,
        "profile": asdict(request.profile),
        "variants": request.variants,
        "seed": request.seed,
        "device": request.device,
        "model": model,
        "depth_table": request.depth_table,
        "purpose": request.purpose,
        **others,
    }


def result_data(
    prepared: Prepared,
    face: Face,
    request: Request,
    inputs: Inputs,
    case: CaseData,
) -> Data:
    """Return everything of ``result.json`` but the outputs, which are hashed last."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "program": {"name": "FaceGen", "version": program_version()},
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "intended_use": INTENDED_USE,
        "purpose": request.purpose,
        "case": case.as_data(),
        "request": request_data(request),
        "inputs": inputs.as_data(),
        "geometry": geometry_data(prepared.scan),
        "skull": _skull(prepared),
        "frame": {
            "patient_from_frame": prepared.frame.patient_from_frame.tolist(),
            "method": prepared.frame.method,
            "residual_mm": _number(prepared.frame.residual_mm),
            "confidence": _number(prepared.frame.confidence),
        },
        "landmarks": {
            "space": "LPS",
            "units": "mm",
            "landmarks": [asdict(point) for point in prepared.landmarks.values()],
        },
        "method": face.method,
        "device": face.device,
        "seed": request.seed,
        "model": plain(face.model),
        "face": _mesh_summary(face.mesh),
        "variants": [
            {"name": variant.name, "rms_mm": _number(rms_distance(variant.mesh, face.mesh))}
            for variant in face.variants
        ],
        "notes": list(face.notes),
        "versions": package_versions(),
        "machine": machine(),
    }


def geometry_data(scan: Scan) -> Data:
    """Return the verdict on a scan's geometry."""
    data: Data = {"space": "LPS", "units": "mm", "warnings": list(scan.warnings)}
    data["reading"] = plain(scan.geometry)
    volume = scan.volume
    if volume is None:
        return {"kind": "mesh", **data}
    return {
        "kind": "volume",
        "shape_kji": list(volume.array.shape),
        "spacing_kji_mm": [_number(s) for s in volume.spacing],
        "patient_from_voxel": volume.patient_from_voxel.tolist(),
        "observed_fraction": _number(float(volume.observed_mask().mean())),
        **data,
    }


def _skull(prepared: Prepared) -> Data:
    skull = prepared.skull
    return {
        "parts": {name: str(presence.value) for name, presence in skull.parts.items()},
        "bone_level_hu": _number(skull.level_hu),
        "vertices": len(skull.mesh.vertices),
        "triangles": len(skull.mesh.triangles),
        "notes": list(skull.notes),
    }


def _mesh_summary(mesh: Mesh) -> Data:
    """Return counts and, for each vertex value, its median and 5th and 95th percentiles."""
    values: Data = {}
    for name, column in mesh.vertex_data.items():
        if name.endswith("_mm"):
            finite = column[np.isfinite(column)]
            if len(finite):
                low, middle, high = np.percentile(finite, [5, 50, 95])
                values[name] = {"p5": _number(low), "median": _number(middle), "p95": _number(high)}
    return {"vertices": len(mesh.vertices), "triangles": len(mesh.triangles), "values": values}


def rms_distance(first: Mesh, second: Mesh) -> float:
    """Return the root mean square closest-vertex distance between two meshes, mm.

    Taken from up to 20,000 vertices of each to the other, both ways.
    """
    squares = []
    for one, other in ((first.vertices, second.vertices), (second.vertices, first.vertices)):
        probes = one[:: max(1, len(one) // _PROBES)]
        squares.append(float(np.mean(cKDTree(other).query(probes)[0] ** 2)))
    return math.sqrt(sum(squares) / len(squares))


def _number(value: float) -> float | None:
    """Return a JSON number rounded to a thousandth; None for NaN and infinity."""
    number = float(value)
    return round(number, 3) if math.isfinite(number) else None


def plain(value: object) -> object:
    """Return nested data with every path, array and odd number turned into JSON's own kinds."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
