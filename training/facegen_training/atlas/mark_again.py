"""Set the landmarks of the averages that ship anew, after ``atlas_landmarks.toml`` has changed.

    python -m facegen_training.atlas.mark_again resources/facegen_resources/*.npz

Only ``landmark_codes`` and ``landmark_positions`` change; the averages themselves stay as they
are, bit by bit, and with them the frame in which models were trained.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import typer

from facegen_inference.volume import Grid
from facegen_training.atlas.build_atlas import landmarks_on, write_arrays


def mark_again(path: Path) -> dict[str, float]:
    """Place the landmarks of one ``.npz`` on its own mean skull and rewrite the file.

    Parameters
    ----------
    path
        What `build_atlas` wrote: ``bone``, ``frame_from_voxel`` and landmarks among its arrays.

    Returns
    -------
    Code → how far it moved, mm; NaN for a landmark that is new.
    """
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    shape = arrays["bone"].shape
    grid = Grid((shape[0], shape[1], shape[2]), arrays["frame_from_voxel"])
    old = dict(zip(arrays["landmark_codes"], arrays["landmark_positions"], strict=True))
    points = landmarks_on(arrays["bone"].astype(np.float32), grid)
    arrays["landmark_codes"] = np.array(list(points))
    arrays["landmark_positions"] = np.array(list(points.values()))
    write_arrays(path, arrays)
    return {
        code: float(np.linalg.norm(point - old[code])) if code in old else float("nan")
        for code, point in points.items()
    }


def main() -> None:
    """Mark each file named on the command line."""
    for name in sys.argv[1:]:
        moved = mark_again(Path(name))
        typer.echo(name)
        for code, mm in moved.items():
            typer.echo(f"  {code} moved by {mm:.1f} mm")


if __name__ == "__main__":
    main()
