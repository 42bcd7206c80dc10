"""Who works on which trial: the rules that keep trials from being lost or done twice."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from facegen_inference.errors import UserError
from facegen_training.cluster.search import Search, search_from_data
from facegen_training.cluster.study import STALE_SECONDS, StudyFolder, read_study, start_study
from facegen_training.cluster.study_page import write_page


@pytest.fixture
def search(tmp_path: Path) -> Search:
    data = {
        "study": {"manifest": "m.json", "trials": 6, "startup": 3, "pruner": "median"},
        "space": {
            "fit.learning_rate": {"log": [1e-4, 1e-2]},
            "net.width": {"choice": [8, 16, 24]},
        },
    }
    return search_from_data(data, tmp_path)


@pytest.fixture
def study(search: Search, tmp_path: Path) -> StudyFolder:
    return start_study(search, tmp_path / "study")


def age(study: StudyFolder, number: int, seconds: float) -> None:
    path = study.folder / "claims" / f"{number:04d}.json"
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_exactly_as_many_trials_as_wanted_and_none_twice(study: StudyFolder) -> None:
    claimed = [study.claim(f"worker {n}") for n in range(7)]
    assert claimed[-1] is None
    assert [c.number for c in claimed if c] == [0, 1, 2, 3, 4, 5]
    assert len({tuple(t.params.values()) for t in study.trials()}) == 6


def test_draws_depend_on_seed_and_number_not_on_who_asks(search: Search, tmp_path: Path) -> None:
    draws = []
    for name, workers in (("one", ["a"]), ("two", ["a", "b"])):
        study = start_study(search, tmp_path / name)
        for n in range(6):
            worker = f"worker {workers[n % len(workers)]}"
            claimed = study.claim(worker)
            assert claimed is not None
            study.finish(claimed, worker, TrialState.COMPLETE, float(n))
        draws.append([t.params for t in study.trials()])
    assert draws[0] == draws[1]


def test_a_worker_that_starts_again_gets_its_own_trial_back(study: StudyFolder) -> None:
    first = study.claim("slurm 7_0")
    study.claim("slurm 7_1")
    again = study.claim("slurm 7_0")
    assert first is not None
    assert again is not None
    assert again.number == first.number
    assert again.trial.params == first.trial.params


def test_a_silent_workers_trial_is_taken_up_and_it_may_say_no_more(study: StudyFolder) -> None:
    first = study.claim("slurm 7_0")
    assert first is not None
    age(study, 0, STALE_SECONDS / 2)
    fresh = study.claim("slurm 7_1")
    assert fresh is not None
    assert fresh.number == 1
    age(study, 0, STALE_SECONDS + 1)
    taken = study.claim("slurm 7_1")
    assert taken is not None
    assert taken.number == 0
    assert not study.still_mine(first, "slurm 7_0")
    assert not study.finish(first, "slurm 7_0", TrialState.COMPLETE, 1.0)
    assert study.finish(taken, "slurm 7_1", TrialState.COMPLETE, 2.0)
    assert study.trials()[0].value == 2.0


def test_touching_a_claim_keeps_it(study: StudyFolder) -> None:
    first = study.claim("slurm 7_0")
    assert first is not None
    age(study, 0, STALE_SECONDS + 1)
    assert study.still_mine(first, "slurm 7_0")
    other = study.claim("slurm 7_1")
    assert other is not None
    assert other.number == 1


def test_a_trial_whose_worker_died_before_claiming_it_is_not_lost(study: StudyFolder) -> None:
    study.claim("slurm 7_0")
    (study.folder / "claims" / "0000.json").unlink()
    orphan = study.claim("slurm 7_1")
    assert orphan is not None
    assert orphan.number == 0


def test_a_dead_process_of_this_machine_holds_nothing(study: StudyFolder) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    study.claim(f"{socket.gethostname()} {gone.stdout.strip()}")
    me = f"{socket.gethostname()} {os.getpid()}"
    taken = study.claim(me)
    assert taken is not None
    assert taken.number == 0
    other = study.claim(f"{socket.gethostname()} {os.getppid()}")
    assert other is not None
    assert other.number == 1


def test_a_released_trial_is_free_and_ended_ones_are_counted(study: StudyFolder) -> None:
    first = study.claim("slurm 7_0")
    assert first is not None
    study.release(first, "slurm 7_0")
    again = study.claim("slurm 7_1")
    assert again is not None
    assert again.number == 0
    assert study.others_running("slurm 7_0")
    study.finish(again, "slurm 7_1", TrialState.FAIL)
    assert not study.others_running("slurm 7_0")


def test_a_study_goes_on_only_with_what_it_was_started_with(
    search: Search, study: StudyFolder
) -> None:
    longer = replace(search, study=search.study.model_copy(update={"trials": 9}))
    start_study(longer, study.folder)
    assert read_study(study.folder).study.trials == 9
    for other in (
        replace(search, settings={"fit": {"steps": 3}}),
        replace(search, study=search.study.model_copy(update={"metric": "x"})),
    ):
        with pytest.raises(UserError, match="other settings"):
            start_study(other, study.folder)


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no study"):
        read_study(tmp_path)


def test_the_page_stands_alone_and_says_how_it_stands(study: StudyFolder) -> None:
    assert "No trial has finished yet." in write_page(study).read_text()
    for number, value in enumerate((3.25, 2.5, float("inf"))):
        claimed = study.claim("w")
        assert claimed is not None
        run = claimed.folder / "run"
        run.mkdir()
        lines = [f'{{"step": {n}, "validation_mm": {value + 1 / n}}}' for n in (1, 2)]
        lines[-1] = lines[-1].replace("inf", "Infinity")
        (run / "steps.jsonl").write_text("\n".join(lines) + '\n{"step": 3, "val')
        study.finish(claimed, "w", TrialState.COMPLETE, value)
        assert claimed.number == number
    failed = study.claim("w")
    assert failed is not None
    failed.trial.set_user_attr("failed", "status 2: <the disk is full>")
    study.finish(failed, "w", TrialState.FAIL)
    study.claim("w")
    page = write_page(study).read_text(encoding="utf-8")
    assert "6 trials wanted: 3 done, 1 failed, 1 not finished." in page
    assert "Best: trial 1, validation_mm 2.5." in page
    assert "&lt;the disk is full&gt;" in page
    assert page.count("<svg") == 2
    assert page.count("<polyline") == 2 + 2  # the infinite trial is in the table only
    assert re.findall(r"https?:|<script|<link|@import|src=|url\(", page) == []
    assert list(study.folder.glob("*.part")) == []
