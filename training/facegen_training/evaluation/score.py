"""Score methods on people, one small file for each person, condition and method.

A run that was stopped goes on where it was.  A score of another scan, model, region or protocol is
made anew, and what failed is tried again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facegen_inference.atlas import load_atlas
from facegen_inference.closest import ClosestOnSurface
from facegen_inference.compare import compare
from facegen_inference.errors import UserError
from facegen_inference.face_region import (
    REGION_NAMES,
    face_regions,
    landmarks_in_frame,
    predicted_region,
)
from facegen_inference.mesh import Mesh
from facegen_inference.progress import Progress, silent
from facegen_inference.reconstruct import Prepared, reconstruct
from facegen_inference.scan import Scan
from facegen_inference.skin import partial_volume_percent, skin_level, skin_surface
from facegen_inference.surface import isosurface, largest_piece
from facegen_inference.volume import Volume
from facegen_training.cohort.dataset import write_json
from facegen_training.cohort.masks import masked, masked_volume, masks_digest
from facegen_training.cohort.pool import each, worker_pool
from facegen_training.cohort.redact import without_names
from facegen_training.evaluation.conditions import Shown, applies, show
from facegen_training.evaluation.contenders import Contender
from facegen_training.evaluation.kept_faces import face_file, keep_face
from facegen_training.evaluation.people import Subject
from facegen_training.evaluation.protocol import HEADLINE

Row = dict[str, Any]


def mean_face() -> Mesh:
    """Return the mean face, cut to the predicted region, in the Frankfurt frame."""
    atlas = load_atlas()
    skin = largest_piece(isosurface(atlas.skin, atlas.grid.patient_from_voxel, 0.0))
    return skin.kept(predicted_region(skin.vertices, atlas.landmarks))


def error_map(face: Mesh, truth: ClosestOnSurface, person: Person) -> NDArray[np.float32]:
    """Return the error at the true skin nearest to each vertex of the mean face, (N,) mm.

    NaN where the person's skin is farther than 20 mm from the mean face (not scanned, or another
    shape) or masked; carries errors only, no one's shape.
    """
    m = person.own.frame.patient_from_frame
    placed = mean_face().vertices @ m[:3, :3].T + m[:3, 3]
    on_truth = truth.query(placed)
    error = ClosestOnSurface(face).query(on_truth.point).distance
    frame = person.own.frame.frame_from_patient
    there = on_truth.point @ frame[:3, :3].T + frame[:3, 3]
    seen = (on_truth.distance < 20) & ~masked(there, person.subject.id)
    return np.where(seen, error, np.nan).astype(np.float32)


class Person:
    """One person's scan, true skin and what methods are shown, each made when first needed."""

    def __init__(self, subject: Subject, scan: Scan) -> None:
        self.subject = subject
        self.scan = scan
        if self.scan.volume is None:
            raise UserError(
                "A mesh of bone has no skin to score against.", "Score CTs that show the face."
            )
        self.volume = self.scan.volume
        self.skin = skin_surface(self.volume)
        self._shown: dict[str, Shown] = {}

    def shown(self, condition: str) -> Shown:
        """Return the scan as a method is shown it; of conditions but the headline, the last."""
        if condition not in self._shown:
            own = None if condition == HEADLINE else self.own
            self._shown = {HEADLINE: self._shown[HEADLINE]} if own is not None else {}
            self._shown[condition] = show(condition, self.scan, own)
        return self._shown[condition]

    @property
    def own(self) -> Prepared:
        """Bone, landmarks and frame found under the headline's condition."""
        return self.shown(HEADLINE).prepared

    @cached_property
    def masked(self) -> Volume | None:
        """Voxels that are not the person's skin."""
        return masked_volume(self.subject.id, self.own.frame)


def score(person: Person, condition: str, contender: Contender, faces: Path | None = None) -> Row:
    """Return the score of one method on one person, or the sentence why there is none.

    Parameters
    ----------
    person, condition, contender
        Who, shown what, by which method.
    faces
        Folder to keep the predicted face of the headline's condition in.
    """
    started = time.perf_counter()
    row = _about(person.subject, condition, contender)
    row["voxel_mm"] = [round(float(s), 2) for s in person.volume.spacing]
    try:
        own, shown = person.own, person.shown(condition)
        mesh = reconstruct(shown.prepared, contender.request()).mesh
        mesh = mesh.transformed(shown.scan_from_shown)
        result = compare(mesh, person.skin, own.frame, own.landmarks, excluded=person.masked)
    except UserError as error:
        return {**row, "failed": without_names(error.message, person.subject.candidate.secrets)}
    if condition == HEADLINE:
        truth = ClosestOnSurface(person.skin.kept(_near(person.skin, mesh)))
        missed = error_map(mesh, truth, person)
        row["map"] = [None if np.isnan(v) else round(float(v), 2) for v in missed]
        if faces is not None:
            keep_face(faces, person.subject.id, contender.name, mesh, own)
    return {
        **row,
        **result.as_data(),
        "spread": mean_spread(mesh, own),
        "frame": own.frame.method,
        "partial_volume": round(partial_volume_percent(person.volume), 1),
        "skin_level": round(skin_level(person.volume)),
        "seconds": round(time.perf_counter() - started, 1),
    }


def mean_spread(face: Mesh, own: Prepared) -> dict[str, float]:
    """Return region → mean predicted spread, one SD, mm; empty where none is predicted."""
    spread = face.vertex_data.get("spread_mm")
    if spread is None:
        return {}
    placed = face.transformed(own.frame.frame_from_patient).vertices
    code = face_regions(placed, landmarks_in_frame(own.landmarks, own.frame))
    return {
        name: float(spread[code == n].mean())
        for n, name in enumerate(REGION_NAMES)
        if n and (code == n).any()
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
    depends = [contender.key, subject.stamp(), masks_digest(subject.id)]
    about = json.dumps(depends, sort_keys=True)
    digest = hashlib.sha256(about.encode()).hexdigest()[:12]
    return work / f"{subject.id}-{condition}-{contender.name}-{digest}.json"


def _scored(path: Path) -> bool:
    """Tell whether a score is there; what failed is tried again."""
    return path.exists() and "failed" not in json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Job:
    """What is scored of one scan.

    Attributes
    ----------
    subject
        The scan.
    tests
        Condition and method, each pair once.
    """

    subject: Subject
    tests: tuple[tuple[str, Contender], ...]


def jobs_for(
    subjects: Sequence[Subject],
    compared: Sequence[Contender],
    conditions: Sequence[str],
    only: Sequence[str] | None = None,
) -> list[Job]:
    """Return what is scored: everyone by every method, and under the conditions by some.

    Parameters
    ----------
    subjects, compared
        Scans and methods.
    conditions
        More ways of showing a scan than the headline's, which is always scored.
    only
        Names of the methods to score under `conditions`; all when None.
    """
    tests = [(HEADLINE, one) for one in compared]
    for condition in conditions:
        if condition != HEADLINE:
            tests += [(condition, one) for one in compared if only is None or one.name in only]
    return [Job(subject, tuple(tests)) for subject in subjects]


def score_person(job: Job, work: Path, faces: Path | None = None) -> str:
    """Score what is not yet scored of one scan; return a line about it."""
    subject = job.subject
    todo = [
        (condition, one, path)
        for condition, one in job.tests
        if not _scored(path := score_file(work, subject, condition, one))
        or (condition == HEADLINE and _face_missing(faces, subject, one, path))
    ]
    if not todo:
        return f"{subject.id}: already scored"
    try:
        with subject.scan() as scan:
            person = Person(subject, scan)
    except UserError as error:
        for condition, one, path in todo:
            write_json(path, {**_about(subject, condition, one), "failed": error.message})
        return f"{subject.id}: {error.message}"
    said = []
    for condition, one, path in todo:
        if not applies(condition, person.volume):
            continue
        row = score(person, condition, one, faces)
        write_json(path, row)
        text = row["failed"] if "failed" in row else f"{row['closest']['mean']:.2f} mm"
        said.append(f"{condition} {one.name} {text}")
    return f"{subject.id}: " + "; ".join(said)


def _face_missing(faces: Path | None, subject: Subject, contender: Contender, score: Path) -> bool:
    """Tell whether a face is wanted that is not kept, or is one that was scored later.

    A face is kept just before its score is written; one that is newer than the score is of another
    model of the same name.
    """
    if faces is None:
        return False
    kept = face_file(faces, subject.id, contender.name)
    return not kept.exists() or kept.stat().st_mtime_ns > score.stat().st_mtime_ns


def score_jobs(
    jobs: Sequence[Job],
    work: Path,
    faces: Path | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> list[Row]:
    """Score everyone, in parallel, and return every score there is, people in order.

    Raises
    ------
    UserError
        When the system ended a worker.
    """
    work.mkdir(parents=True, exist_ok=True)
    one = partial(score_person, work=work, faces=faces)
    with worker_pool(workers) as pool:
        for number, (_, said) in enumerate(each(pool, one, jobs), start=1):
            if isinstance(said, BaseException):
                raise said
            progress(number / len(jobs), said)
    return read_scores(jobs, work)


def read_scores(jobs: Sequence[Job], work: Path) -> list[Row]:
    """Return the scores that are there."""
    paths = [
        score_file(work, job.subject, condition, one)
        for job in jobs
        for condition, one in job.tests
    ]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
