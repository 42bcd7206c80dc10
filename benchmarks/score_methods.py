"""Score every method on people left out of training, by points 1-6 of the scoring protocol.

    python benchmarks/score_methods.py --shared DIR --out docs

Input is bone only; truth is the skin of the same scan.  Results lie in the work folder, one small
file for each person, condition and method: a run that was stopped goes on where it was, and
several may work side by side.  The report is written from what is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from score_report import write_report
from skin_floor import measure_floors

from facegen_inference.atlas import load_atlas
from facegen_inference.closest import ClosestOnSurface
from facegen_inference.compare import compare
from facegen_inference.errors import UserError
from facegen_inference.face_region import predicted_region, region_definition
from facegen_inference.mesh import Mesh
from facegen_inference.methods import METHODS
from facegen_inference.reconstruct import Prepared, Request, prepare, reconstruct
from facegen_inference.scan import Scan, open_scan
from facegen_inference.skin import partial_volume_percent, skin_level, skin_surface
from facegen_inference.skull import bone_only
from facegen_inference.surface import isosurface, largest_piece
from facegen_inference.volume import AIR_HU, Volume
from facegen_training.cohort.cases import Case, find_cases

PROTOCOL = 1
HEADLINE = "bone-250"
STALE_SECONDS = 3600


def thresholded(level: float) -> Callable[[Volume], Volume]:
    """Return the reduction of a scan to bone at and above a level, HU kept."""
    return lambda volume: bone_only(volume, level)


def binary(volume: Volume) -> Volume:
    """Return bone at 250 HU as a plain mask: every bone voxel the same value."""
    bone = bone_only(volume, 250.0)
    array = np.where(bone.array > AIR_HU, np.int16(1000), np.int16(AIR_HU)).astype(np.int16)
    return replace(bone, array=array)


def cropped(volume: Volume) -> Volume:
    """Return bone at 250 HU with a random part of the field of view cut off, fixed per scan."""
    bone = bone_only(volume, 250.0)
    k, j, i = (np.flatnonzero((bone.array > AIR_HU).any(axis=a)) for a in ((1, 2), (0, 2), (0, 1)))
    digest = hashlib.sha256(np.ascontiguousarray(bone.array).tobytes()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    low, high = np.zeros(3, int), np.array(bone.array.shape)
    for axis, (span, most) in enumerate(zip((k, j, i), (0.25, 0.4, 0.2), strict=True)):
        cut = int(random.uniform(0, most) * (span[-1] - span[0]))
        # Only the back of the head is cut front to back: the face must stay to be scored.
        if axis == 1 or random.random() < 0.5:
            high[axis] = span[-1] + 1 - cut
        else:
            low[axis] = span[0] + cut
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    matrix = bone.patient_from_voxel.copy()
    matrix[:3, 3] += matrix[:3, :3] @ low
    observed = None if bone.observed is None else bone.observed[box]
    return replace(bone, array=bone.array[box], patient_from_voxel=matrix, observed=observed)


CONDITIONS: dict[str, Callable[[Volume], Volume]] = {
    HEADLINE: thresholded(250.0),
    "bone-150": thresholded(150.0),
    "bone-400": thresholded(400.0),
    "binary": binary,
    "cropped": cropped,
}


def model_key(model: Path | None) -> str:
    """Return the SHA-256 of the model file that the neural method would use, or ``none``."""
    from facegen_inference.network import default_model

    try:
        path = model or default_model()
    except UserError:
        return "none"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_json(path: Path, data: object) -> None:
    """Write data under a temporary name, then rename: readers see all of it or nothing."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(data, indent=1), encoding="utf-8")
    temporary.replace(path)


class Claim:
    """A person's lock file, so that no two runs score the same person at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mine = False

    def __enter__(self) -> bool:
        """Return whether the person is ours to score."""
        if self.path.exists() and time.time() - self.path.stat().st_mtime > STALE_SECONDS:
            self.path.unlink(missing_ok=True)
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        self.mine = True
        return True

    def __exit__(self, *_: object) -> None:
        """Give the person back."""
        if self.mine:
            self.path.unlink(missing_ok=True)


def mean_face_points() -> np.ndarray:
    """Return the vertices of the mean face in the Frankfurt frame, (N, 3) mm."""
    return mean_face().vertices


def mean_face() -> Mesh:
    """Return the mean face, cut to the predicted region, in the Frankfurt frame."""
    atlas = load_atlas()
    skin = largest_piece(isosurface(atlas.skin, atlas.grid.patient_from_voxel, 0.0))
    return skin.kept(predicted_region(skin.vertices, atlas.landmarks))


def error_map(face: Mesh, truth: ClosestOnSurface, prepared: Prepared) -> np.ndarray:
    """Return the error at the true skin nearest to each vertex of the mean face, (N,) mm.

    NaN where the person's skin is farther than 20 mm from the mean face (not scanned, or another
    shape); carries errors only, no one's shape.
    """
    m = prepared.frame.patient_from_frame
    placed = mean_face_points() @ m[:3, :3].T + m[:3, 3]
    on_truth = truth.query(placed)
    error = ClosestOnSurface(face).query(on_truth.point).distance
    return np.where(on_truth.distance < 20, error, np.nan).astype(np.float32)


class Person:
    """One person's scan, true skin and frame, each made when first needed."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.scan: Scan = open_scan(case.path)
        assert self.scan.volume is not None
        self.volume = self.scan.volume
        self.skin = skin_surface(self.volume)
        self._prepared: dict[str, Prepared] = {}

    def prepared(self, condition: str) -> Prepared:
        """Return bone, landmarks and frame found in the reduced scan."""
        if condition not in self._prepared:
            scan = replace(self.scan, volume=CONDITIONS[condition](self.volume))
            self._prepared[condition] = prepare(scan)
        return self._prepared[condition]


def score(person: Person, condition: str, method: str, model: Path | None) -> dict[str, object]:
    """Return the score of one method on one person, or the sentence why there is none."""
    started = time.perf_counter()
    row: dict[str, object] = {
        "person": person.case.id,
        "source": person.case.source,
        "voxel_mm": [round(float(s), 2) for s in person.volume.spacing],
        "condition": condition,
        "method": method,
    }
    try:
        prepared = person.prepared(condition)
        request = Request(
            method=method, variants=0, device="cpu", model=model, purpose="validation"
        )
        face = reconstruct(prepared, request)
        own = person.prepared(HEADLINE)
        result = compare(face.mesh, person.skin, own.frame, own.landmarks)
    except UserError as error:
        return {**row, "failed": str(error)}
    if condition == HEADLINE:
        truth = ClosestOnSurface(person.skin.kept(near(person.skin, face.mesh)))
        row["map"] = [
            None if np.isnan(v) else round(float(v), 2) for v in error_map(face.mesh, truth, own)
        ]
    return {
        **row,
        **result.as_data(),
        "frame": own.frame.method,
        "partial_volume": round(partial_volume_percent(person.volume), 1),
        "skin_level": round(skin_level(person.volume)),
        "seconds": round(time.perf_counter() - started, 1),
    }


def near(mesh: Mesh, other: Mesh) -> np.ndarray:
    """Tell which vertices of a mesh lie within 40 mm of another's bounding box."""
    low, high = other.vertices.min(axis=0) - 40, other.vertices.max(axis=0) + 40
    return ((mesh.vertices > low) & (mesh.vertices < high)).all(axis=1)


def score_person(case: Case, arguments: argparse.Namespace, keys: dict[str, object]) -> None:
    """Score what is not yet scored of one person."""
    jobs = []
    for condition in arguments.conditions:
        for method in arguments.methods:
            path = arguments.work / f"{case.id}-{condition}-{method}.json"
            key = {**keys, "method": method}
            if method != "neural":
                key.pop("model")
            if not done(path, key):
                jobs.append((condition, method, path, key))
    if not jobs:
        return
    with Claim(arguments.work / f"{case.id}.lock") as mine:
        if not mine:
            print(f"{case.id}: another run has it")
            return
        person = Person(case)
        for condition, method, path, key in jobs:
            row = score(person, condition, method, arguments.model)
            write_json(path, {"key": key, **row})
            closest = row.get("closest")
            said = f"{closest['mean']:.2f} mm" if isinstance(closest, dict) else row["failed"]
            print(f"{case.id} {condition} {method}: {said}", flush=True)


def done(path: Path, key: dict[str, object]) -> bool:
    """Tell whether a score is there that was made by the same method, model and region."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["key"] == key)
    except (OSError, ValueError, KeyError):
        return False


def main() -> None:
    """Score, then write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds ct/")
    parser.add_argument("--out", type=Path, required=True, help="folder for validation.md")
    parser.add_argument("--work", type=Path, default=Path("build/scores"))
    parser.add_argument("--model", type=Path, help="model file; the one that ships by default")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--conditions", nargs="+", default=[HEADLINE], choices=list(CONDITIONS))
    parser.add_argument("--part", default="test", choices=["test", "validation"])
    parser.add_argument("--people", nargs="+", help="only these")
    parser.add_argument("--report-only", action="store_true")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    keys: dict[str, object] = {
        "protocol": PROTOCOL,
        "region": region_definition().version,
        "model": model_key(arguments.model),
        "atlas_people": load_atlas().people,
    }
    cases = [c for c in find_cases(arguments.shared / "ct") if c.part == arguments.part]
    if arguments.people:
        cases = [c for c in cases if c.id in arguments.people]
    if not arguments.report_only:
        for case in cases:
            score_person(case, arguments, keys)
        measure_floors(arguments.shared, arguments.work, write_json)
    rows = [
        json.loads((arguments.work / f"{c.id}-{condition}-{method}.json").read_text("utf-8"))
        for c in cases
        for condition in CONDITIONS
        for method in arguments.methods
        if (arguments.work / f"{c.id}-{condition}-{method}.json").exists()
    ]
    write_report(rows, arguments.work / "floors.json", mean_face(), arguments.out, keys)


if __name__ == "__main__":
    main()
