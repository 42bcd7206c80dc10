"""Cohorts on disk: resumed, the same with any number of workers, refused where they do not fit."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from facegen_inference.errors import OutputError, UserError
from facegen_inference.progress import Cancelled
from facegen_inference.scan import open_scan
from facegen_training.cli import app
from facegen_training.synthesis import write_cohort
from facegen_training.synthesis.make_scan import scan_person
from facegen_training.synthesis.person import draw_person
from facegen_training.synthesis.scanner import ScanSize, draw_scanner
from facegen_training.synthesis.write_cohort import LIST, Cohort, synthesize

SMALL = ScanSize(48, 48, 40)


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "cohort"
    synthesize(Cohort(4, SMALL), 5, out)
    return out


def test_the_list_names_scans_that_open(made: Path) -> None:
    rows = list(csv.DictReader((made / LIST).read_text().splitlines()))
    assert [row["person"] for row in rows] == [f"synthetic-4-{n:04d}" for n in range(1, 6)]
    assert {row["source"] for row in rows} == {"synthetic"}
    assert [row["part"] for row in rows] == ["train"] * 3 + ["validation", "test"]
    assert {row["build"] for row in rows} <= {"thin", "average", "heavy"}
    volume = open_scan(made / rows[0]["scan"]).volume
    assert volume is not None
    assert not volume.warnings
    again = scan_person(draw_person(4, 0), draw_scanner(4, 0), SMALL)
    assert np.array_equal(volume.array, again.array)
    assert np.allclose(volume.patient_from_voxel, again.patient_from_voxel, atol=1e-6)


def test_the_truth_lies_beside_each(made: Path) -> None:
    truth = json.loads((made / "people/synthetic-4-0001/truth.json").read_text())
    person = draw_person(4, 0)
    assert truth["missing"]["mandible"] is (not person.mandible)
    assert len(truth["missing"]["crowns"]) == len(person.lost)
    assert truth["tissue"]["build_sd"] == pytest.approx(person.tissue.build, abs=1e-4)
    lie = np.array(truth["scan"]["patient_from_model"])
    place = lie[:3, :3] @ person.landmarks["n"] + lie[:3, 3]
    assert truth["landmarks"]["n"] == pytest.approx(place, abs=1e-3)


def test_the_same_with_two_workers(made: Path, tmp_path: Path) -> None:
    synthesize(Cohort(4, SMALL), 5, tmp_path / "two", workers=2)
    assert digest(tmp_path / "two") == digest(made)


def test_a_killed_run_goes_on(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "cohort"

    def stop(fraction: float, step: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        synthesize(Cohort(4, SMALL), 5, out, progress=stop)
    assert not (out / LIST).exists()
    done = out / "people/synthetic-4-0001"
    before = (done / "truth.json").stat().st_mtime_ns
    left = out / "people/.synthetic-4-0002.partial/scan"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    (out / "people/synthetic-4-0003/scan").mkdir(parents=True)
    synthesize(Cohort(4, SMALL), 5, out)
    assert (done / "truth.json").stat().st_mtime_ns == before
    assert digest(out) == digest(made)


def test_nifti_holds_the_same_scan(made: Path, tmp_path: Path) -> None:
    synthesize(Cohort(4, SMALL, "nifti"), 1, tmp_path / "packed")
    packed = open_scan(tmp_path / "packed/people/synthetic-4-0001/scan.nii.gz").volume
    series = open_scan(made / "people/synthetic-4-0001/scan").volume
    assert packed is not None
    assert series is not None
    assert np.array_equal(packed.array, series.array)
    assert np.allclose(packed.patient_from_voxel, series.patient_from_voxel, atol=1e-3)


def test_other_settings_need_another_folder(made: Path, tmp_path: Path) -> None:
    before = digest(made)
    with pytest.raises(OutputError, match="other settings"):
        synthesize(Cohort(5, SMALL), 1, made)
    assert digest(made) == before
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        synthesize(Cohort(4, SMALL), 1, tmp_path)


def test_a_full_disk_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9e9, 8.7e9, 3e8))
    monkeypatch.setattr(write_cohort, "make_person", lambda task: pytest.fail("began to work"))
    with pytest.raises(OutputError, match=r"100 heads need up to 5\.4 GB, and 0\.3 GB are free"):
        synthesize(Cohort(4, ScanSize(512, 512, 102)), 100, tmp_path / "big")


def test_the_bound_on_disk_holds(made: Path) -> None:
    folder = made / "people/synthetic-4-0001"
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert used <= Cohort(4, SMALL).bytes_each() <= 2.5 * used


def test_the_command_takes_presets_and_sizes(tmp_path: Path) -> None:
    out = tmp_path / "cohort"
    run = CliRunner().invoke(
        app, ["synthesize", "--out", str(out), "--people", "1", "--size", "48x40x32",
              "--format", "nifti", "--workers", "1"],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    assert run.output.strip().endswith("cohort.csv")
    volume = open_scan(out / "people/synthetic-0-0001/scan.nii.gz").volume
    assert volume is not None
    assert volume.array.shape == (32, 48, 40)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--size", "48x40"],
        ["--size", "0x40x40"],
        ["--preset", "100x100x100"],
        ["--preset", "128x128x128", "--size", "48x48x40"],
        ["--format", "tiff"],
        ["--seed", "-1"],
        ["--people", "0"],
        ["--size", "8x8x8"],
        ["--spacing", "two"],
    ],
)
def test_what_cannot_be_made_is_refused(wrong: list[str], tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["synthesize", "--out", str(tmp_path / "x"), *wrong])
    assert isinstance(run.exception, UserError)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("people", range(3, 12))
def test_three_or_more_people_train_validate_and_test(people: int) -> None:
    parts = [write_cohort.part_of(number, people) for number in range(people)]
    assert set(parts) == {"train", "validation", "test"}
