"""What a made-up lab has: names that must never be written, and scans in every form."""

from __future__ import annotations

from pathlib import Path

import SimpleITK

from facegen_inference.dicom_writer import write_series
from facegen_inference.volume import Volume

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
