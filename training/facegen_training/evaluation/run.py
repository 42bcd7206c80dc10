"""An evaluation from people to report: of one part of the split, or in five folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facegen_inference.errors import UserError
from facegen_inference.methods import METHODS
from facegen_inference.network import open_model
from facegen_inference.progress import Progress, part, silent
from facegen_training.cohort.dataset import read_dataset
from facegen_training.cohort.folds import FOLDS, SHARP_HEADS, everyone, hash_order
from facegen_training.cohort.pool import cores
from facegen_training.evaluation.contenders import LEARNED, Contender, contenders, in_order
from facegen_training.evaluation.face_tests import LEAST_SCORED, Material, run_face_tests
from facegen_training.evaluation.floors import measure_floors
from facegen_training.evaluation.fold_models import (
    Recipe,
    Source,
    contenders_of,
    fit_folds,
    recipes,
    write_index,
)
from facegen_training.evaluation.held_out import write_held_out
from facegen_training.evaluation.learning_curve import measure_curve
from facegen_training.evaluation.people import (
    Subject,
    everybody_prepared,
    people_in_folds,
    people_to_score,
)
from facegen_training.evaluation.report import Study, write_report
from facegen_training.evaluation.score import Job, jobs_for, mean_face, score_jobs
from facegen_training.fitting.config import shipped_recipe

FACES = "faces"


@dataclass(frozen=True)
class Wishes:
    """What is asked of either evaluation.

    Attributes
    ----------
    scans, out, work
        The scans; where the report goes; where scores are kept.
    prepared, key
        Manifest and key file of a prepared cohort.
    methods
        Built-in methods; the usual ones when None.
    conditions, condition_methods, condition_people
        More ways of showing a scan, the methods scored so, and on how many people of a fold, the
        first in hash order; everyone when None.
    people
        Only these; everyone when None.
    workers
        Processes; 0 for one a core.
    notes
        Markdown for the end of the report.
    """

    scans: Path
    out: Path
    work: Path
    prepared: Path | None = None
    key: Path | None = None
    methods: Sequence[str] | None = None
    conditions: Sequence[str] = ()
    condition_methods: Sequence[str] | None = None
    condition_people: int | None = None
    people: Sequence[str] | None = None
    workers: int = 0
    notes: str = ""

    @property
    def processes(self) -> int:
        """How many processes to use."""
        return self.workers or cores()


@dataclass(frozen=True)
class Plan:
    """What is asked of an evaluation in folds.

    Attributes
    ----------
    learn
        ``NAME=CONFIG.toml`` of networks to fit; the shipped recipe when None, none for ``none``.
    only
        Folds to fit and score; all when None.
    fit_only
        Score nobody.
    sharp_mm
        See `facegen_training.export.Wishes`.
    curve, curve_folds
        Numbers of training people of the learning curve, and its folds.
    trained_on_all
        Model trained on everyone, for the memory test.
    """

    learn: Sequence[str] | None = None
    only: Sequence[int] | None = None
    fit_only: bool = False
    sharp_mm: float = 0.0
    curve: Sequence[int] = ()
    curve_folds: Sequence[int] = (0,)
    trained_on_all: Path | None = None

    def recipes(self, methods: Sequence[str]) -> list[Recipe]:
        """Return what is to be fitted; see `facegen_training.evaluation.fold_models.recipes`."""
        shipped = shipped_recipe()
        learn = self.learn if self.learn is not None else [f"{LEARNED}={shipped}"]
        return recipes(methods, [text for text in learn if text != "none"], self.sharp_mm)


def run_part(
    wishes: Wishes, of: str, models: Sequence[str], progress: Progress = silent
) -> list[Path]:
    """Score models and built-in methods on one part of the split; return what was written.

    Raises
    ------
    UserError
        As `people_to_score` and `contenders`.
    """
    builtin = [name for name in METHODS if not (models and name == LEARNED)]
    compared = contenders(builtin if wishes.methods is None else wishes.methods, models)
    _check_left_out(compared, wishes)
    own = (wishes.prepared, wishes.key) if wishes.prepared else None
    subjects = people_to_score(wishes.scans, of, wishes.people, own)
    jobs = jobs_for(subjects, compared, wishes.conditions, wishes.condition_methods)
    rows = score_jobs(jobs, wishes.work, None, wishes.processes, progress)
    study = Study(
        rows=rows,
        floors=measure_floors(subjects, wishes.work),
        models={one.name: one.key["model"] for one in compared if "model" in one.key},
        notes=wishes.notes,
        part=of,
        work=wishes.work,
    )
    written = [write_report(study, mean_face(), wishes.out)]
    if of == "test" and not wishes.people:
        written += write_held_out(rows, [one.name for one in compared if one.model], wishes.out)
    return written


def _check_left_out(compared: Sequence[Contender], wishes: Wishes) -> None:
    """Refuse a model that was trained on everyone of the cohort it is to be scored on.

    Raises
    ------
    UserError
        For the first of them.
    """
    from facegen_training.fitting.start import training_notes

    for one in compared:
        if one.model is None or training_notes(one.model).get("left_out") != 0:
            continue
        people = None
        if wishes.prepared is not None:
            people = everyone(read_dataset(wishes.prepared, wishes.key)).manifest_sha256
        if people in (None, open_model(one.model).card.manifest_sha256):
            raise UserError(
                f"The model {one.model.name} was trained on everyone of this cohort: nobody is "
                "left to score it on.",
                "Score its recipe with --folds, or give people of your own with --prepared.",
            )


def run_folds(wishes: Wishes, plan: Plan, progress: Progress = silent) -> list[Path]:
    """Fit what learns in each fold, score everyone, and write the report.

    Returns
    -------
    What was written; with only some folds, or without scoring, the index of what was fitted.

    Raises
    ------
    UserError
        When no prepared people are given, or as what is called.
    """
    if wishes.prepared is None:
        raise UserError(
            "To fit in folds, prepared people are needed.",
            "Give the manifest that facegen-train prepare printed with --prepared.",
        )
    builtin = [name for name in METHODS if name != LEARNED]
    methods = in_order(builtin if wishes.methods is None else wishes.methods)
    wanted = plan.recipes(methods)
    source = Source(wishes.prepared, wishes.key)
    of, everyone = people_in_folds(wishes.scans, wishes.prepared, wishes.key)
    subjects = _asked_for(everyone, wishes.people)
    chosen = sorted(set(range(FOLDS) if plan.only is None else plan.only))
    fitting, scoring = part(progress, 0.0, 0.5), part(progress, 0.5, 1.0)
    fitted = fit_folds(source, chosen, wanted, wishes.out, wishes.processes, fitting)
    index = write_index(of, fitted, wishes.out)
    if plan.fit_only:
        return [index]
    compared = {fold: contenders_of(methods, wanted, fitted[fold]) for fold in chosen}
    jobs = _jobs(wishes, subjects, of, compared)
    rows = score_jobs(jobs, wishes.work, wishes.out / FACES, wishes.processes, scoring)
    if plan.curve:
        _curve(wishes, plan, wanted, [(one, of[one.person]) for one in subjects])
    if plan.only is not None:
        return [index]
    _face_tests(wishes, of, plan.trained_on_all, progress)
    study = Study(
        rows=rows,
        floors=measure_floors(subjects, wishes.work),
        notes=wishes.notes,
        part="",
        work=wishes.work,
        folds=of,
        trained=source.counts(),
    )
    written = [index, write_report(study, mean_face(), wishes.out)]
    if not wishes.people:
        names = [recipe.name for recipe in wanted if recipe.config is not None]
        written += write_held_out(rows, names, wishes.out, FOLDS)
    return written


def _asked_for(everyone: Sequence[Subject], names: Sequence[str] | None) -> list[Subject]:
    """Return the scans named, all when None; refuse a name that no fold scores."""
    missing = sorted(set(names or ()) - {one.id for one in everyone})
    if missing:
        raise UserError(f"{missing[0]} is scored in no fold.", "Check the names.")
    return [one for one in everyone if names is None or one.id in names]


def _face_tests(wishes: Wishes, of: dict[str, int], model: Path | None, progress: Progress) -> None:
    """Run the identification and the memory test, where everybody was scored and is enough."""
    assert wishes.prepared is not None
    if wishes.people or len(of) < LEAST_SCORED:
        return
    everybody = everybody_prepared(wishes.scans, wishes.prepared, wishes.key)
    material = Material(everybody, of, wishes.out / FACES, wishes.work, model)
    run_face_tests(material, wishes.processes, progress)


def _curve(
    wishes: Wishes, plan: Plan, wanted: Sequence[Recipe], placed: Sequence[tuple[Subject, int]]
) -> None:
    """Measure the learning curve of ``neural``, or else of the last network asked for."""
    networks = [recipe for recipe in wanted if recipe.config is not None]
    if not networks:
        raise UserError("A learning curve needs a network.", "Name one: --learn NAME=CONFIG.toml.")
    named = {recipe.name: recipe for recipe in networks}
    scored = {
        fold: [one for one, its in placed if its == fold and one.person not in SHARP_HEADS]
        for fold in plan.curve_folds
    }
    measure_curve(wishes, named.get(LEARNED, networks[-1]), plan.curve, scored)


def _jobs(
    wishes: Wishes,
    subjects: Sequence[Subject],
    of: dict[str, int],
    compared: dict[int, tuple[Contender, ...]],
) -> list[Job]:
    """Return what is scored: everyone by what their own fold fitted."""
    only = wishes.condition_methods if wishes.condition_methods is not None else [LEARNED]
    jobs = []
    for fold, methods in compared.items():
        mine = [one for one in subjects if of[one.person] == fold]
        order = hash_order({one.person for one in mine if one.person not in SHARP_HEADS})
        some = {*order[: wishes.condition_people], *SHARP_HEADS}
        for one in mine:
            named = wishes.conditions if one.person in some else []
            jobs += jobs_for([one], methods, named, only)
    return jobs
