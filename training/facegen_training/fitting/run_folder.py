"""The folder of a run: the settings it was started with, and that it is only resumed with these."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from facegen_inference.errors import UserError
from facegen_training.cohort.dataset import Dataset, write_json
from facegen_training.fitting.config import MACHINE, Config, FitConfig, config_from_data

RUN_VERSION = 2
RUN = "run.json"
PATIENCE_S = 30.0
"""How long a run that another process is ending is waited for."""
UNKNOWN = "data of unknown origin"
"""Source of whatever went into weights that do not say; never on the allow-list."""


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
        "sources": sources_of(data, start),
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
        if not {"config", "spec", "manifest_sha256", "start", "sources"} <= settings.keys():
            raise ValueError("incomplete")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{RUN} of the run {run.name} is damaged.", "Start another run.", reason=error
        ) from error
    return dict(settings)


def upgrade_run_1(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run of FaceGen 0.1 with what has been added since at its default."""
    config = config_from_data(settings["config"]).as_data()
    added = {"version": RUN_VERSION, "config": config, "start": None, "sources": [UNKNOWN]}
    return {**settings, **added}


@contextmanager
def only_one(run: Path) -> Iterator[None]:
    """Keep the run's folder to this process until the end.

    The lock goes with the process, however it ends; one that is just ending is waited for.  Where
    the file system cannot lock, nothing is kept.

    Raises
    ------
    UserError
        When another process trains the run.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    run.mkdir(parents=True, exist_ok=True)
    with (run / ".lock").open("w") as file:
        waited = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() < waited:
                    time.sleep(0.2)
                    continue
                raise UserError(
                    "Another process is training this run.",
                    "Wait until it has ended, or give another run folder.",
                ) from error
            except OSError:
                pass  # a network folder without locks
            break
        try:
            yield
        finally:
            (run / ".lock").unlink(missing_ok=True)


def sources_of(data: Dataset, start: dict[str, Any] | None) -> list[str]:
    """Return whose data are in a run's weights: its people's sources and those of its start.

    People of the part ``validation`` count: the model's offset and bands come from them.
    """
    rows = [*data.rows("train"), *data.rows("validation")]
    own = {data.people[row].source for row in rows}
    return sorted(own | set([] if start is None else start.get("sources", [UNKNOWN])))


def config_of_run(settings: dict[str, Any]) -> Config:
    """Return the configuration in a run's or a checkpoint's settings."""
    return config_from_data(settings["config"])


def _compared(settings: dict[str, Any]) -> dict[str, Any]:
    config = config_of_run(settings)
    plain = {name: getattr(FitConfig(), name) for name in MACHINE}
    config = replace(config, fit=replace(config.fit, **plain))
    kept = {key: value for key, value in settings.items() if key != "sources"}  # the data's own
    return {**kept, "config": config.as_data()}


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for key in sorted(before.keys() | now.keys()):
        a, b = before.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found.extend(f"{key}.{inner}" for inner in _differing(a, b))
        elif a != b:
            found.append(key)
    return found
