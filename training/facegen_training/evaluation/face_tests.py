"""Identification and memory test on the faces that an evaluation in folds has kept.

The true faces are cut out of the scans, everybody's, those who are only trained on included.  They
and what the shipped model makes of them lie in the work folder: faces of people, which never
belong into a repository.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from facegen_inference.errors import UserError
from facegen_inference.face_region import (
    landmarks_in_frame,
    predicted_region,
    region_definition,
)
from facegen_inference.mesh import Mesh
from facegen_inference.progress import Progress, part, silent
from facegen_inference.provenance import sha256_of
from facegen_inference.reconstruct import Request, reconstruct
from facegen_inference.surface import largest_piece
from facegen_training.cohort.arrays import write_whole
from facegen_training.cohort.dataset import write_json
from facegen_training.cohort.folds import SHARP_HEADS
from facegen_training.cohort.masks import masked, masks_digest
from facegen_training.cohort.pool import each, worker_pool
from facegen_training.evaluation import identification_report, memory_report
from facegen_training.evaluation.contenders import LEARNED
from facegen_training.evaluation.identification import DECOYS, identify
from facegen_training.evaluation.kept_faces import kept_faces, read_face
from facegen_training.evaluation.memory import DRAW, remember
from facegen_training.evaluation.people import Subject
from facegen_training.evaluation.score import Person

TRUE, OF_TRAINED, DRAWS = "true", "shipped model, people it was trained on", "shipped model, draws"
DRAWN_EACH = 2
FACES_VERSION = 1
"""Of how true faces are cut out; raised with every change."""
LEAST_SCORED = 30
"""People in folds: fewer make neither a gallery's shape model nor a distribution of nearness."""


@dataclass(frozen=True)
class Material:
    """What the tests are made from.

    Attributes
    ----------
    subjects
        Everybody's scans, those who are only trained on included.
    folds
        Person → fold.
    faces
        Folder of the predicted faces, see `facegen_training.evaluation.kept_faces`.
    work
        Folder of results and of true faces.
    model
        A model trained on everybody here, for the memory test; none where None.
    decoys, seed
        Of the galleries.
    """

    subjects: Sequence[Subject]
    folds: Mapping[str, int]
    faces: Path
    work: Path
    model: Path | None = None
    decoys: int = DECOYS
    seed: int = 0

    @property
    def scans(self) -> list[Subject]:
        """One scan of each person, less the sharp heads, who are in no fold's training."""
        first: dict[str, Subject] = {}
        for one in self.subjects:
            if one.person not in SHARP_HEADS:
                first.setdefault(one.person, one)
        return list(first.values())


@dataclass(frozen=True)
class Task:
    """One person's faces to make: the true one, and the model's where there is one."""

    subject: Subject
    path: Path
    model: Path | None


def faces_file(material: Material, subject: Subject, model_digest: str) -> Path:
    """Return where a person's faces lie: another scan, region, mask or model has another place."""
    rules = [FACES_VERSION, region_definition().version, masks_digest(subject.id)]
    about = [subject.stamp(), *rules, model_digest]
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]
    return material.work / "true_faces" / f"{subject.id}-{digest}.npz"


def make_faces(task: Task) -> str:
    """Write a person's true face and the model's, in the frame; return a line about it.

    Raises
    ------
    UserError
        When the scan cannot be read or shows no skull or skin.
    """
    with task.subject.scan() as scan:
        person = Person(task.subject, scan)
        own = person.own
        back = own.frame.frame_from_patient
        skin = person.skin.transformed(back)
        points = landmarks_in_frame(own.landmarks, own.frame)
        face = largest_piece(skin.kept(predicted_region(skin.vertices, points)))
        # Masks may cut a face in two: what is left of it stays.
        made = {TRUE: face.kept(~masked(face.vertices, task.subject.id))}
        if task.model is not None:
            request = Request(
                method=LEARNED,
                variants=DRAWN_EACH,
                device="cpu",
                model=task.model,
                purpose="validation",
            )
            predicted = reconstruct(own, request)
            made[OF_TRAINED] = predicted.mesh.transformed(back)
            for n, variant in enumerate(predicted.variants, start=1):
                made[f"{DRAWS}{DRAW}{n}"] = variant.mesh.transformed(back)
    buffer = BytesIO()
    points_of = {f"{name}:v": mesh.vertices.astype(np.float32) for name, mesh in made.items()}
    corners_of = {f"{name}:t": mesh.triangles for name, mesh in made.items()}
    np.savez_compressed(buffer, allow_pickle=False, **points_of, **corners_of)
    task.path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(task.path, buffer.getvalue())
    return f"{task.subject.id}: {len(made)} faces"


def _read(path: Path) -> dict[str, Mesh]:
    with np.load(path) as stored:
        names = {key.rpartition(":")[0] for key in stored.files}
        return {
            name: Mesh(stored[f"{name}:v"].astype(np.float64), stored[f"{name}:t"])
            for name in sorted(names)
        }


def everybodys_faces(
    material: Material, workers: int = 1, progress: Progress = silent
) -> dict[str, dict[str, Mesh]]:
    """Return kind → name → face in the frame: true, and the shipped model's where there is one.

    Who cannot be read is left away.
    """
    model = sha256_of(material.model) if material.model is not None else ""
    tasks = {
        one.person: Task(one, faces_file(material, one, model), material.model)
        for one in material.scans
    }
    missing = [task for task in tasks.values() if not task.path.exists()]
    if missing:
        with worker_pool(workers) as pool:
            for number, (task, said) in enumerate(each(pool, make_faces, missing), start=1):
                if isinstance(said, UserError):
                    said = f"{task.subject.id}: {said.message}"
                elif isinstance(said, BaseException):
                    raise said
                progress(number / len(missing), said)
    found: dict[str, dict[str, Mesh]] = {}
    for person, task in tasks.items():
        if task.path.exists():
            for name, mesh in _read(task.path).items():
                kind, mark, number_of = name.partition(DRAW)
                found.setdefault(kind, {})[person + mark + number_of] = mesh
    return found


def predicted_faces(material: Material) -> dict[str, dict[str, Mesh]]:
    """Return method → person → kept face in the frame, of people who stand in a fold."""
    person_of = {one.id: one.person for one in material.scans}
    found: dict[str, dict[str, Mesh]] = {}
    for scan, method in kept_faces(material.faces):
        person = person_of.get(scan)
        if person is not None and person in material.folds:
            found.setdefault(method, {})[person] = read_face(material.faces, scan, method)
    return found


def _key(material: Material) -> str:
    """Return a digest of what the results depend on."""
    kept = [
        [*name, path.stat().st_size, path.stat().st_mtime_ns]
        for name, path in kept_faces(material.faces).items()
    ]
    model = sha256_of(material.model) if material.model is not None else ""
    scans = [faces_file(material, one, model).name for one in material.scans]
    about = [kept, scans, dict(material.folds), material.decoys, material.seed]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def run_face_tests(material: Material, workers: int = 1, progress: Progress = silent) -> list[Path]:
    """Run both tests, unless their results are there, and return the files of results.

    Raises
    ------
    UserError
        When no faces are kept, or fewer than `LEAST_SCORED` people stand in folds.
    """
    if len(material.folds) < LEAST_SCORED:
        raise UserError(
            f"{len(material.folds)} people in folds are too few for the identification test.",
            f"Prepare at least {LEAST_SCORED}.",
        )
    results = [material.work / one.RESULT for one in (identification_report, memory_report)]
    key = _key(material)
    if all(path.exists() and json.loads(path.read_text())["key"] == key for path in results):
        return results
    predicted = predicted_faces(material)
    if not predicted:
        raise UserError("There are no predicted faces to look for.", "Score people in folds first.")
    found = everybodys_faces(material, workers, part(progress, 0.0, 0.5))
    true = found.pop(TRUE, {})
    folds = {person: fold for person, fold in material.folds.items() if person in true}
    looked = identify(
        predicted, true, folds, material.decoys, material.seed, part(progress, 0.5, 0.9)
    )
    remembered = remember(predicted, true, folds, found, part(progress, 0.9, 1.0))
    identification_report.cmc_plot(looked, material.work / identification_report.PICTURE)
    for path, data in zip(results, (looked, remembered), strict=True):
        write_json(path, {**data, "key": key})
    return results
