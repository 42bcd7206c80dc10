"""Fine-tuning: a run that begins from a model file or from another run's checkpoint."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from egg_heads import synthesize
from safetensors.torch import load_file

from facegen_inference.card import Calibration, ErrorRow
from facegen_inference.errors import UserError
from facegen_inference.network import default_model, open_model
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.provenance import sha256_of
from facegen_training.cohort.dataset import Dataset, read_dataset
from facegen_training.export import compare, export, export_run, make_card, trained_of_run
from facegen_training.fitting.calibrate import calibrate
from facegen_training.fitting.config import Config, WindowedConfig, config_from_data
from facegen_training.fitting.fit import fit
from facegen_training.fitting.start import resumed_config
from facegen_training.fitting.training import Aids
from facegen_training.networks.linear_file import load_linear


@pytest.fixture
def others(people: Dataset, tmp_path: Path) -> Dataset:
    """Other people on the same grid, none of them in the part validation."""
    data = read_dataset(synthesize(tmp_path / "others", people.spec, people=8, seed=5))
    kept = tuple(p if p.part != "validation" else replace(p, part="test") for p in data.people)
    return replace(data, people=kept)


@pytest.fixture
def one_step(tiny: Config) -> Config:
    return replace(tiny, fit=replace(tiny.fit, steps=1, batch=1, tensorboard=False))


def exported(data: Dataset, checkpoint: Path, out: Path, half: bool = False) -> Path:
    trained = trained_of_run(data, checkpoint)
    trained.network.offset_mm += 0.123456
    bands = Calibration(
        factor50=1, factor90=1, people=1, note="none", offset_mm=round(trained.network.offset_mm, 3)
    )
    card = make_card(data, trained, "tiny", "0.0.1", False, (), "Not measured.", bands)
    examples = np.stack([data.fields(0)[:2].numpy()])
    export(trained, card, examples, out, half)
    return out


def test_the_shipped_model_is_begun_from_and_left_as_it_is(
    tmp_path: Path, one_step: Config
) -> None:
    shipped = open_model(default_model())
    data = read_dataset(synthesize(tmp_path / "people", shipped.spec, people=2))
    fit(data, tmp_path / "run", one_step, Aids(start=shipped.path))
    trained = trained_of_run(data, tmp_path / "run" / "checkpoint-0000000")
    skull = data.fields(0)[:2].numpy()
    cut = skull.copy()
    cut[0, :40], cut[1, :40] = shipped.spec.clip_mm, 0
    parity = compare(trained.network, shipped.path, np.stack([skull, cut]))
    assert parity.mean_mm < 1e-4
    assert parity.relative < 1e-4
    after = trained_of_run(data, tmp_path / "run" / "checkpoint-0000001")
    assert compare(after.network, shipped.path, np.stack([skull])).mean_mm > parity.mean_mm


@pytest.mark.parametrize("half", [False, True])
def test_a_model_file_is_gone_on_from(
    people: Dataset, others: Dataset, tiny: Config, one_step: Config, tmp_path: Path, half: bool
) -> None:
    first = fit(people, tmp_path / "first", tiny)
    model = exported(people, first, tmp_path / "first.onnx", half)
    run = tmp_path / "second"
    wide = replace(one_step, net=replace(tiny.net, width=64))  # the model's own size is taken
    fit(others, run, wide, Aids(start=model))

    begun = load_file(str(run / "checkpoint-0000000" / "weights.safetensors"))
    average = load_file(str(first / "average.safetensors"))
    for key, values in average.items():
        assert torch.allclose(begun[key], values, rtol=1e-3 if half else 0, atol=1e-6), key
    trained = trained_of_run(others, run / "checkpoint-0000000")
    assert trained.network.offset_mm == pytest.approx(0.123456, abs=1e-6)
    assert compare(trained.network, model, people.fields(0)[None, :2].numpy()).max_mm < 1e-3

    record = json.loads((run / "run.json").read_text())["start"]
    assert record["name"] == "first.onnx"
    assert record["sha256"] == sha256_of(model)
    second = exported(others, run / "checkpoint-0000001", tmp_path / "second.onnx")
    text = open_model(second).card.training_population.description
    assert f"Fine-tuned from first.onnx (SHA-256 {sha256_of(model)})." in text
    notes = {item.key: item.value for item in onnx.load(str(second)).metadata_props}
    assert json.loads(notes["facegen_training"])["start"] == record

    # Its linear part has seen none of these people: it calibrates, though no one is left out.
    linear = load_linear(run / "linear.safetensors")
    assert linear.fold_of == {}
    assert calibrate(others, trained.learner, trained.network).people == len(others.rows("train"))


def test_a_fine_tuned_run_is_resumed_without_naming_its_start(
    people: Dataset, others: Dataset, tiny: Config, tmp_path: Path
) -> None:
    first = fit(people, tmp_path / "first", tiny)
    run = tmp_path / "second"
    half_way = fit(others, run, tiny, Aids(start=first))
    weights = load_file(str(half_way / "weights.safetensors"))
    for leftover in (half_way, run / "checkpoint-0000003"):
        assert leftover.exists()
    shutil.rmtree(half_way)
    again = load_file(str(fit(others, run, tiny) / "weights.safetensors"))
    assert all(torch.equal(again[key], weights[key]) for key in weights)
    other_start = tmp_path / "first" / "checkpoint-0000003"
    with pytest.raises(UserError, match="other settings"):
        fit(others, run, tiny, Aids(start=other_start))


def test_the_same_people_keep_their_folds_and_others_get_their_own(
    people: Dataset, others: Dataset, tiny: Config, one_step: Config, tmp_path: Path
) -> None:
    first = fit(people, tmp_path / "first", tiny)
    fit(people, tmp_path / "same", one_step, Aids(start=first))
    fit(others, tmp_path / "others", one_step, Aids(start=first))
    folds = [load_linear(tmp_path / r / "linear.safetensors").fold_of for r in ("same", "others")]
    assert folds[0].keys() == set(people.rows("train"))
    assert folds[1].keys() == set(others.rows("train"))


@pytest.fixture
def windowed(one_step: Config) -> Config:
    """Settings with a windowed ridge; the network hardly learns."""
    ridge = WindowedConfig(share=0.5, windows_mm=(16.0, 40.0), rank=20, ridges=(0.1,))
    return replace(one_step, windowed=ridge)


def test_the_windowed_ridge_of_a_model_file_comes_along(
    people: Dataset, others: Dataset, windowed: Config, one_step: Config, tmp_path: Path
) -> None:
    fit(people, tmp_path / "first", windowed)
    model = tmp_path / "first.onnx"
    export_run(people, tmp_path / "first", model)
    run = tmp_path / "second"
    fit(others, run, one_step, Aids(start=model))  # its own settings have no ridge

    begun = trained_of_run(others, run / "checkpoint-0000000").network
    examples = np.stack([data.fields(0)[:2].numpy() for data in (people, others)])
    assert compare(begun, model, examples).max_mm < 1e-3
    begun.windowed = None  # type: ignore[attr-defined]  # the protocol knows no ridge
    assert compare(begun, model, examples).max_mm > 0.5
    assert resumed_config(run, one_step).windowed == windowed.windowed


def test_the_windowed_ridge_of_a_checkpoint_comes_along(
    people: Dataset, windowed: Config, one_step: Config, tmp_path: Path
) -> None:
    first = fit(people, tmp_path / "first", windowed)
    fit(people, tmp_path / "second", one_step, Aids(start=first))
    before = trained_of_run(people, first)
    begun = trained_of_run(people, tmp_path / "second" / "checkpoint-0000000")
    row = people.rows("train")[0]
    skull, latent = people.fields(row)[None, :2], torch.zeros(1, before.network.latent_size)
    with torch.no_grad():
        for wanted, given in zip(
            before.network(skull, latent), begun.network(skull, latent), strict=True
        ):
            assert torch.equal(given, wanted)
    # What it says of people it never saw is kept as well: the bands need it.
    unseen = [one.learner.unseen(row, one.network) for one in (before, begun)]
    assert unseen[0] is not None
    assert unseen[1] is not None
    assert torch.equal(unseen[0][0], unseen[1][0])


@pytest.fixture
def first(people: Dataset, tiny: Config, tmp_path: Path) -> Path:
    return fit(people, tmp_path / "first", tiny)


def test_another_preprocessing_is_refused(
    one_step: Config, tmp_path: Path, coarse_spec: PreprocessSpec, first: Path
) -> None:
    spec = replace(coarse_spec, spacing_mm=7.0)
    data = read_dataset(synthesize(tmp_path / "finer", spec, people=2))
    with pytest.raises(UserError, match="another preprocessing"):
        fit(data, tmp_path / "run", one_step, Aids(start=first))


def test_another_network_is_refused(
    people: Dataset, one_step: Config, tmp_path: Path, first: Path
) -> None:
    other = replace(one_step, network="pix2pix3d")
    with pytest.raises(UserError, match="is a network sdf, not pix2pix3d"):
        fit(people, tmp_path / "run", other, Aids(start=first))
    assert not (tmp_path / "run").exists()  # nothing of the refused model stays behind


def test_what_a_model_began_from_is_on_its_card_and_at_the_gate(
    people: Dataset, others: Dataset, one_step: Config, tmp_path: Path, first: Path
) -> None:
    cleared = replace(others, people=tuple(replace(p, source="OpenKBP") for p in others.people))
    model = exported(people, first, tmp_path / "first.onnx")
    row = ErrorRow(
        method="neural", people=2, mean_mm=2, median_mm=1, p95_mm=6, below_2mm_percent=60,
        below_2_5mm_percent=70,
    )  # fmt: skip
    bands = Calibration(factor50=1, factor90=1, people=1, note="none")
    for name, start in (("from-model", model), ("from-checkpoint", first)):
        last = fit(cleared, tmp_path / name, one_step, Aids(start=start))
        trained = trained_of_run(cleared, last)
        card = make_card(cleared, trained, "tuned", "1.0.0", False, (row,), "Test.", bands)
        assert [source.name for source in card.sources] == ["OpenKBP", "synthetic"]
        with pytest.raises(UserError, match="synthetic is not on the list"):
            make_card(cleared, trained, "tuned", "1.0.0", True, (row,), "Test.", bands)
    plain = trained_of_run(cleared, fit(cleared, tmp_path / "plain", one_step))
    make_card(cleared, plain, "own", "1.0.0", True, (row,), "Test.", bands)


def test_nobody_to_learn_from_is_said(people: Dataset, one_step: Config, tmp_path: Path) -> None:
    nobody = replace(people, people=tuple(replace(p, part="test") for p in people.people))
    with pytest.raises(UserError, match="no one to learn from"):
        fit(nobody, tmp_path / "run", one_step)
    assert not (tmp_path / "run").exists()


def test_a_gan_goes_on_from_its_own_checkpoint_or_model_file(
    people: Dataset, tmp_path: Path, tiny: Config
) -> None:
    data = tiny.as_data()
    data["network"] = "pix2pix3d"
    data["pix2pix3d"] |= {"ngf": 4, "ndf": 4, "depth": 2}
    data["windowed"] |= {"share": 0.5}  # of the other network: nothing of it is in the file
    data["fit"] |= {"steps": 2, "tensorboard": False}
    config = config_from_data(data)
    first = fit(people, tmp_path / "first", config)
    weights = load_file(str(first / "weights.safetensors"))
    average = load_file(str(first / "average.safetensors"))
    for name, start in (
        ("from-checkpoint", first),
        ("from-model", exported(people, first, tmp_path / "gan.onnx")),
    ):
        fit(people, tmp_path / name, config, Aids(start=start))
        begun = load_file(str(tmp_path / name / "checkpoint-0000000" / "weights.safetensors"))
        assert begun.keys() == weights.keys()
        for key in average:
            assert torch.equal(begun[key], average[key]), key
        judges = [key for key in weights if key.startswith("discriminator.")]
        same = [torch.equal(begun[key], weights[key]) for key in judges]
        assert all(same) == (name == "from-checkpoint")  # a model file holds no discriminator
