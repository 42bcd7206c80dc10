"""Score methods on people, one small file for each person, condition and method.

A run that was stopped goes on where it was.  A score of another scan, model, region or protocol is
made anew, and what failed is tried again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facegen_inference.atlas import load_atlas
from facegen_inference.closest import ClosestOnSurface
from facegen_inference.compare import compare
from facegen_inference.errors import UserError
from facegen_inference.face_region import predicted_region, region_definition
from facegen_inference.mesh import Mesh
from facegen_inference.methods import METHODS
from facegen_inference.network import DEFAULT_NAME, model_folders
from facegen_inference.progress import Progress, silent
from facegen_inference.provenance import sha256_of
from facegen_inference.reconstruct import Prepared, Request, prepare, reconstruct
from facegen_inference.scan import Scan
from facegen_inference.skin import partial_volume_percent, skin_level, skin_surface
from facegen_inference.surface import isosurface, largest_piece
from facegen_training.cohort.dataset import write_json
from facegen_training.cohort.pool import worker_pool
from facegen_training.cohort.redact import without_names
from facegen_training.evaluation.people import Subject
from facegen_training.evaluation.protocol import CONDITIONS, HEADLINE, PROTOCOL

Row = dict[str, Any]
LEARNED = "neural"
"""The method of `facegen_inference.methods` that every model file is run by."""


@dataclass(frozen=True)
class Contender:
    """One method to score.

    Attributes
    ----------
    name
        In tables and plots.
    method
        Of `facegen_inference.methods.METHODS`.
    model
        Model file of a learned method.
    """

    name: str
    method: str
    model: Path | None = None

    @cached_property
    def key(self) -> Row:
        """What a score of this contender depends on, besides the scan."""
        depends: Row = {
            "protocol": PROTOCOL,
            "region": region_definition().version,
            "atlas_people": load_atlas().people,
            "method": self.method,
        }
        if self.method == LEARNED:
            depends["model"] = sha256_of(self.model or shipped_model())
        return depends


def shipped_model() -> Path:
    """Return the model that ships, whatever the user has put before it."""
    return model_folders()[0] / DEFAULT_NAME


def contenders(methods: Sequence[str], models: Sequence[str]) -> tuple[Contender, ...]:
    """Return what is to be scored, simplest first.

    Parameters
    ----------
    methods
        Names of built-in methods.
    models
        ``FILE`` or ``NAME=FILE`` of model files; the first without a name is ``neural``.

    Raises
    ------
    UserError
        For an unknown method, a missing file or a name given twice.
    """
    found = []
    for method in methods:
        if method not in METHODS:
            raise UserError(f"There is no method {method}.", f"Methods: {', '.join(METHODS)}.")
        found.append(Contender(method, method, shipped_model() if method == LEARNED else None))
    for number, text in enumerate(models):
        name, _, file = text.rpartition("=")
        path = Path(file)
        if not path.is_file():
            raise UserError(f"There is no model file {file}.", "Give FILE or NAME=FILE.")
        named = name or (LEARNED if number == 0 else path.stem)
        found = [one for one in found if one.name != named or one.model != shipped_model()]
        found.append(Contender(named, LEARNED, path))
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"Two models are called {twice[0]}.", "Name them: --model NAME=FILE.")
    return tuple(found)


def mean_face() -> Mesh:
    """Return the mean face, cut to the predicted region, in the Frankfurt frame."""
    atlas = load_atlas()
    skin = largest_piece(isosurface(atlas.skin, atlas.grid.patient_from_voxel, 0.0))
    return skin.kept(predicted_region(skin.vertices, atlas.landmarks))


def error_map(face: Mesh, truth: ClosestOnSurface, prepared: Prepared) -> NDArray[np.float32]:
    """Return the error at the true skin nearest to each vertex of the mean face, (N,) mm.

    NaN where the person's skin is farther than 20 mm from the mean face (not scanned, or another
    shape); carries errors only, no one's shape.
    """
    m = prepared.frame.patient_from_frame
    placed = mean_face().vertices @ m[:3, :3].T + m[:3, 3]
    on_truth = truth.query(placed)
    error = ClosestOnSurface(face).query(on_truth.point).distance
    return np.where(on_truth.distance < 20, error, np.nan).astype(np.float32)


class Person:
    """One person's scan, true skin and frame, each made when first needed."""

    def __init__(self, subject: Subject, scan: Scan) -> None:
        self.subject = subject
        self.scan = scan
        if self.scan.volume is None:
            raise UserError(
                "A mesh of bone has no skin to score against.", "Score CTs that show the face."
            )
        self.volume = self.scan.volume
        self.skin = skin_surface(self.volume)
        self._prepared: dict[str, Prepared] = {}

    def prepared(self, condition: str) -> Prepared:
        """Return bone, landmarks and frame found in the reduced scan."""
        if condition not in self._prepared:
            scan = replace(self.scan, volume=CONDITIONS[condition](self.volume))
            self._prepared[condition] = prepare(scan)
        return self._prepared[condition]


def score(person: Person, condition: str, contender: Contender) -> Row:
    """Return the score of one method on one person, or the sentence why there is none."""
    started = time.perf_counter()
    row = _about(person.subject, condition, contender)
    row["voxel_mm"] = [round(float(s), 2) for s in person.volume.spacing]
    try:
        prepared = person.prepared(condition)
        request = Request(
            method=contender.method,
            variants=0,
            device="cpu",
            model=contender.model,
            purpose="validation",
        )
        face = reconstruct(prepared, request)
        own = person.prepared(HEADLINE)
        result = compare(face.mesh, person.skin, own.frame, own.landmarks)
    except UserError as error:
        return {**row, "failed": without_names(error.message, person.subject.candidate.secrets)}
    if condition == HEADLINE:
        truth = ClosestOnSurface(person.skin.kept(_near(person.skin, face.mesh)))
        missed = error_map(face.mesh, truth, own)
        row["map"] = [None if np.isnan(v) else round(float(v), 2) for v in missed]
    return {
        **row,
        **result.as_data(),
        "frame": own.frame.method,
        "partial_volume": round(partial_volume_percent(person.volume), 1),
        "skin_level": round(skin_level(person.volume)),
        "seconds": round(time.perf_counter() - started, 1),
    }


def _about(subject: Subject, condition: str, contender: Contender) -> Row:
    return {
        "person": subject.person,
        "scan": subject.id,
        "source": subject.source,
        "condition": condition,
        "method": contender.name,
    }


def _near(mesh: Mesh, other: Mesh) -> NDArray[np.bool_]:
    """Tell which vertices of a mesh lie within 40 mm of another's bounding box."""
    low, high = other.vertices.min(axis=0) - 40, other.vertices.max(axis=0) + 40
    return np.asarray(((mesh.vertices > low) & (mesh.vertices < high)).all(axis=1))


def score_file(work: Path, subject: Subject, condition: str, contender: Contender) -> Path:
    """Return where one score lies: another scan, model or protocol has another place."""
    about = json.dumps([contender.key, subject.stamp()], sort_keys=True)
    digest = hashlib.sha256(about.encode()).hexdigest()[:12]
    return work / f"{subject.id}-{condition}-{contender.name}-{digest}.json"


def _scored(path: Path) -> bool:
    """Tell whether a score is there; what failed is tried again."""
    return path.exists() and "failed" not in json.loads(path.read_text(encoding="utf-8"))


def score_person(
    subject: Subject, conditions: Sequence[str], compared: Sequence[Contender], work: Path
) -> str:
    """Score what is not yet scored of one scan; return a line about it."""
    jobs = [
        (condition, one, path)
        for condition in conditions
        for one in compared
        if not _scored(path := score_file(work, subject, condition, one))
    ]
    if not jobs:
        return f"{subject.id}: already scored"
    try:
        with subject.scan() as scan:
            person = Person(subject, scan)
    except UserError as error:
        for condition, one, path in jobs:
            write_json(path, {**_about(subject, condition, one), "failed": error.message})
        return f"{subject.id}: {error.message}"
    said = []
    for condition, one, path in jobs:
        row = score(person, condition, one)
        write_json(path, row)
        text = row["failed"] if "failed" in row else f"{row['closest']['mean']:.2f} mm"
        said.append(f"{condition} {one.name} {text}")
    return f"{subject.id}: " + "; ".join(said)


def score_people(
    subjects: Sequence[Subject],
    conditions: Sequence[str],
    compared: Sequence[Contender],
    work: Path,
    workers: int = 1,
    progress: Progress = silent,
) -> list[Row]:
    """Score everyone, in parallel, and return every score there is, people in order.

    Raises
    ------
    UserError
        When the work folder cannot be written.
    """
    work.mkdir(parents=True, exist_ok=True)
    with worker_pool(workers) as pool:
        jobs = [
            pool.submit(score_person, subject, conditions, compared, work) for subject in subjects
        ]
        for number, job in enumerate(as_completed(jobs), start=1):
            progress(number / len(jobs), job.result())
    return read_scores(subjects, conditions, compared, work)


def read_scores(
    subjects: Sequence[Subject],
    conditions: Sequence[str],
    compared: Sequence[Contender],
    work: Path,
) -> list[Row]:
    """Return the scores that are there."""
    paths = [
        score_file(work, subject, condition, one)
        for subject in subjects
        for condition in conditions
        for one in compared
    ]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
