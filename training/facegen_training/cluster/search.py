"""What a sweep tries: one TOML file with the study, the settings that stay and the search space.

[study]
manifest = "prepared/manifest.json"
trials = 40
metric = "validation_mm"

[settings.fit]                      # as in a run's own file; what is left out keeps its default
steps = 2000

[space]
"fit.learning_rate" = { log = [1e-4, 1e-2] }
"fit.spread_weight" = { float = [0.0, 0.5] }
"linear.rank" = { int = [8, 48] }
"net.width" = { choice = [16, 24, 32] }
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facegen_inference.errors import UserError
from facegen_training.fitting.config import config_from_data, read_toml

Kind = Literal["float", "log", "int", "choice"]
KINDS: tuple[Kind, ...] = ("float", "log", "int", "choice")
Value = float | int | str | bool


class StudyOptions(BaseModel):
    """The table ``[study]``.

    Attributes
    ----------
    manifest
        Of the prepared people; relative to the file that names it.
    trials
        How many in all.
    metric
        Key of a line in ``steps.jsonl``.
    direction
        ``minimize`` or ``maximize``.
    take
        A trial's value: the ``last`` of its metric, or the ``best``.
    sampler
        ``tpe`` (learns from what was tried) or ``random``.
    startup
        Random trials before ``tpe`` learns.
    seed
        Of the sampler; the trial's number is added.
    pruner
        ``none``, or ``median``: stop a trial that is worse than the median at the same step.
    prune_after
        Steps and trials that are never pruned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    manifest: str
    trials: int = Field(gt=0)
    metric: str = "validation_mm"
    direction: Literal["minimize", "maximize"] = "minimize"
    take: Literal["last", "best"] = "last"
    sampler: Literal["tpe", "random"] = "tpe"
    startup: int = Field(default=10, ge=0)
    seed: int = Field(default=0, ge=0)
    pruner: Literal["none", "median"] = "none"
    prune_after: tuple[int, int] = (0, 5)


@dataclass(frozen=True)
class Range:
    """The values one setting may take: two ends, or a list to choose from."""

    kind: Kind
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Search:
    """A sweep's file, read and checked."""

    study: StudyOptions
    settings: dict[str, Any] = field(default_factory=dict)
    space: dict[str, Range] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data, as `search_from_data` takes it."""
        space = {key: {span.kind: list(span.values)} for key, span in self.space.items()}
        return {
            "study": self.study.model_dump(mode="json"),
            "settings": self.settings,
            "space": space,
        }

    def settings_of(self, values: dict[str, Value]) -> dict[str, Any]:
        """Return a trial's settings: those that stay, with the trial's values set."""
        merged = copy.deepcopy(self.settings)
        for key, value in values.items():
            *tables, name = key.split(".")
            place = merged
            for table in tables:
                place = place.setdefault(table, {})
            place[name] = value
        return merged


def read_search(path: Path) -> Search:
    """Read and check a sweep's file; every end of every range must make valid settings.

    Raises
    ------
    UserError
        For an unreadable file, an unknown key, or a value that fit would refuse.
    """
    return search_from_data(read_toml(path), path.parent)


def search_from_data(data: dict[str, Any], where: Path) -> Search:
    """Check a sweep's plain data; paths in it are relative to the folder `where`.

    Raises
    ------
    UserError
        See `read_search`.
    """
    unknown = sorted(set(data) - {"study", "settings", "space"})
    if unknown:
        raise UserError(f"Unknown table {unknown[0]} in a sweep.", "Known: study, settings, space.")
    try:
        options = StudyOptions.model_validate_json(json.dumps(data.get("study", {})))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"The sweep's study.{'.'.join(map(str, first['loc']))}: {first['msg']}.",
            "docs/training.md shows a sweep's file.",
        ) from error
    space = {key: _range(key, given) for key, given in data.get("space", {}).items()}
    if not space:
        raise UserError("The sweep has nothing to try.", "Add a table [space].")
    options = options.model_copy(update={"manifest": str((where / options.manifest).absolute())})
    search = Search(options, data.get("settings", {}), space)
    for key, span in space.items():
        for value in span.values:
            config_from_data(search.settings_of({key: value}))
    return search


def _range(key: str, given: object) -> Range:
    advice = 'Write for example { log = [1e-4, 1e-2] } or { choice = ["a", "b"] }.'
    if not isinstance(given, dict) or len(given) != 1 or not set(given) <= set(KINDS):
        raise UserError(f"space.{key} must name one of {', '.join(KINDS)}.", advice)
    kind, values = next(iter(given.items()))
    plain = (float, int) if kind in ("float", "log") else int if kind == "int" else Value
    if not isinstance(values, list) or not all(isinstance(v, plain) for v in values):
        raise UserError(f"space.{key} has values that are not of the kind {kind}.", advice)
    if kind == "choice":
        if len(set(values)) < 2:
            raise UserError(f"space.{key} leaves nothing to choose.", advice)
    elif len(values) != 2 or values[0] >= values[1] or (kind == "log" and values[0] <= 0):
        raise UserError(f"space.{key} must be [low, high], and above 0 for log.", advice)
    if kind in ("float", "log"):
        values = [float(value) for value in values]
    return Range(kind, tuple(values))


def write_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write a trial's settings as the TOML file that ``facegen-train fit`` reads."""
    write_whole(path, "\n".join(_toml(settings, "")) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _toml(table: dict[str, Any], name: str) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    # JSON's strings, numbers, booleans and lists are TOML's too.
    lines = [f"[{name}]"] if name and plain else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _toml(value, f"{name}.{key}" if name else key)
    return lines
