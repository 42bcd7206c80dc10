from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from cohort_lab import write_nifti
from face_shapes import face, nearer_the_mean, people
from scipy.spatial.transform import Rotation

from facegen_inference.closest import ClosestOnSurface
from facegen_inference.errors import UserError
from facegen_inference.face_region import predicted_region
from facegen_inference.mesh import Mesh
from facegen_inference.mesh_files import write_mesh
from facegen_inference.skin import skin_surface
from facegen_inference.volume import Volume
from facegen_training.cohort.cases import find_cases
from facegen_training.cohort.dataset import write_json
from facegen_training.cohort.find_scans import Candidate
from facegen_training.evaluation import decoys, identification_report, memory_report
from facegen_training.evaluation.face_alignment import Target, aligned_poses, moved
from facegen_training.evaluation.face_map import MapGrid, map_of, mean_known
from facegen_training.evaluation.face_tests import (
    TRUE,
    Material,
    Task,
    _read,
    everybodys_faces,
    faces_file,
    make_faces,
    predicted_faces,
    run_face_tests,
)
from facegen_training.evaluation.people import Subject
from facegen_training.evaluation.score import Person, mean_face

COUNT = 36


def subject_of(name: str, path: Path) -> Subject:
    return Subject(name, name, "lab", Candidate(path.name, path, path.name, (path,)), path.name)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Made-up people whose true and predicted faces lie where they would."""
    true = people(COUNT)
    subjects = [subject_of(p, tmp_path / f"{p}.nii.gz") for p in true]
    subjects.append(subject_of("visible_human_female", tmp_path / "vhf.nii.gz"))
    folds = {p: n % 2 for n, p in enumerate(list(true)[:32])}
    made = Material(subjects, folds, tmp_path / "faces", tmp_path / "work", decoys=60)
    mean = Mesh(np.mean([m.vertices for m in true.values()], axis=0), face(0).triangles)
    moved = np.eye(4)
    moved[:3, 3] = [5, -200, 30]
    for subject, (person, mesh) in zip(subjects, true.items(), strict=False):
        path = faces_file(made, subject, "")
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = BytesIO()
        np.savez(buffer, **{f"{TRUE}:v": mesh.vertices, f"{TRUE}:t": mesh.triangles})
        path.write_bytes(buffer.getvalue())
        folder = made.faces / person
        folder.mkdir(parents=True)
        write_mesh(nearer_the_mean(mesh, mean, 0.7).transformed(moved), folder / "neural.ply")
        place = {"patient_from_frame": moved.tolist(), "landmarks": {}}
        write_json(folder / "frame.json", place)
    return made


def test_true_face_is_cut_out_of_the_scan_in_the_frame(head_3mm: Volume, tmp_path: Path) -> None:
    subject = subject_of("p-1", write_nifti(head_3mm, tmp_path / "p-1.nii.gz"))
    path = tmp_path / "p-1.npz"
    assert "1 face" in make_faces(Task(subject, path, None))
    (mesh,) = _read(path).values()
    assert len(mesh.triangles) > 1000
    with subject.scan() as scan:
        own = Person(subject, scan).own
    skin = skin_surface(head_3mm)
    placed = mesh.transformed(own.frame.patient_from_frame)
    assert ClosestOnSurface(skin).query(placed.vertices).distance.max() < 0.01
    assert predicted_region(mesh.vertices).mean() > 0.8


def test_a_real_face_is_laid_alike_from_any_pose(shared_ct: Path, tmp_path: Path) -> None:
    case = find_cases(shared_ct)[0]
    path = tmp_path / "one.npz"
    make_faces(Task(subject_of(case.id, case.path), path, None))
    mesh = _read(path)[TRUE]
    grid = MapGrid()
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", [5, -4, 3], degrees=True).as_matrix()
    turned[:3, 3] = [3, -4, 5]
    maps = np.stack([map_of(mesh, grid), map_of(mesh.transformed(turned), grid)])
    assert np.isfinite(maps[0]).sum() > 2500
    mean = mean_face()
    target = Target(map_of(mean, grid), grid)
    first, second = moved(maps, aligned_poses(maps, target), grid)
    assert mean_known(np.abs(maps[1] - maps[0]), (0, 1)) > 2
    assert mean_known(np.abs(second - first), (0, 1)) < 0.7


def test_predictions_come_back_into_the_frame_and_only_of_folds(material: Material) -> None:
    predicted = predicted_faces(material)["neural"]
    assert predicted.keys() == material.folds.keys()
    true = everybodys_faces(material)[TRUE]
    assert len(true) == COUNT, "sharp heads are left away"
    apart = np.abs(predicted["person_03"].vertices - true["person_03"].vertices)
    assert apart.mean() < 3


def test_both_tests_are_written_once(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoys, "PILOTS", 40)
    monkeypatch.setattr(decoys, "TURNS", 2)
    results = run_face_tests(material)
    identified, remembered = (json.loads(path.read_text()) for path in results)
    assert identified["methods"]["neural"]["own"].keys() == material.folds.keys()
    assert identified["key"] == remembered["key"]
    assert (material.work / identification_report.PICTURE).is_file()
    assert identification_report.section(material.work)
    assert memory_report.section(material.work)
    for path in results:
        os.utime(path, (1, 1))
    run_face_tests(material)
    assert all(path.stat().st_mtime == 1 for path in results), "what is there is kept"


def test_too_few_people_and_no_faces_are_said(material: Material, tmp_path: Path) -> None:
    few = dict(list(material.folds.items())[:10])
    with pytest.raises(UserError, match="too few"):
        run_face_tests(Material(material.subjects, few, material.faces, material.work))
    with pytest.raises(UserError, match="no predicted faces"):
        run_face_tests(
            Material(material.subjects, material.folds, tmp_path / "none", material.work)
        )
