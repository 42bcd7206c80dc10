from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohort_lab import write_nifti

from facegen_inference.closest import ClosestOnSurface
from facegen_inference.errors import UserError
from facegen_inference.skin import skin_surface
from facegen_inference.volume import Volume
from facegen_training.cohort.find_scans import Candidate
from facegen_training.evaluation.contenders import contenders, shipped_model
from facegen_training.evaluation.floors import coarsened, measure_floors
from facegen_training.evaluation.kept_faces import face_file
from facegen_training.evaluation.people import Subject, people_to_score
from facegen_training.evaluation.protocol import HEADLINE
from facegen_training.evaluation.report import Study, write_report
from facegen_training.evaluation.run import Wishes, run_part
from facegen_training.evaluation.score import (
    _face_missing,
    jobs_for,
    mean_face,
    score_file,
    score_jobs,
)


def subject_of(name: str, path: Path) -> Subject:
    return Subject(name, name, "lab", Candidate(path.name, path, path.name, (path,)), path.name)


@pytest.fixture(scope="module")
def head(head_3mm: Volume, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The head in a file named like a person."""
    path = tmp_path_factory.mktemp("scans") / "Doe_Jane.nii.gz"
    return subject_of("p-1", write_nifti(head_3mm, path))


def test_scores_once_reports_and_goes_on_where_it_was(head: Subject, tmp_path: Path) -> None:
    compared = contenders(["mean-face"], [])
    rows = score_jobs(jobs_for([head], compared, []), tmp_path / "work")
    assert rows[0]["person"] == "p-1"
    assert 0.2 < rows[0]["closest"]["mean"] < 4.0
    assert rows[0]["voxel_mm"] == [3.0, 3.0, 3.0]

    path = score_file(tmp_path / "work", head, HEADLINE, compared[0])
    path.write_text(json.dumps({**rows[0], "seconds": -1}), encoding="utf-8")
    again = score_jobs(jobs_for([head], compared, []), tmp_path / "work")
    assert again[0]["seconds"] == -1

    page = write_report(Study(rows, {}, {}, "## By hand\n\nA note."), mean_face(), tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "| mean-face | 1 |" in text
    assert text.rstrip().endswith("A note.")
    assert (tmp_path / "validation" / "regions.png").stat().st_size > 1000
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"Doe" not in written


def test_what_cannot_be_read_is_reported_without_its_name(tmp_path: Path) -> None:
    path = tmp_path / "Doe_John.nii.gz"
    path.write_bytes(b"no scan")
    case = subject_of("p-2", path)
    rows = score_jobs(jobs_for([case], contenders(["mean-face"], []), []), tmp_path / "work")
    assert rows[0]["failed"]
    assert "Doe" not in json.dumps(rows)
    path.unlink()
    again = score_jobs(jobs_for([case], contenders(["mean-face"], []), []), tmp_path / "work")
    assert again[0]["failed"] != rows[0]["failed"]  # tried again, not taken for done


def test_scores_of_another_model_are_not_taken(head: Subject, tmp_path: Path) -> None:
    model = tmp_path / "other.onnx"
    model.write_bytes(b"one")
    first = score_file(tmp_path, head, HEADLINE, contenders([], [str(model)])[0])
    model.write_bytes(b"two")
    second = score_file(tmp_path, head, HEADLINE, contenders([], [str(model)])[0])
    assert first != second


def test_a_face_that_another_model_left_is_made_anew(head: Subject, tmp_path: Path) -> None:
    (compared,) = contenders(["mean-face"], [])
    score = tmp_path / "score.json"
    score.touch()
    assert _face_missing(tmp_path, head, compared, score)
    face = face_file(tmp_path, head.id, compared.name)
    face.parent.mkdir()
    face.touch()
    scored = score.stat().st_mtime_ns
    os.utime(face, ns=(scored, scored))
    assert not _face_missing(tmp_path, head, compared, score)
    os.utime(face, ns=(scored, scored + 10**9))  # scored since, by the same name
    assert _face_missing(tmp_path, head, compared, score)
    assert not _face_missing(None, head, compared, score)


def test_scores_by_another_mean_head_or_template_are_not_taken(
    head: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = contenders(["mean-face", "template"], [])
    before = [score_file(tmp_path, head, HEADLINE, one) for one in shipped]
    other = tmp_path / "other.npz"
    other.write_bytes(b"another")
    monkeypatch.setattr("facegen_training.evaluation.contenders._shipped", lambda name: other)
    after = [
        score_file(tmp_path, head, HEADLINE, one)
        for one in contenders(["mean-face", "template"], [])
    ]
    assert all(a != b for a, b in zip(after, before, strict=True))


def test_models_get_names_and_replace_the_built_in_one(tmp_path: Path) -> None:
    a, b = tmp_path / "a.onnx", tmp_path / "b.onnx"
    a.touch()
    b.touch()
    assert contenders(["neural"], [])[0].model == shipped_model()
    found = contenders(["mean-face", "neural"], [str(a), f"other={b}"])
    assert [(one.name, one.model) for one in found] == [
        ("mean-face", None),
        ("neural", a),
        ("other", b),
    ]
    with pytest.raises(UserError, match="Two models are called x"):
        contenders([], [f"x={a}", f"x={b}"])
    with pytest.raises(UserError, match="no model file"):
        contenders([], [str(tmp_path / "none.onnx")])
    with pytest.raises(UserError, match="no method clay"):
        contenders(["clay"], [])


def test_training_people_are_never_scored(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be scored"):
        people_to_score(tmp_path, "train")


def test_coarsening_keeps_the_head_where_it_is(head: Subject, tmp_path: Path) -> None:
    with head.scan() as scan:
        volume = scan.volume
    assert volume is not None
    coarse = skin_surface(coarsened(volume, (6.0, 6.0, 6.0), None))
    found = ClosestOnSurface(skin_surface(volume)).query(coarse.vertices)
    inside = (np.abs(coarse.vertices - coarse.vertices.mean(axis=0)) < 60).all(axis=1)
    moved = (found.point - coarse.vertices)[inside].mean(axis=0)
    assert np.abs(moved).max() < 0.5
    assert measure_floors([head], tmp_path) == {}


def test_a_model_trained_on_everyone_is_not_scored_on_them(tmp_path: Path) -> None:
    """The shipped one is refused for the project's people before a scan is looked for."""
    wishes = Wishes(tmp_path, tmp_path / "out", tmp_path / "work", methods=["neural"])
    with pytest.raises(UserError, match="nobody is left to score it on"):
        run_part(wishes, "test", [])
    with pytest.raises(UserError, match="No scan that the split names"):
        run_part(replace(wishes, methods=["mean-face"]), "test", [])
