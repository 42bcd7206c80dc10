"""An evaluation in folds, from prepared people to the report: made-up people, one scan scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohort_lab import write_nifti
from egg_heads import synthesize

from facegen_inference.atlas import load_atlas
from facegen_inference.errors import UserError
from facegen_inference.network import open_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.volume import Volume
from facegen_training.cohort.cases import Case
from facegen_training.cohort.dataset import read_dataset
from facegen_training.cohort.find_scans import Candidate
from facegen_training.cohort.folds import SHARP_HEADS, folded, folds_of, hash_order
from facegen_training.evaluation import fold_models, people
from facegen_training.evaluation.contenders import Contender
from facegen_training.evaluation.fold_models import Recipe, Source, fold_file, recipes
from facegen_training.evaluation.kept_faces import kept_faces, read_face
from facegen_training.evaluation.learning_curve import group_sizes, per_doubling, section
from facegen_training.evaluation.people import Subject
from facegen_training.evaluation.report import Study, write_report
from facegen_training.evaluation.run import Plan, Wishes, _jobs, run_folds
from facegen_training.evaluation.score import mean_face

TINY = """
[linear]
copies = 2
rank = 4
folds = 3
feature_band_mm = 16.0
[net]
width = 8
levels = 2
[fit]
steps = 2
checkpoint_every = 1
validate_every = 2
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = PreprocessSpec(
        shape=(32, 28, 24), spacing_mm=8.0, origin_mm=(-92.0, -159.0, -151.0)
    )  # symmetric, as the shipped grid
    return synthesize(tmp_path_factory.mktemp("made"), spec, people=12)


@pytest.fixture
def scanned(
    head_3mm: Volume, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Everyone has the same head for a scan; the manifest is taken for the project's."""
    scan = write_nifti(head_3mm, tmp_path / "scans" / "head.nii.gz")
    cases = [Case(p.id, scan, p.source, "test") for p in read_dataset(manifest).people]
    # One line, given to two modules.
    found: Callable[[Path], list[Case]] = lambda folder: cases  # noqa: E731
    monkeypatch.setattr(people, "find_cases", found)
    return scan.parent


def test_everyone_is_scored_by_what_never_saw_them(
    manifest: Path, scanned: Path, tmp_path: Path
) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(TINY, encoding="utf-8")
    of = folds_of(p.id for p in read_dataset(manifest).people)
    one = next(p for p in of if of[p] == 1)
    wishes = Wishes(
        scanned, tmp_path / "out", tmp_path / "out" / "scores", manifest,
        methods=["mean-face"], people=[one], workers=1,
    )  # fmt: skip
    plan = Plan(learn=[f"neural={config}"], only=[1])
    (index,) = run_folds(wishes, plan)

    named = json.loads(index.read_text(encoding="utf-8"))
    assert named["folds"] == of
    atlas, model = (tmp_path / "out" / named["files"]["1"][n] for n in ("atlas", "neural"))
    data = folded(read_dataset(manifest), 1)
    rows = [*data.rows("train"), *data.rows("validation")]
    assert one not in {data.people[row].id for row in rows}
    assert load_atlas(atlas).people == len(rows)
    card = open_model(model).card
    assert card.manifest_sha256 == data.manifest_sha256
    assert card.training_population.people == len(data.rows("train"))

    faces = kept_faces(tmp_path / "out" / "faces")
    assert set(faces) == {(one, "mean-face"), (one, "neural")}
    placed = read_face(tmp_path / "out" / "faces", one, "mean-face")
    assert np.abs(placed.vertices.mean(axis=0) - [0, -85, -20]).max() < 40  # in the frame

    fitted = model.stat().st_mtime_ns
    written = run_folds(wishes, Plan(learn=["none"]))
    text = next(p for p in written if p.name == "validation.md").read_text(encoding="utf-8")
    assert "1 people were scored (1 in the folds)" in text
    assert "| mean-face | 1 |" in text
    assert "## Learning curve" not in text  # it was not measured
    assert model.stat().st_mtime_ns == fitted
    files = json.loads(index.read_text(encoding="utf-8"))["files"]
    assert {fold: set(named) for fold, named in files.items()} == {
        **{str(fold): {"atlas"} for fold in (0, 2, 3, 4)}, "1": {"atlas", "neural"},
    }  # fmt: skip


def test_a_name_that_is_in_no_fold_is_said_before_anything_is_fitted(
    manifest: Path, scanned: Path, tmp_path: Path
) -> None:
    wishes = Wishes(scanned, tmp_path / "out", tmp_path, manifest, people=["nobody"])
    with pytest.raises(UserError, match="nobody is scored in no fold"):
        run_folds(wishes, Plan(learn=["none"]))
    assert not (tmp_path / "out").exists()


def test_a_fold_finds_its_files_again_and_no_other_finds_them(
    manifest: Path, tmp_path: Path
) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(TINY, encoding="utf-8")
    (recipe,) = recipes([], [f"neural={config}"])
    source = Source(manifest)
    first = fold_file(recipe, source.read(0), 0, tmp_path)
    assert fold_file(recipe, source.read(0), 0, tmp_path) == first
    config.write_text(TINY + "threads = 1\n", encoding="utf-8")  # where it runs, not what
    assert fold_file(recipe, source.read(0), 0, tmp_path) == first
    config.write_text(TINY + "seed = 5\n", encoding="utf-8")
    assert fold_file(recipe, source.read(0), 0, tmp_path) != first
    fewer = replace(source, most_train=4)
    assert len(fewer.read(0).rows("train")) == 4
    assert fold_file(Recipe("atlas"), fewer.read(0), 0, tmp_path) != (
        fold_file(Recipe("atlas"), source.read(0), 0, tmp_path)
    )
    assert len({fold_file(Recipe("atlas"), source.read(k), k, tmp_path) for k in range(5)}) == 5


def test_names_of_what_is_fitted_are_checked(tmp_path: Path, manifest: Path) -> None:
    config = tmp_path / "a.toml"
    config.touch()
    assert [one.name for one in recipes(["mean-face", "tissue-depth"], [f"n={config}"])] == [
        "atlas",
        "n",
    ]
    with pytest.raises(UserError, match="Two methods are called n"):
        recipes([], [f"n={config}", f"n={config}"])
    with pytest.raises(UserError, match="Two methods are called mean-face"):
        recipes([], [f"mean-face={config}"])
    with pytest.raises(UserError, match="no recipe"):
        recipes([], ["n=nowhere.toml"])
    with pytest.raises(UserError, match="no method clay"):
        recipes(["clay"], [])
    with pytest.raises(UserError, match="prepared people are needed"):
        run_folds(Wishes(tmp_path, tmp_path, tmp_path), Plan())


def test_the_contenders_of_a_fold_have_its_files_in_the_order_of_the_ladder() -> None:
    wanted = [Recipe("atlas"), Recipe("neural", Path("a")), Recipe("pix2pix3d", Path("b"))]
    files = {"atlas": Path("x.npz"), "neural": Path("n.onnx"), "pix2pix3d": Path("p.onnx")}
    found = fold_models.contenders_of(["tissue-depth", "mean-face"], wanted, files)
    assert [(c.name, c.model or c.atlas) for c in found] == [
        ("mean-face", Path("x.npz")),
        ("tissue-depth", Path("x.npz")),
        ("pix2pix3d", Path("p.onnx")),
        ("neural", Path("n.onnx")),
    ]


def test_a_learning_curve_that_was_measured_is_reported(tmp_path: Path) -> None:
    assert section(tmp_path) == []
    point = {"scored": 14, "low_mm": 2.0, "high_mm": 3.0}
    points = [{**point, "people": 10, "mean_mm": 2.5}, {**point, "people": 40, "mean_mm": 2.1}]
    data = {"method": "neural", "folds": [0], "points": points}
    (tmp_path / "learning_curve.json").write_text(json.dumps(data), encoding="utf-8")
    blocks = section(tmp_path)
    assert blocks[0] == "## Learning curve"
    assert "| 40 | 2.10 [2.00, 3.00] | 14 |" in blocks[2]
    assert "falls by 0.20 mm with each doubling" in blocks[3]


def test_a_page_shows_the_pictures_of_tests_run_apart(tmp_path: Path) -> None:
    work = tmp_path / "scores"
    work.mkdir()
    points = [
        {"people": n, "mean_mm": 2.5, "low_mm": 2.0, "high_mm": 3.0, "scored": 14} for n in (10, 20)
    ]
    data = {"method": "neural", "folds": [0], "points": points}
    (work / "learning_curve.json").write_text(json.dumps(data), encoding="utf-8")
    (work / "learning_curve.png").write_bytes(b"a picture")
    page = write_report(Study([], {}, work=work), mean_face(), tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert "## Learning curve\n\n`neural` fitted" in text
    assert "(validation/learning_curve.png)" in text
    assert (page.parent / "validation" / "learning_curve.png").read_bytes() == b"a picture"


def test_conditions_are_scored_on_some_people_and_always_on_the_sharp_head(tmp_path: Path) -> None:
    file = Candidate("a", tmp_path, "a", (tmp_path,))
    names = ["p1", "p2", "p3", SHARP_HEADS[0]]
    subjects = [Subject(name, name, "made", file, "a") for name in names]
    compared = {0: (Contender("mean-face", "mean-face"), Contender("neural", "neural"))}
    wishes = Wishes(tmp_path, tmp_path, tmp_path, conditions=["pose"], condition_people=1)
    jobs = _jobs(wishes, subjects, dict.fromkeys(names, 0), compared)
    posed = {
        job.subject.id: [one.name for condition, one in job.tests if condition == "pose"]
        for job in jobs
    }
    first = hash_order(names[:3])[0]
    assert posed == {name: ["neural"] if name in (first, names[3]) else [] for name in names}
    assert all(len(job.tests) - len(posed[job.subject.id]) == 2 for job in jobs)


def test_no_group_of_a_learning_curve_is_called_larger_than_it_is() -> None:
    assert group_sizes([40, 10, 10, 61, 90], [62, 61]) == [10, 40]


def test_everyone_is_scored_by_the_files_of_their_own_fold(tmp_path: Path) -> None:
    file = Candidate("a", tmp_path, "a", (tmp_path,))
    subjects = [Subject(name, name, "made", file, "a") for name in ("p1", "p2", "p3")]
    compared = {k: (Contender("neural", "neural", Path(f"{k}.onnx")),) for k in range(3)}
    wishes = Wishes(tmp_path, tmp_path, tmp_path)
    jobs = _jobs(wishes, subjects, {"p1": 2, "p2": 0, "p3": 2}, compared)
    scored = {job.subject.id: [one.model for _, one in job.tests] for job in jobs}
    assert scored == {"p1": [Path("2.onnx")], "p2": [Path("0.onnx")], "p3": [Path("2.onnx")]}


def test_the_slope_of_a_learning_curve_is_per_doubling() -> None:
    points = [{"people": 10 * 2**n, "mean_mm": 3.0 - 0.25 * n} for n in range(3)]
    assert per_doubling(points) == pytest.approx(0.25)
    assert per_doubling(points[:1]) is None
