"""Store a finished reconstruction in a case: the scan, what was found, what was asked, the face.

Each is an action of its own, as if the examiner had gone through the steps; what the case holds
already is not stored again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facegen_app.casework.audit_log import Who
from facegen_app.casework.case_actions import (
    Run,
    Source,
    add_run,
    choose_source,
    make_skull,
    set_facts,
    set_landmarks,
    set_profile,
    set_setting,
)
from facegen_app.casework.case_errors import CaseReadOnly
from facegen_app.casework.case_file import CaseFile
from facegen_app.casework.case_opening import check_new, create_case, open_case
from facegen_app.casework.case_state import canonical
from facegen_app.casework.case_steps import basis, basis_before
from facegen_app.casework.results import Inputs
from facegen_app.casework.verify import inputs_root, read_result
from facegen_inference.provenance import FileRecord

if TYPE_CHECKING:
    from facegen_app.casework.job import Done, Job
    from facegen_inference.series import Series


@dataclass(frozen=True)
class Finished:
    """A job and what it came to."""

    job: Job
    done: Done


@contextmanager
def recording(path: Path, who: Who) -> Iterator[Callable[[Finished], str]]:
    """Give what stores a finished job in a case, which is kept open until then.

    The case is made with the first job, where there is none: a job that fails leaves none.

    Raises
    ------
    CaseReadOnly
        At once, when somebody else works on the case or it cannot be written.
    CaseError
        As `open_case` and `create_case`.
    """
    with ExitStack() as opened:
        case = None
        if path.exists():
            case = opened.enter_context(open_case(path, who))
            if case.read_only:
                raise CaseReadOnly(case.notice, "Close it there, or name another with --case.")
        else:
            check_new(path)

        def record(finished: Finished) -> str:
            nonlocal case
            if case is None:
                case = opened.enter_context(create_case(path, who))
            return record_run(case, finished)

        yield record


def record_run(case: CaseFile, finished: Finished) -> str:
    """Store a finished job in a case.

    Returns
    -------
    The key of the run in the case: ``1`` for the first.

    Raises
    ------
    CaseError
        When it cannot be stored.
    """
    job, done = finished.job, finished.done
    result = read_result(done.result)
    prepared, folder = done.prepared, done.result.parent
    case.act(choose_source(_source(case.path, finished, result)))
    case.act(make_skull(prepared.skull.level_hu))
    inputs = result["inputs"]
    assert isinstance(inputs, dict)
    given: dict[str, object] = {"landmarks_file": inputs["landmarks"]}
    present = case.rows("landmarks")
    case.act(set_landmarks(prepared.landmarks, prepared.frame, present, given))
    case.act(set_profile(job.request.profile))
    if job.wanted.case.as_data():
        case.act(set_facts(job.wanted.case))
    request = result["request"]
    assert isinstance(request, dict)
    case.act(set_setting("request", canonical(request), "face asked for"))
    state = case.state()
    key = str(max((int(key) for key in state["runs"]), default=0) + 1)
    outputs = result["outputs"]
    assert isinstance(outputs, list)
    names = [str(row["name"]) for row in outputs]
    run = Run(
        request,
        result,
        basis_before(state, "face"),
        basis(state, "face"),
        _bytes_of(folder, names, ".ply"),
        _bytes_of(folder, names, ".png"),
    )
    case.act(add_run(key, run))
    return key


def _source(case: Path, finished: Finished, result: dict[str, object]) -> Source:
    """Return the scan of a job with the hashes that its result has."""
    inputs, geometry = result["inputs"], result["geometry"]
    assert isinstance(inputs, dict)
    assert isinstance(geometry, dict)
    root = inputs_root(finished.done.result.parent, inputs)
    files = tuple(FileRecord(**row) for row in inputs["files"])
    series = finished.done.prepared.scan.series
    return source_of(case, series, Inputs(root, files), geometry, finished.job.units)


def source_of(
    case: Path | None,
    series: Series,
    inputs: Inputs,
    geometry: Mapping[str, object],
    units: str | None = None,
) -> Source:
    """Return a scan as it enters a case; `case` is the file, None where it is kept nowhere yet."""
    return Source(
        series.kind,
        inputs,
        None if case is None else way_to(inputs.root, case),
        geometry,
        units,
        series.uid if series.kind == "dicom" else None,
    )


def way_to(root: Path, case: Path) -> str | None:
    """Return the way from a case's folder to the scan's; None where there is none."""
    try:
        return Path(os.path.relpath(root.absolute(), case.absolute().parent)).as_posix()
    except ValueError:  # another drive
        return None


def _bytes_of(folder: Path, names: list[str], suffix: str) -> dict[str, bytes]:
    """Return the files of a results folder of one kind; those under ``scan/`` are not ours."""
    return {
        name: (folder / name).read_bytes()
        for name in names
        if name.endswith(suffix) and not name.startswith("scan/")
    }
