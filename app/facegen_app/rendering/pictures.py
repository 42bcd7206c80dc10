"""Pictures of a result for a folder or a report: five standard views, drawn off screen.

All pictures of one result are parallel projections at one scale, seen along the Frankfurt frame,
with a scale bar in mm, the view's name and the letters of left and right.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facegen_app.rendering.camera import VIEWS
from facegen_app.rendering.display_mesh import print_mesh
from facegen_app.rendering.look import BONE, FACE, PAPER
from facegen_app.rendering.png_file import write_png
from facegen_app.rendering.scene import Scene3D
from facegen_app.rendering.snapshot import Snapshot
from facegen_inference.errors import OutputError
from facegen_inference.frame import Frame
from facegen_inference.mesh import Mesh
from facegen_inference.progress import Progress, silent

PICTURE_VIEWS = (
    "frontal",
    "three-quarter-left",
    "three-quarter-right",
    "lateral-left",
    "lateral-right",
)

OVERLAY_OPACITY = 0.55

_SHOWN = {
    "skull": (True, False, 1.0),
    "face": (False, True, 1.0),
    "overlay": (True, True, OVERLAY_OPACITY),
}
"""Kind of picture → (skull shown, face shown, opacity of the face)."""

_TITLES = {
    "skull": "skull",
    "face": "face predicted from bone, one of many possible",
    "overlay": "predicted face over skull",
}


def save_pictures(
    skull: Mesh,
    face: Mesh | None,
    frame: Frame,
    folder: Path,
    *,
    size: tuple[int, int] = (1200, 1200),
    views: Sequence[str] = PICTURE_VIEWS,
    progress: Progress = silent,
) -> list[Path]:
    """Write ``VIEW-skull.png``, and with a face ``VIEW-face.png`` and ``VIEW-overlay.png`` too.

    Parameters
    ----------
    skull, face
        In the scan's own coordinates, LPS mm.
    frame
        The Frankfurt frame that the views are named in.
    folder
        An existing folder.
    size
        Width and height, pixels.
    views
        Names in `facegen_app.rendering.camera.VIEWS`.
    progress
        Told after each picture; may raise `Cancelled`.

    Returns
    -------
    The files, in the order they were written.
    """
    kinds = ["skull"] if face is None else list(_SHOWN)
    scene = Scene3D(PAPER)
    try:
        scene.set_frame(frame)
        scene.set_mesh("skull", print_mesh(skull))
        if face is not None:
            scene.set_mesh("face", print_mesh(face))
        scene.set_size(*size)
        half_height = _common_half_height(scene, views)
        written: list[Path] = []
        for view in views:
            for kind in kinds:
                path = folder / f"{view}-{kind}.png"
                _save_one(scene, view, kind, half_height, size, path)
                written.append(path)
                progress(len(written) / (len(views) * len(kinds)), "drawing pictures")
    finally:
        scene.close()
    return written


def save_snapshot(snapshot: Snapshot, path: Path, *, scale: float = 2.0) -> None:
    """Write what a scene showed as a picture of its own, on paper colours.

    Parameters
    ----------
    snapshot
        What `Scene3D.snapshot` returned.
    path
        The PNG file.
    scale
        How much finer than the screen, at most as far as 4000 pixels.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    width, height = snapshot.size
    scale = min(scale, 4000 / max(width, height))
    scene = Scene3D(PAPER)
    try:
        scene.show_snapshot(snapshot)
        picture = scene.render(round(width * scale), round(height * scale), scale=scale)
    finally:
        scene.close()
    try:
        write_png(path, picture)
    except OSError as error:
        raise OutputError(
            f"The picture cannot be written to {path}.",
            "Choose another folder, or free some space on the disk.",
            reason=error,
        ) from error


def _common_half_height(scene: Scene3D, views: Sequence[str]) -> float:
    """Return the half height (mm) at which every view fits, so that all share one scale."""
    halves = []
    for view in views:
        scene.set_view(view)
        halves.append(scene.pose.half_height)
    return max(halves)


def _save_one(
    scene: Scene3D, view: str, kind: str, half_height: float, size: tuple[int, int], path: Path
) -> None:
    """Draw and write one picture."""
    skull_shown, face_shown, opacity = _SHOWN[kind]
    scene.set_layer("skull", visible=skull_shown, opacity=1.0, colour=BONE)
    scene.set_layer("face", visible=face_shown, opacity=opacity, colour=FACE)
    scene.set_view(view)
    scene.set_half_height(half_height)
    scene.set_title(f"{VIEWS[view].title}: {_TITLES[kind]}", "Frankfurt frame, parallel projection")
    write_png(path, scene.render(*size, scale=size[1] / 700))
