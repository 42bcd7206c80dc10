"""What a made-up lab has: names that must never be written, and scans in every form."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import SimpleITK

from facegen_inference.dicom_writer import write_series
from facegen_inference.volume import Volume
from facegen_training.cohort.key import Key

PLANTED = (
    "Quixworth",
    "Zebulon",
    "MRN-471183",
    "19500312",
    "Wollstonecraft",
    "Ermintrude",
    "Featherstonehaugh",
    "MRN-998877",
    "Brimblecombe",
    "Throckmorton",
    "Pemberton",
    "1.2.826.0.1.3680043",
)
"""Names, numbers, a birth date and the start of every UID: none may be written anywhere."""


def stretched(volume: Volume, across: float, up: float) -> Volume:
    """Another person: the same head wider and taller."""
    matrix = volume.patient_from_voxel.copy()
    matrix[0] *= across
    matrix[2] *= up
    return Volume(volume.array, matrix)


def write_nifti(volume: Volume, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(volume.to_sitk(), str(path))
    return path


def write_dicom(volume: Volume, folder: Path, name: str, number: str, **tags: object) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_series(
        volume,
        folder,
        patient_id=number,
        patient_name=name,
        series_description=f"Head of {name}",
        modality=str(tags.pop("modality", "CT")),
        seed=f"{name}{number}{tags}",
        tags={"PatientBirthDate": "19500312", "InstitutionName": "Pemberton Infirmary", **tags},
    )
    return folder


@dataclass(frozen=True)
class Run:
    """What one run of the command left and said, and the seconds it took."""

    out: Path
    key: Key
    said: str
    manifest: Path
    words: tuple[str, ...]
    seconds: float

    @property
    def data(self) -> dict:  # type: ignore[type-arg]
        return json.loads(self.manifest.read_text(encoding="utf-8"))


def command_line(*words: object) -> list[str]:
    start = "from facegen_training.cli import main; main()"
    return [sys.executable, "-c", start, "prepare", *map(str, words)]


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_line(*words), capture_output=True, text=True, timeout=280, check=False
    )


def timed(*words: object) -> tuple[subprocess.CompletedProcess[str], float]:
    start = time.monotonic()
    done = command(*words)
    return done, time.monotonic() - start
