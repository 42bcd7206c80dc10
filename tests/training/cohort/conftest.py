"""A made-up lab: synthetic heads in every form scans come in, with made-up names planted."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cohort_lab import Run, stretched, timed, write_dicom, write_nifti

from facegen_inference.demo_head import head_volume, load_head_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.volume import Volume
from facegen_training.cohort.key import Key, read_key, read_or_make_key

STEP = 4


@pytest.fixture(scope="session")
def spec() -> PreprocessSpec:
    """The shipped field of view at 4 mm."""
    return PreprocessSpec(shape=(64, 52, 48), spacing_mm=4.0)


@pytest.fixture(scope="session")
def spec_file(spec: PreprocessSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "spec.json"
    path.write_text(spec.to_json(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def head() -> Volume:
    """The synthetic head, averaged onto 4 mm voxels."""
    fine = head_volume(load_head_model())
    k, j, i = (n // STEP for n in fine.array.shape)
    cut = fine.array[: k * STEP, : j * STEP, : i * STEP].astype(np.float32)
    mean = cut.reshape(k, STEP, j, STEP, i, STEP).mean(axis=(1, 3, 5))
    matrix = fine.patient_from_voxel.copy()
    matrix[:3, 3] += matrix[:3, :3] @ np.full(3, (STEP - 1) / 2)
    matrix[:3, :3] *= STEP
    return Volume(np.rint(mean).astype(np.int16), matrix)


@pytest.fixture(scope="session")
def lab(head: Volume, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people who can be used, and four scans that cannot; all with planted names."""
    root = tmp_path_factory.mktemp("lab") / "cohort"
    write_dicom(
        head, root / "Quixworth^Zebulon 19500312" / "study", "Quixworth^Zebulon", "MRN-471183"
    )
    write_nifti(stretched(head, 1.06, 1.0), root / "volumes" / "Wollstonecraft_Ermintrude.nii.gz")
    inner = write_dicom(
        stretched(head, 0.95, 1.04), root / "tmp", "Featherstonehaugh^E", "MRN-998877"
    )
    archive = root / "Featherstonehaugh 19500312.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted(inner.iterdir()):
            packed.write(file, f"Featherstonehaugh/{file.name}")
    shutil.rmtree(inner)
    thin = Volume(head.array[::8], head.patient_from_voxel @ np.diag([8.0, 1, 1, 1]))
    write_dicom(thin, root / "Brimblecombe mr", "Brimblecombe^X", "MRN-471183-2", modality="MR")
    write_dicom(
        thin,
        root / "Throckmorton",
        "Throckmorton^Y",
        "MRN-471183-3",
        DeidentificationMethod="defaced with Pemberton",
    )
    cut = root / "volumes" / "Brimblecombe_19500312.nii.gz"
    cut.write_bytes((root / "volumes" / "Wollstonecraft_Ermintrude.nii.gz").read_bytes()[:5000])
    write_nifti(
        Volume(np.full((20, 20, 20), 40, np.int16), np.diag([3.0, 3, 3, 1])),
        root / "Throckmorton_knee.nrrd",
    )
    (root / "Quixworth^Zebulon 19500312" / "letter.txt").write_text("Dear Dr Pemberton")
    return root


@pytest.fixture(scope="session")
def prepared(lab: Path, spec_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What the command itself makes of the lab's folder."""
    room = tmp_path_factory.mktemp("prepared")
    key = room / "lab.key"
    words = ("--spec", str(spec_file), "--key", str(key), "--workers", "2", "--test", "0.34")
    done, seconds = timed(lab, "--out", room / "out", *words)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    return Run(room / "out", read_key(key), said, Path(done.stdout.strip()), words, seconds)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return read_or_make_key(tmp_path / "keys" / "lab.key", tmp_path / "out")
