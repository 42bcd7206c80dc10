"""Versions of runs and checkpoints, and what is left of half written ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from facegen_inference.errors import UserError
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.checkpoint import load_checkpoint, newest_checkpoint
from facegen_training.fitting.config import Config
from facegen_training.fitting.fit import fit
from facegen_training.networks.sdf_learner import SdfLearner


def as_version_1(run: Path) -> Path:
    """Rewrite a run's folder as FaceGen 0.1 wrote it, with its checkpoint of step 3 alone."""
    shutil.rmtree(run / "checkpoint-0000006")
    folder = run / "checkpoint-0000003"
    saved, _ = load_checkpoint(folder)
    data = json.loads((run / "run.json").read_text())
    config = data["config"]
    for name in ("network", "depthmap", "pix2pix3d"):
        del config[name]
    known = {"steps", "batch", "learning_rate", "weight_decay", "warmup_steps", "seed", "average"}
    known |= {"spread_weight", "band_mm", "checkpoint_every", "validate_every", "threads"}
    config["fit"] = {name: config["fit"][name] for name in known}
    old = {"config": config, "spec": data["spec"], "manifest_sha256": data["manifest_sha256"]}
    (run / "run.json").write_text(json.dumps(old))
    (folder / "checkpoint.json").write_text(json.dumps({**old, "version": 1, "step": 3}))
    for name, tensors in (("weights", saved.weights), ("average", saved.average)):
        save_file({**tensors, "mean_bone": torch.zeros(3)}, str(folder / f"{name}.safetensors"))
    return folder


def test_a_run_of_the_first_version_goes_on(people: Dataset, tiny: Config, run: Path) -> None:
    fit(people, run, tiny)
    through = load_file(str(run / "checkpoint-0000006" / "weights.safetensors"))
    learner = SdfLearner(people, tiny, run / "linear.safetensors")
    names = [f"correction.{name}" for name, _ in learner.players["correction"].named_parameters()]
    moments = load_file(str(run / "checkpoint-0000003" / "optimizer.safetensors"))
    folder = as_version_1(run)
    (folder / "optimizer.safetensors").unlink()
    kept = ("step", "exp_avg", "exp_avg_sq")
    state = {n: {m: moments[f"{name}.{m}"] for m in kept} for n, name in enumerate(names)}
    torch.save({"state": state, "param_groups": []}, folder / "optimizer.pt")

    saved, _ = load_checkpoint(folder)
    assert saved.optimizer.keys() == moments.keys()
    assert all(torch.equal(saved.optimizer[key], moments[key]) for key in moments)
    last = fit(people, run, tiny)
    assert all(
        torch.equal(value, through[key])
        for key, value in load_file(str(last / "weights.safetensors")).items()
    )
    assert json.loads((run / "run.json").read_text())["version"] == 2


@pytest.mark.parametrize("file", ["run.json", "checkpoint-0000006/checkpoint.json"])
def test_a_newer_version_is_refused_with_a_sentence(
    people: Dataset, tiny: Config, run: Path, file: str
) -> None:
    fit(people, run, tiny)
    data = json.loads((run / file).read_text())
    (run / file).write_text(json.dumps({**data, "version": 3}))
    with pytest.raises(UserError, match="version 3"):
        fit(people, run, tiny)


def test_where_it_runs_may_change_and_nothing_else(
    people: Dataset, tiny: Config, run: Path
) -> None:
    fit(people, run, tiny)
    fit(people, run, replace(tiny, fit=replace(tiny.fit, threads=1, tensorboard=False)))
    with pytest.raises(UserError, match="other settings") as caught:
        fit(people, run, replace(tiny, fit=replace(tiny.fit, clip=0.5)))
    assert caught.value.details["differing"] == ["config.fit.clip"]


def test_half_written_checkpoints_are_swept_up(people: Dataset, tiny: Config, run: Path) -> None:
    fit(people, run, tiny)
    for name in ("checkpoint-0000009.part", "checkpoint-0000001.old"):
        (run / name).mkdir()
        (run / name / "weights.safetensors").write_bytes(b"half")
    assert newest_checkpoint(run) == run / "checkpoint-0000006"
    fit(people, run, tiny)
    assert not list(run.glob("*.part"))
    assert not list(run.glob("*.old"))


def test_a_damaged_checkpoint_is_named(people: Dataset, tiny: Config, run: Path) -> None:
    last = fit(people, run, tiny)
    (last / "weights.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match="checkpoint-0000006 is not a complete checkpoint"):
        fit(people, run, tiny)
