"""Write what came out: meshes, pictures, ``result.json`` and the report, all or nothing."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from facegen_app.casework.case_data import CaseData
from facegen_app.casework.destination import RESULT_NAME, building
from facegen_app.casework.results import Data, Inputs, result_data
from facegen_inference.face import Face
from facegen_inference.mesh_files import write_mesh
from facegen_inference.progress import Progress, part, silent
from facegen_inference.provenance import record_file, record_files, timed
from facegen_inference.reconstruct import Prepared, Request
from facegen_inference.scan import Scan

SCAN_FOLDER = "scan"
REPORT_NAME = "report.pdf"
_PICTURE_SIZE = (1000, 1000)
"""Pixels: 300 dots per inch at the largest size in the report."""


@dataclass(frozen=True)
class Wanted:
    """What to write beside the meshes and ``result.json``.

    Attributes
    ----------
    report
        Whether ``report.pdf`` is written.
    pictures
        Whether ``pictures/*.png`` are written; a report has them in any case.
    case
        What the examiner wrote for the report.
    landmarks_file
        The landmarks file that was used, to be hashed with the inputs.
    embed_scan
        Whether the scan's files are copied into the results, under ``scan/``.
    timings
        Steps done before, step → seconds.
    """

    report: bool = False
    pictures: bool = True
    case: CaseData = field(default_factory=CaseData)
    landmarks_file: Path | None = None
    embed_scan: bool = False
    timings: dict[str, float] = field(default_factory=dict)


def write_results(
    out: Path,
    prepared: Prepared,
    face: Face,
    request: Request,
    *,
    overwrite: bool = False,
    report: bool = False,
    pictures: bool = True,
    progress: Progress = silent,
    wanted: Wanted | None = None,
) -> Path:
    """Write a folder of results that is complete, or leave everything as it was.

    Parameters
    ----------
    out
        The folder; made with those above it where missing.
    overwrite
        Whether earlier results in `out` may be replaced; other files there never are.
    report, pictures
        Whether to write the PDF report and the pictures.
    progress
        Told how far the work is; may raise `Cancelled`.
    wanted
        All choices in one; overrides `report` and `pictures`.

    Returns
    -------
    The path of ``result.json``.

    Raises
    ------
    OutputError
        When `out` may not be written, is not empty, or the disk is full.
    """
    choice = wanted or Wanted(report=report, pictures=pictures)
    timings = {**choice.timings, **prepared.timings, **face.timings}
    with timed(timings, "hashing the input"):
        inputs = inputs_of(prepared.scan, choice.landmarks_file, part(progress, 0.0, 0.1))
    with building(out, overwrite=overwrite) as folder:
        with timed(timings, "writing the meshes"):
            _write_meshes(folder, prepared, face, part(progress, 0.1, 0.3))
        if choice.embed_scan:
            _embed(folder, inputs)
            inputs = replace(inputs, root=Path(SCAN_FOLDER))
        if choice.pictures or choice.report:
            with timed(timings, "drawing the pictures"):
                _write_pictures(folder, prepared, face, part(progress, 0.3, 0.8))
        data = result_data(prepared, face, request, inputs, choice.case)
        data["outputs"] = _outputs(folder)
        if choice.report:
            with timed(timings, "writing the report"):
                _write_report(folder, {**data, "timings": timings}, part(progress, 0.8, 1.0))
            data["outputs"] = _outputs(folder)
        data["timings"] = {step: round(seconds, 3) for step, seconds in timings.items()}
        text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / RESULT_NAME).write_text(text + "\n", encoding="utf-8")
    progress(1.0, "written")
    return out / RESULT_NAME


def inputs_of(
    scan: Scan, landmarks_file: Path | None = None, progress: Progress = silent
) -> Inputs:
    """Return where a scan came from, with the hashes of its files.

    Raises
    ------
    UserError
        When a file can no longer be read.
    """
    files = [path.absolute() for path in scan.files]
    root = Path(os.path.commonpath([path.parent for path in files]))
    return Inputs(
        root,
        record_files(files, root, progress),
        None if landmarks_file is None else record_file(landmarks_file),
    )


def _write_meshes(folder: Path, prepared: Prepared, face: Face, progress: Progress) -> None:
    meshes = {"skull.ply": prepared.skull.mesh, "face.ply": face.mesh}
    for number, variant in enumerate(face.variants, start=1):
        meshes[f"variants/variant-{number:02d}.ply"] = variant.mesh
    for number, (name, mesh) in enumerate(meshes.items()):
        progress(number / len(meshes), "writing the meshes")
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        write_mesh(mesh, path)


def _embed(folder: Path, inputs: Inputs) -> None:
    """Copy the scan's files into the results under their recorded names."""
    for record in inputs.files:
        target = folder / SCAN_FOLDER / record.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(inputs.root / record.name, target)


def _write_pictures(folder: Path, prepared: Prepared, face: Face, progress: Progress) -> None:
    from facegen_app.casework.variant_pictures import save_variant_pictures
    from facegen_app.rendering.pictures import save_pictures

    pictures = folder / "pictures"
    pictures.mkdir()
    save_pictures(
        prepared.skull.mesh,
        face.mesh,
        prepared.frame,
        pictures,
        size=_PICTURE_SIZE,
        progress=part(progress, 0.0, 0.8),
    )
    save_variant_pictures(face.variants, prepared.frame, pictures, part(progress, 0.8, 1.0))


def _write_report(folder: Path, data: Data, progress: Progress) -> None:
    from facegen_app.casework.report import write_report

    progress(0.0, "writing the report")
    write_report(folder / REPORT_NAME, data, folder / "pictures")


def _outputs(folder: Path) -> list[Data]:
    """Return the records of everything written so far, an embedded scan included, by name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [record.as_data() for record in record_files(files, folder)]
