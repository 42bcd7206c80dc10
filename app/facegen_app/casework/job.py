"""One scan through the whole line: open, prepare, reconstruct, write."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from facegen_app.casework.destination import adding, check_destination, check_scan_spared
from facegen_app.casework.export import Wanted, write_results
from facegen_inference.face import Face
from facegen_inference.landmarks import write_landmarks
from facegen_inference.progress import Progress, part, silent
from facegen_inference.provenance import timed
from facegen_inference.reconstruct import (
    Prepared,
    Request,
    SkullUnplaced,
    check_model,
    check_request,
    prepare,
    reconstruct,
)
from facegen_inference.scan import open_scan

if TYPE_CHECKING:
    from facegen_inference.mesh import Mesh


@dataclass(frozen=True)
class Job:
    """A scan, what is asked of it and where the results go.

    Attributes
    ----------
    scan
        Anything `facegen_inference.scan.open_scan` opens.
    out
        The folder for the results.
    request
        What is asked.
    series
        Which series to take, None for the proposed one.
    units
        Unit of a mesh file that does not say, None where it does.
    overwrite
        Whether earlier results may be replaced.
    wanted
        What to write.
    """

    scan: Path
    out: Path
    request: Request = field(default_factory=Request)
    series: str | None = None
    units: str | None = None
    overwrite: bool = False
    wanted: Wanted = field(default_factory=Wanted)


@dataclass(frozen=True)
class Done:
    """What a job came to; `result` is the path of ``result.json``."""

    result: Path
    prepared: Prepared
    face: Face
    timings: dict[str, float]


def run_job(job: Job, progress: Progress = silent) -> Done:
    """Work one scan through, from its files to a folder of results.

    Raises
    ------
    UserError
        When anything of it cannot be done; nothing is left half-written.
    SkullUnplaced
        When the frame is unsure: what was found is left in the folder for the examiner.
    """
    check_request(job.request)
    check_destination(job.out, overwrite=job.overwrite)
    check_scan_spared(job.out, [job.scan], overwrite=job.overwrite)
    check_model(job.request)
    timings = dict(job.wanted.timings)
    with timed(timings, "reading the scan"):
        scan = open_scan(job.scan, job.series, job.units, progress=part(progress, 0.0, 0.2))
    check_scan_spared(job.out, scan.files, overwrite=job.overwrite)
    try:
        prepared = prepare(
            scan,
            landmarks_file=job.wanted.landmarks_file,
            progress=part(progress, 0.2, 0.5),
        )
    except SkullUnplaced as error:
        write_unplaced(job.out, error)
        raise
    face = reconstruct(prepared, job.request, part(progress, 0.5, 0.8))
    result = write_results(
        job.out,
        prepared,
        face,
        job.request,
        overwrite=job.overwrite,
        wanted=replace(job.wanted, timings=timings),
        progress=part(progress, 0.8, 1.0),
    )
    return Done(result, prepared, face, recorded_timings(result))


def recorded_timings(result: Path) -> dict[str, float]:
    """Return the seconds of each step as ``result.json`` has them."""
    from facegen_app.casework.verify import read_result

    timings = read_result(result)["timings"]
    assert isinstance(timings, dict)
    return timings


def write_unplaced(out: Path, error: SkullUnplaced) -> Path:
    """Leave the points found so far and a picture of the skull; tell the error's advice of them.

    Nothing that lies in `out` is replaced.

    Returns
    -------
    The landmarks file.
    """
    name = _free(out, "landmarks", ".json")
    picture = _free(out, "skull-in-scanner-axes", ".png")
    with adding(out) as folder:
        write_landmarks(error.landmarks, folder / name)
        _draw(error.skull.mesh, folder / picture)
    path = out / name
    error.advice = (
        f"Correct or add points in {path} (look at {out / picture}) "
        f"and start again with --landmarks {path}."
    )
    return path


def _free(out: Path, stem: str, suffix: str) -> str:
    """Return the first name of a row that is not taken in a folder."""
    name, number = f"{stem}{suffix}", 1
    while (out / name).exists():
        number += 1
        name = f"{stem}-{number}{suffix}"
    return name


def _draw(skull: Mesh, path: Path) -> None:
    """Draw the skull along the scanner's axes, with left and right as the scanner has them."""
    import numpy as np

    from facegen_app.rendering.display_mesh import display_mesh
    from facegen_app.rendering.look import PAPER
    from facegen_app.rendering.png_file import write_png
    from facegen_app.rendering.scene import Scene3D

    scene = Scene3D(PAPER)
    try:
        scene.set_frame(None)
        scene.set_mesh("skull", display_mesh(skull))
        scene.set_size(700, 700)
        views = []
        for view in ("frontal", "lateral-left", "lateral-right"):
            scene.set_view(view)
            views.append(scene.render(700, 700))
    finally:
        scene.close()
    write_png(path, np.concatenate(views, axis=1))
