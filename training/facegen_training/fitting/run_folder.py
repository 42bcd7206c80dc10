"""The folder of a run: the settings it was started with, and that it is only resumed with these."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from facegen_inference.errors import UserError
from facegen_training.cohort.dataset import Dataset, write_json
from facegen_training.fitting.config import MACHINE, Config, FitConfig, config_from_data

RUN_VERSION = 2
RUN = "run.json"


def start_run(
    run: Path, data: Dataset, config: Config, start: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Make the run's folder, or check that it was started with the same settings and data.

    Parameters
    ----------
    run
        Folder.
    data, config
        Of the run; what says where it runs (`MACHINE`) may change.
    start
        What is to be kept of the model it starts from; None takes what the folder has.

    Returns
    -------
    What run.json holds, which goes into every checkpoint as well.

    Raises
    ------
    UserError
        When the run was started with something else.
    """
    before = read_run(run)
    if start is None and before is not None:
        start = before["start"]
    settings = {
        "version": RUN_VERSION,
        "config": config.as_data(),
        "spec": data.spec.to_json(),
        "manifest_sha256": data.manifest_sha256,
        "start": start,
    }
    if before is not None and _compared(before) != _compared(settings):
        raise UserError(
            "This run was started with other settings or other data.",
            f"Give another run folder, or the settings in its {RUN}.",
            differing=_differing(_compared(before), _compared(settings)),
        )
    path = run / RUN
    if before is None or json.loads(path.read_text(encoding="utf-8")) != settings:
        run.mkdir(parents=True, exist_ok=True)
        write_json(path, settings)
    return settings


def read_run(run: Path) -> dict[str, Any] | None:
    """Return what run.json holds, upgraded to this version; None where there is none.

    Raises
    ------
    UserError
        When it is damaged or of a newer version.
    """
    path = run / RUN
    if not path.exists():
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        version = settings.get("version", 1)
        if version == 1:
            settings = upgrade_run_1(settings)
        elif version != RUN_VERSION:
            raise UserError(
                f"The run {run.name} is of version {version}.",
                f"This program reads versions up to {RUN_VERSION}.",
            )
        if not {"config", "spec", "manifest_sha256", "start"} <= settings.keys():
            raise ValueError("incomplete")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{RUN} of the run {run.name} is damaged.", "Start another run.", reason=error
        ) from error
    return dict(settings)


def upgrade_run_1(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run of FaceGen 0.1 with what has been added since at its default."""
    config = config_from_data(settings["config"]).as_data()
    return {**settings, "version": RUN_VERSION, "config": config, "start": None}


def config_of_run(settings: dict[str, Any]) -> Config:
    """Return the configuration in a run's or a checkpoint's settings."""
    return config_from_data(settings["config"])


def _compared(settings: dict[str, Any]) -> dict[str, Any]:
    config = config_of_run(settings)
    plain = {name: getattr(FitConfig(), name) for name in MACHINE}
    config = replace(config, fit=replace(config.fit, **plain))
    return {**settings, "config": config.as_data()}


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for key in sorted(before.keys() | now.keys()):
        a, b = before.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found.extend(f"{key}.{inner}" for inner in _differing(a, b))
        elif a != b:
            found.append(key)
    return found
