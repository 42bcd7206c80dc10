from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from facegen_inference.errors import UserError
from facegen_training.cluster.search import read_search, search_from_data, write_settings
from facegen_training.fitting.config import read_config

SWEEP = """
[study]
manifest = "prepared/manifest.json"
trials = 8
prune_after = [3, 2]

[settings]
name = "it's \\"quoted\\""
[settings.fit]
steps = 20
[settings.linear]
ridges = [0.1, 1.0]

[space]
"fit.learning_rate" = { log = [1e-4, 1e-2] }
"net.width" = { choice = [8, 16] }
"linear.rank" = { int = [4, 8] }
"fit.spread_weight" = { float = [0, 0.5] }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP)
    return path


def test_a_file_is_read_and_survives_as_plain_data(file: Path, tmp_path: Path) -> None:
    search = read_search(file)
    assert search.study.manifest == str(tmp_path / "prepared" / "manifest.json")
    assert search.space["fit.spread_weight"].values == (0.0, 0.5)
    assert search_from_data(search.as_data(), Path("elsewhere")) == search


def test_a_trials_settings_are_what_fit_reads(file: Path, tmp_path: Path) -> None:
    search = read_search(file)
    settings = search.settings_of({"fit.learning_rate": 3e-4, "net.width": 16})
    assert search.settings == tomllib.loads(SWEEP)["settings"]  # not changed by a trial
    write_settings(tmp_path / "settings.toml", settings)
    config = read_config(tmp_path / "settings.toml")
    assert (config.fit.steps, config.fit.learning_rate, config.net.width) == (20, 3e-4, 16)
    assert config.linear.ridges == (0.1, 1.0)
    assert config.name == 'it\'s "quoted"'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"study": {"manifest": "m", "trials": 8, "trails": 3}}, "trails"),
        ({"study": {"manifest": "m"}}, "trials"),
        ({"study": {"manifest": "m", "trials": "8"}}, "trials"),
        ({"stduy": {}}, "stduy"),
        ({"space": {}}, "nothing to try"),
        ({"space": {"fit.learning_rat": {"log": [1e-4, 1e-2]}}}, "learning_rat"),
        ({"space": {"fit.steps": {"float": [1, 2]}}}, r"fit\.steps"),
        ({"space": {"fit.steps": {"int": [2.5, 3]}}}, r"fit\.steps"),
        ({"space": {"fit.learning_rate": {"log": [0, 1]}}}, "low, high.*above 0"),
        ({"space": {"fit.learning_rate": {"log": [1e-2, 1e-4]}}}, "low, high"),
        ({"space": {"fit.learning_rate": [1, 2]}}, "must name one of"),
        ({"space": {"net.width": {"choice": [8, 8]}}}, "nothing to choose"),
        ({"settings": {"fit": {"step": 1}}}, r"fit\.step"),
    ],
)
def test_what_would_fail_in_every_trial_is_refused_before(
    file: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        search_from_data({**tomllib.loads(SWEEP), **change}, file.parent)


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[study")
    with pytest.raises(UserError, match=r"bad\.toml cannot be read"):
        read_search(tmp_path / "bad.toml")
