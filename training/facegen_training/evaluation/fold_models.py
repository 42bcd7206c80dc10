"""What learns, fitted anew for each fold on people that the fold does not score.

Everything lies under ``DIR/folds/<digest>/fold-K/``, where the digest is of the people, the fold
and the settings: a run that was killed goes on, another one finds what is done, and a changed
setting finds an empty folder.  What is fitted are the mean skin, the template and each learned
network, by the code of ``facegen-train fit`` and ``export``.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from facegen_inference.errors import UserError
from facegen_inference.progress import Progress, silent
from facegen_training.cohort.dataset import Dataset, read_dataset, write_json
from facegen_training.cohort.folds import FOLDS, folded, hash_order
from facegen_training.cohort.pool import each, worker_pool
from facegen_training.evaluation.contenders import (
    LEARNED,
    TEMPLATE,
    USES_ATLAS,
    Contender,
    check_methods,
    in_order,
)
from facegen_training.evaluation.fold_atlas import atlas_of, fitted_rows, write_atlas

FOLD_VERSION = 1
"""Raised when the same settings would be fitted otherwise."""
ATLAS_FILE, TEMPLATE_FILE = "atlas.npz", "template.npz"


@dataclass(frozen=True)
class Source:
    """Where the people to fit on come from.

    Attributes
    ----------
    manifest
        Of the prepared people.
    key
        Key file of an encrypted cohort.
    most_train
        So many training people at most, the first in hash order: for the learning curve.
    """

    manifest: Path
    key: Path | None = None
    most_train: int | None = None

    def read(self, fold: int) -> Dataset:
        """Return one fold's people."""
        data = folded(read_dataset(self.manifest, self.key), fold)
        if self.most_train is None:
            return data
        train = hash_order({data.people[row].whose for row in data.rows("train")})
        return _only(data, set(train[: self.most_train]))

    def counts(self) -> dict[int, dict[str, int]]:
        """Return fold → part → how many people are in it."""
        prepared = read_dataset(self.manifest, self.key)
        found = {}
        for fold in range(FOLDS):
            people = {person.whose: person.part for person in folded(prepared, fold).people}
            found[fold] = dict(Counter(people.values()))
        return found


def _only(data: Dataset, train: set[str]) -> Dataset:
    """Return people without those who train and are not named."""
    rows = [n for n, p in enumerate(data.people) if p.part != "train" or p.whose in train]
    about = json.dumps([data.manifest_sha256, sorted(train)])
    return replace(
        data,
        people=tuple(data.people[n] for n in rows),
        stored=tuple(data.stored[n] for n in rows),
        manifest_sha256=hashlib.sha256(about.encode()).hexdigest(),
    )


@dataclass(frozen=True)
class Recipe:
    """One thing to fit.

    Attributes
    ----------
    name
        ``atlas``, ``template`` or the name of a learned method.
    config
        TOML file of the settings of a learned method.
    sharp_mm
        For its card; see `facegen_inference.card.Calibration`.
    """

    name: str
    config: Path | None = None
    sharp_mm: float = 0.0

    @property
    def file(self) -> str:
        """Name of what is made."""
        if self.config is not None:
            return f"{self.name}.onnx"
        return ATLAS_FILE if self.name == "atlas" else TEMPLATE_FILE

    def settings(self) -> Any:
        """Return what decides the result, as plain data."""
        if self.config is None:
            return self.name
        from facegen_training.fitting.config import MACHINE, read_config

        config = read_config(self.config).as_data()
        kept = {k: v for k, v in config["fit"].items() if k not in MACHINE}
        return [{**config, "fit": kept}, self.sharp_mm]


Task = tuple[int, Recipe]
"""A fold and what is fitted on it."""


def recipes(methods: Sequence[str], learn: Sequence[str], sharp_mm: float = 0.0) -> list[Recipe]:
    """Return what is to be fitted for built-in methods and ``NAME=FILE`` of learned ones.

    Raises
    ------
    UserError
        For an unknown method, a missing file, or a name that is taken.
    """
    check_methods(methods)
    found = []
    if any(method in USES_ATLAS for method in methods):
        found.append(Recipe("atlas"))
    if TEMPLATE in methods:
        found.append(Recipe("template"))
    for text in learn:
        name, _, file = text.rpartition("=")
        if not name or not Path(file).is_file():
            raise UserError(f"There is no recipe {text}.", "Give --learn NAME=CONFIG.toml.")
        if name in {one.name for one in found} | {*USES_ATLAS, TEMPLATE, "atlas"}:
            raise UserError(f"Two methods are called {name}.", "Give another name: NAME=FILE.")
        found.append(Recipe(name, Path(file), sharp_mm))
    return found


def fold_file(recipe: Recipe, data: Dataset, fold: int, out: Path) -> Path:
    """Return where a fold's file of a recipe lies.

    Parameters
    ----------
    recipe
        What is fitted.
    data
        The fold's people.
    fold
        0 to 4.
    out
        Folder of the evaluation.
    """
    about = [FOLD_VERSION, data.manifest_sha256, fold, recipe.settings()]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    return out / "folds" / digest / f"fold-{fold}" / recipe.file


def fit_one(task: Task, source: Source, out: Path, threads: int = 0) -> Path:
    """Fit one recipe on one fold, unless it is there; return the file."""
    fold, recipe = task
    data = source.read(fold)
    path = fold_file(recipe, data, fold, out)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    if recipe.config is not None:
        return _fit_network(recipe, data, path, threads)
    if recipe.name == "atlas":
        return write_atlas(atlas_of(data), path)
    from facegen_training.template.fit_template import fit_template

    return fit_template(data, fitted_rows(data), path)


def _fit_network(recipe: Recipe, data: Dataset, path: Path, threads: int) -> Path:
    """Fit and export as the commands do, without what only watches a run."""
    from facegen_training.export import Wishes, export_run
    from facegen_training.fitting.config import read_config
    from facegen_training.fitting.fit import fit

    assert recipe.config is not None
    config = read_config(recipe.config)
    plain = replace(config.fit, tensorboard=False, pictures=0)
    if threads:
        plain = replace(plain, threads=threads, devices=1, nodes=1, workers=0)
    run = path.with_suffix(".run")
    fit(data, run, replace(config, fit=plain))
    export_run(data, run, path, Wishes(name=recipe.name, sharp_mm=recipe.sharp_mm))
    return path


def fit_folds(
    source: Source,
    folds: Sequence[int],
    wanted: Sequence[Recipe],
    out: Path,
    workers: int = 1,
    progress: Progress = silent,
) -> dict[int, dict[str, Path]]:
    """Fit what is missing, several at a time, and return fold → recipe's name → file.

    Raises
    ------
    UserError
        The first that a fit met.
    """
    found: dict[int, dict[str, Path]] = {fold: {} for fold in folds}
    tasks = []
    for recipe in wanted:
        for fold in folds:
            path = fold_file(recipe, source.read(fold), fold, out)
            if path.exists():
                found[fold][recipe.name] = path
            else:
                tasks.append((fold, recipe))
    if not tasks:
        return found
    results = _in_turn if workers == 1 or len(tasks) == 1 else partial(_side_by_side, workers)
    for number, ((fold, recipe), path) in enumerate(results(source, out, tasks), start=1):
        found[fold][recipe.name] = path
        progress(number / len(tasks), f"fold {fold}: {recipe.name}")
    return found


def _in_turn(source: Source, out: Path, tasks: list[Task]) -> Iterator[tuple[Task, Path]]:
    """Fit one after the other here, with as many threads as the settings say."""
    for task in tasks:
        yield task, fit_one(task, source, out)


def _side_by_side(
    workers: int, source: Source, out: Path, tasks: list[Task]
) -> Iterator[tuple[Task, Path]]:
    """Fit several at a time in processes of one thread; a worker's error is raised here."""
    fit = partial(fit_one, source=source, out=out, threads=1)
    with worker_pool(workers) as pool:
        for task, result in each(pool, fit, tasks):
            if isinstance(result, BaseException):
                raise result
            yield task, result


def contenders_of(
    methods: Sequence[str], wanted: Sequence[Recipe], files: dict[str, Path]
) -> tuple[Contender, ...]:
    """Return what one fold scores: built-in methods and learned ones with the fold's files.

    Parameters
    ----------
    methods
        Built-in methods.
    wanted
        What was fitted.
    files
        Recipe's name → this fold's file.
    """
    atlas = files.get("atlas")
    found = {
        name: Contender(
            name, name, None,
            atlas if name in USES_ATLAS else None,
            files.get("template") if name == TEMPLATE else None,
        )
        for name in methods
    }  # fmt: skip
    for recipe in wanted:
        if recipe.config is not None:
            found[recipe.name] = Contender(recipe.name, LEARNED, files[recipe.name])
    return tuple(found[name] for name in in_order(list(found)))


def write_index(folds: dict[str, int], files: dict[int, dict[str, Path]], out: Path) -> Path:
    """Write ``DIR/folds/index.json``: each person's fold, and each fold's files, for later tests.

    What an earlier call wrote of other files stays.
    """
    path = out / "folds" / "index.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept: dict[str, dict[str, str]] = known.get("files", {})
    for fold, named in files.items():
        mine = {name: str(file.relative_to(out)) for name, file in named.items()}
        kept[str(fold)] = {**kept.get(str(fold), {}), **mine}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"folds": folds, "files": kept})
    return path
