"""A cohort of made heads on disk: one folder a person, and the list that ``prepare`` takes.

Each person is made under a temporary name and renamed when complete, so a run that was killed goes
on where it was.  What is made depends on seed, person and size alone.  A worker needs at most about
0.6 GB at 512×512×102 (measured), most of it for the model.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import SimpleITK as sitk

from facegen_inference.depth_table import DEFAULT_TABLE
from facegen_inference.dicom_writer import write_series
from facegen_inference.errors import OutputError, UserError
from facegen_inference.progress import Progress, silent
from facegen_inference.volume import Volume
from facegen_training.cohort.pool import each, worker_pool
from facegen_training.synthesis.make_scan import scan_person
from facegen_training.synthesis.person import draw_person
from facegen_training.synthesis.scanner import ScanSize, draw_scanner
from facegen_training.synthesis.truth import (
    SOURCE_NAME,
    TRUTH,
    describe,
    person_id,
    write_truth,
)

MODEL_VERSION = 1
"""Version of what is made of a seed; a change of the model raises it."""
LIST, SETTINGS, PEOPLE = "cohort.csv", "synthesize.json", "people"
COLUMNS = ("scan", "person", "source", "part", "build")
HELD_OUT = {3: "validation", 4: "test"}
"""Of every five people one validates and one tests; made people are independent of each other."""
HEADER_BYTES = 4096
"""Upper bound of a DICOM header, and of what else is stored for each slice."""
SPARE_BYTES = 200_000_000

Format = Literal["dicom", "nifti"]


@dataclass(frozen=True)
class Cohort:
    """What is to be made.

    Attributes
    ----------
    seed
        From which everything follows; 0 or more.
    size
        Of each scan.
    format
        ``dicom`` (a folder of slices) or ``nifti`` (one packed file).
    """

    seed: int
    size: ScanSize
    format: Format = "dicom"

    def __post_init__(self) -> None:
        """Refuse what cannot be made."""
        size = self.size
        if self.seed < 0:
            raise UserError("A seed cannot be negative.", "Give --seed 0 or more.")
        if min(size.rows, size.columns) < 32 or size.slices < 16:
            raise UserError(
                f"A scan of {size.rows}×{size.columns}×{size.slices} voxels is too small.",
                "Give at least 32×32×16.",
            )

    def bytes_each(self) -> int:
        """Return an upper bound of what one person takes on disk."""
        size = self.size
        return size.slices * (2 * size.rows * size.columns + HEADER_BYTES) + 64_000


@dataclass(frozen=True)
class _Task:
    cohort: Cohort
    out: Path
    number: int

    @property
    def folder(self) -> Path:
        return self.out / PEOPLE / person_id(self.cohort.seed, self.number)


def synthesize(
    cohort: Cohort, people: int, out: Path, workers: int = 1, progress: Progress = silent
) -> Path:
    """Make people's CTs, skipping those already there.

    Parameters
    ----------
    cohort
        What to make.
    people
        How many, numbered from 1; a larger number later adds to them.
    out
        A folder of its own.
    workers
        Processes; with 1 the work is done in this one.
    progress
        Told after each person; may raise `Cancelled`.

    Returns
    -------
    The list (``cohort.csv``), with paths relative to its folder.

    Raises
    ------
    OutputError
        When the disk would not hold them, or the folder holds something else.
    UserError
        When the size does not hold a head, or a worker was ended by the system.
    """
    if people < 1 or workers < 1:
        raise UserError("There must be at least one person and one worker.", "Give 1 or more.")
    _claim(out, cohort)
    tasks = [_Task(cohort, out, number) for number in range(people)]
    todo = [task for task in tasks if not (task.folder / TRUTH).exists()]
    _check_disk(out, cohort, len(todo))
    ready = people - len(todo)
    for count, name in enumerate(_made(todo, workers), start=1):
        progress((ready + count) / people, name)
    _write_list(tasks, out / LIST)
    return out / LIST


def _made(todo: list[_Task], workers: int) -> Iterator[str]:
    """Make people and yield their names; what a worker raises is raised here."""
    if workers == 1 or len(todo) < 2:
        for task in todo:
            yield make_person(task)
        return
    with worker_pool(min(workers, len(todo))) as pool:
        for _, result in each(pool, make_person, todo):
            if isinstance(result, BaseException):
                raise result
            yield result


def make_person(task: _Task) -> str:
    """Make one person's folder and return the person's name."""
    seed, number = task.cohort.seed, task.number
    person, scanner = draw_person(seed, number), draw_scanner(seed, number)
    volume = scan_person(person, scanner, task.cohort.size)
    name = person_id(seed, number)
    partial = task.folder.with_name(f".{name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write_scan(volume, partial / _scan_name(task.cohort.format), task.cohort, name)
        write_truth(describe(person, scanner, volume), partial / TRUTH)
        if task.folder.exists():  # without a truth: not a whole person
            shutil.rmtree(task.folder)
        partial.rename(task.folder)
    except (OSError, RuntimeError) as error:  # SimpleITK has no other kind
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(
            f"{name} cannot be written: {getattr(error, 'strerror', None) or error}.",
            "Choose a folder with free space that you may write to; what is done is kept.",
        ) from error
    return name


def _scan_name(kind: Format) -> str:
    return "scan" if kind == "dicom" else "scan.nii.gz"


def _write_scan(volume: Volume, path: Path, cohort: Cohort, name: str) -> None:
    if cohort.format == "nifti":
        sitk.WriteImage(volume.to_sitk(), str(path), True)
        return
    write_series(
        volume,
        path,
        patient_id=name,
        patient_name="Synthetic^Head",
        series_description="Synthetic head, no patient",
        seed=f"{name} {json.dumps(_settings(cohort), sort_keys=True)}",
        tags={
            "PatientPosition": "HFS",
            "ManufacturerModelName": "Synthetic head",
            "ImageComments": "Synthetic: a statistical head model, no voxel of any scan.",
        },
    )


def _settings(cohort: Cohort) -> dict[str, Any]:
    """Return what must be the same for all people of a folder, as plain data."""
    size = cohort.size
    return {
        "model_version": MODEL_VERSION,
        "model_sha256": _model_digest(),
        "seed": cohort.seed,
        "format": cohort.format,
        "rows_columns_slices": [size.rows, size.columns, size.slices],
        "spacing_mm": list(size.spacing) if size.spacing else None,
    }


@cache
def _model_digest() -> str:
    """Return the SHA-256 of what ships and shapes everybody: mean head, landmarks, depths."""
    resources = files("facegen_resources")
    names = ("demo_head.npz", "atlas.npz", f"depth_tables/{DEFAULT_TABLE}.csv")
    digest = hashlib.sha256()
    for name in names:
        digest.update((resources / name).read_bytes())
    return digest.hexdigest()


def _claim(out: Path, cohort: Cohort) -> None:
    """Note the settings in a new folder; refuse one that was begun with others."""
    record, wanted = out / SETTINGS, _settings(cohort)
    try:
        if record.exists():
            if json.loads(record.read_text(encoding="utf-8")) != wanted:
                raise OutputError(
                    f"{out.name} was begun with other settings.",
                    "Choose a new folder, or the settings and version in its synthesize.json.",
                )
            return
        if out.exists() and any(out.iterdir()):
            raise OutputError(f"The folder {out.name} is not empty.", "Choose a new folder.")
        out.mkdir(parents=True, exist_ok=True)
        partial = record.with_name(record.name + ".part")
        partial.write_text(json.dumps(wanted, indent=1, sort_keys=True), encoding="utf-8")
        partial.replace(record)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{out.name} cannot be used: {getattr(error, 'strerror', None) or error}.",
            "Choose a new folder that you may write to.",
        ) from error


def _check_disk(out: Path, cohort: Cohort, people: int) -> None:
    """Refuse to begin what the disk would not hold."""
    needed, free = people * cohort.bytes_each(), shutil.disk_usage(out).free
    if people and needed + SPARE_BYTES > free:
        raise OutputError(
            f"{people} heads need up to {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free.",
            "Make fewer people or smaller scans, or choose another disk.",
            needed=needed, free=free,
        )  # fmt: skip


def part_of(number: int, people: int) -> str:
    """Return the part of one of so many made people.

    Fewer than five still validate and test, if there are three: the last two do.
    """
    if 3 <= people < 5:
        return {people - 2: "validation", people - 1: "test"}.get(number, "train")
    return HELD_OUT.get(number % 5, "train")


def _write_list(tasks: list[_Task], path: Path) -> None:
    """Write the list of all people asked for."""
    partial = path.with_name(path.name + ".part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for task in tasks:
            truth = json.loads((task.folder / TRUTH).read_text(encoding="utf-8"))
            scan = f"{PEOPLE}/{task.folder.name}/{_scan_name(task.cohort.format)}"
            part = part_of(task.number, len(tasks))
            table.writerow((scan, truth["person"], SOURCE_NAME, part, truth["tissue"]["build"]))
    partial.replace(path)
