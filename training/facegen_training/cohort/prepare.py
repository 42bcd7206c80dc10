"""Preprocess every person once: bone by inference's own function, and the true skin beside it.

What a person's fields are is decided here, for the project's cohort (`prepare`) and for a lab's
own (`facegen_training.cohort.prepare_cohort`) alike.

The results are filed under the digest of the preprocessing, so that a changed one finds an empty
folder and never an old array.  Nothing here is random.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from facegen_inference.bone_distance import signed_distance
from facegen_inference.craniometry import find_landmarks_and_frame
from facegen_inference.errors import UserError
from facegen_inference.frame import Frame
from facegen_inference.preprocess import PreprocessSpec, preprocess
from facegen_inference.progress import Progress, silent
from facegen_inference.provenance import sha256_of
from facegen_inference.skin import SKIN_LEVEL_HU, scanned, skin_field
from facegen_inference.skull import Skull, bone_only, make_skull
from facegen_inference.volume import Grid, Volume, resample
from facegen_inference.volume_files import read_volume_file
from facegen_training.cohort.arrays import PLAIN, packed, write_whole
from facegen_training.cohort.cases import Case
from facegen_training.cohort.dataset import (
    MANIFEST,
    PREPARED_VERSION,
    Prepared,
    as_stored,
    write_json,
)
from facegen_training.cohort.masks import masks_digest, without_masked
from facegen_training.cohort.pool import worker_pool


def prepared_folder(out: Path, spec: PreprocessSpec) -> Path:
    """Return the folder for one preprocessing under `out`."""
    return out / f"{spec.digest()}-{PREPARED_VERSION}"


def fields_of(
    volume: Volume, spec: PreprocessSpec, skull: Skull | None = None, frame: Frame | None = None
) -> tuple[NDArray[np.int16], Frame]:
    """Return a person's fields on the model's input grid, and the frame.

    Parameters
    ----------
    volume
        The scan.
    spec
        The input grid.
    skull, frame
        Its bone and where it lies, where they were found already.

    Returns
    -------
    (4, Z, Y, X) int16: bone and skin distance in hundredths of a mm, with between them where the
    scanner looked (0/1), and last where the skin is known (0/1).

    Notes
    -----
    Bone and frame are those that a method is given when it is scored (`bone_only`, then the
    landmarks' frame): soft tissue must not help in training where it is missing at use, and a
    frame a degree or two off would be learned as a shape.
    """
    skull = make_skull(bone_only(volume)) if skull is None else skull
    frame = find_landmarks_and_frame(skull)[1] if frame is None else frame
    bone, observed = preprocess(skull, frame, spec)
    skin, known = true_skin(volume, spec.grid, frame)
    skin = np.clip(skin, -spec.clip_mm, spec.clip_mm)
    return as_stored(np.stack([bone, observed, skin, known])), frame


def true_skin(
    volume: Volume, grid: Grid, frame: Frame
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the skin's signed distance on a grid in the frame, and where the scanner looked.

    Notes
    -----
    The half-maximum surface of `facegen_inference.skin.skin_field`, measured on the grid itself:
    many times faster than `skin_distance`, which measures against triangles, and the same to a
    few tenths of a millimetre near the skin.
    """
    field = skin_field(volume)
    to_field = np.linalg.inv(field.patient_from_voxel) @ frame.patient_from_frame
    matrix = to_field @ grid.patient_from_voxel
    hu = affine_transform(
        field.values,
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=grid.shape,
        order=1,
        mode="nearest",
        output=np.float32,
    )
    seen = resample(scanned(volume), volume.patient_from_voxel, grid, 0.0, frame.patient_from_frame)
    return signed_distance(hu, SKIN_LEVEL_HU, float(grid.spacing[0])), seen > 0.99


def prepare_case(case: Case, folder: Path, spec: PreprocessSpec) -> Prepared | UserError:
    """Prepare one person, unless record and array are there and fit together.

    Where the person is masked (`facegen_training.cohort.masks`) the skin counts as not known.
    A `UserError` comes back as a value, for the report at the end.
    """
    record = folder / f"{case.id}.json"
    before = _recorded(record, folder / f"{case.id}{PLAIN}")
    if before is not None and before.masks == masks_digest(case.id):
        return before
    try:
        stored, frame = fields_of(read_volume_file(case.path), spec)
    except UserError as error:
        return error
    stored = without_masked(stored, spec.grid, case.id)
    array = folder / f"{case.id}{PLAIN}"
    write_whole(array, packed(stored))
    prepared = Prepared(
        case.id,
        case.source,
        case.part,
        sha256_of(case.path),
        sha256_of(array),
        frame.method,
        round(float(frame.residual_mm), 3),
        masks=masks_digest(case.id),
    )
    write_json(record, asdict(prepared))
    return prepared


def _recorded(record: Path, array: Path) -> Prepared | None:
    """Return what an earlier run recorded; None where the array is missing or another."""
    if not (record.is_file() and array.is_file()):
        return None
    prepared = Prepared(**json.loads(record.read_text(encoding="utf-8")))
    return prepared if sha256_of(array) == prepared.prepared_sha256 else None


def prepare(
    cases: list[Case],
    out: Path,
    spec: PreprocessSpec,
    workers: int = 1,
    progress: Progress = silent,
) -> tuple[Path, dict[str, str]]:
    """Prepare people, skipping those already there, and write the manifest.

    Returns
    -------
    The manifest's path, and person → sentence of those that could not be prepared.
    """
    folder = prepared_folder(out, spec)
    folder.mkdir(parents=True, exist_ok=True)
    done: list[Prepared] = []
    failed: dict[str, str] = {}
    with worker_pool(workers) as pool:
        jobs = [pool.submit(prepare_case, case, folder, spec) for case in cases]
        for number, (case, job) in enumerate(zip(cases, jobs, strict=True), start=1):
            result = job.result()
            if isinstance(result, UserError):
                failed[case.id] = str(result)
            else:
                done.append(result)
            progress(number / len(cases), case.id)
    manifest = {
        "spec": json.loads(spec.to_json()),
        "prepared_version": PREPARED_VERSION,
        "people": [asdict(person) for person in done],
        "failed": failed,
    }
    write_json(folder / MANIFEST, manifest)
    return folder / MANIFEST, failed
