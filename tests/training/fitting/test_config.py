from __future__ import annotations

from pathlib import Path

import pytest

from facegen_inference.errors import UserError
from facegen_training.fitting.config import (
    MACHINE,
    Config,
    FitConfig,
    config_from_data,
    read_config,
    shipped_recipe,
)
from facegen_training.fitting.loader import worker_count


def test_settings_survive_the_way_to_plain_data_and_back() -> None:
    config = config_from_data({"fit": {"steps": 7}, "linear": {"ridges": [1, 2.5]}})
    assert config.fit.steps == 7
    assert config_from_data(config.as_data()) == config


def test_what_is_left_out_keeps_its_default() -> None:
    assert config_from_data({}) == Config()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"stepz": 1}, "stepz"),
        ({"fit": {"lr": 1}}, "fit.lr"),
        ({"fit": 3}, "fit"),
        ({"fit": {"steps": 1.5}}, "fit.steps"),
        ({"fit": {"steps": True}}, "fit.steps"),
        ({"name": 3}, "name"),
        ({"network": "unet"}, "network cannot be 'unet'"),
        ({"fit": {"precision": "fp16"}}, "fit.precision"),
        ({"fit": {"strategy": "fsdp"}}, "fit.strategy"),
        ({"fit": {"accumulate": 0}}, "fit.accumulate"),
        ({"fit": {"betas": [0.9]}}, "fit.betas"),
    ],
)
def test_unknown_keys_and_wrong_kinds_are_refused(data: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        config_from_data(data)


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(UserError, match=r"bad\.toml"):
        read_config(tmp_path / "bad.toml")


def test_the_settings_of_the_shipped_model_can_be_read() -> None:
    assert read_config(shipped_recipe()).name == "facegen-face"


def test_every_setting_of_the_machine_is_one_of_the_fit() -> None:
    assert set(MACHINE) <= set(vars(FitConfig()))


def test_processes_are_made_for_gpus_alone_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert worker_count(FitConfig()) == 0
    assert worker_count(FitConfig(workers=3)) == 3
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(80)), raising=False)
    assert worker_count(FitConfig()) == 8
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    assert worker_count(FitConfig()) == 1
