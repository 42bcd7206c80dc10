"""A frontal picture of each alternative face, all at one scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facegen_inference.face import Variant
from facegen_inference.frame import Frame
from facegen_inference.progress import Progress, silent

_SIZE = 700


def save_variant_pictures(
    variants: Sequence[Variant], frame: Frame, folder: Path, progress: Progress = silent
) -> list[Path]:
    """Write ``variant-01-frontal.png`` and so on into an existing folder; return the files."""
    from facegen_app.rendering.display_mesh import display_mesh
    from facegen_app.rendering.look import FACE, PAPER
    from facegen_app.rendering.png_file import write_png
    from facegen_app.rendering.scene import Scene3D

    if not variants:
        return []
    scene = Scene3D(PAPER)
    written: list[Path] = []
    try:
        scene.set_frame(frame)
        scene.set_size(_SIZE, _SIZE)
        meshes = [display_mesh(variant.mesh) for variant in variants]
        halves = []
        for mesh in meshes:
            scene.set_mesh("face", mesh)
            scene.set_view("frontal")
            halves.append(scene.pose.half_height)
        scene.set_layer("face", visible=True, opacity=1.0, colour=FACE)
        for number, (variant, mesh) in enumerate(zip(variants, meshes, strict=True), start=1):
            scene.set_mesh("face", mesh)
            scene.set_view("frontal")
            scene.set_half_height(max(halves))
            scene.set_title(f"Alternative {number}: {variant.name}", "Predicted from bone")
            path = folder / f"variant-{number:02d}-frontal.png"
            write_png(path, scene.render(_SIZE, _SIZE))
            written.append(path)
            progress(number / len(variants), "drawing the alternatives")
    finally:
        scene.close()
    return written
