"""``facegen compare FACE.ply SCAN``: how far a predicted face lies from the true skin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from facegen_app.commands.console import progress_bar, say, say_data
from facegen_inference.errors import UserError

NAME = "compare"


def command(
    face: Annotated[Path, typer.Argument(metavar="FACE", help="face.ply of a result.")],
    scan: Annotated[
        Path, typer.Argument(metavar="SCAN", help="The CT it was made from, with soft tissue.")
    ],
    regions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another definition of the regions.")
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(metavar="MASK", help="Volume: not 0 where it is not the person.")
    ] = None,
    series: Annotated[str | None, typer.Option(metavar="UID", help="Series to take.")] = None,
    units: Annotated[
        Literal["mm", "cm", "m"] | None, typer.Option(help="Units of a scan that does not say.")
    ] = None,
    landmarks: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Landmarks placed by the examiner.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as data.")] = False,
) -> None:
    """Measure a predicted face against the skin in a CT; nothing is aligned.

    Distances are in millimetres; signed ones are positive where the prediction lies outside.
    """
    from facegen_app.casework.results import plain
    from facegen_inference.compare import compare
    from facegen_inference.face_region import region_definition
    from facegen_inference.mask_file import read_mask
    from facegen_inference.mesh_files import read_mesh
    from facegen_inference.progress import part
    from facegen_inference.reconstruct import prepare
    from facegen_inference.scan import open_scan

    rules = region_definition(regions)
    predicted = read_mesh(face)
    excluded = None if exclude is None else read_mask(exclude)
    with progress_bar() as progress:
        opened = open_scan(scan, series, units, progress=part(progress, 0.0, 0.3))
        if opened.volume is None:
            raise UserError(
                f"{scan.name} is a mesh of bone; there is no skin in it to compare with.",
                "Compare with a CT that shows the face.",
            )
        prepared = prepare(opened, landmarks_file=landmarks, progress=part(progress, 0.3, 0.8))
        progress(0.8, "comparing")
        comparison = compare(
            predicted,
            opened.volume,
            prepared.frame,
            prepared.landmarks,
            excluded=excluded,
            rules=rules,
        )
    if as_json:
        say_data(plain(comparison.as_data()))
    else:
        say(comparison.table())
