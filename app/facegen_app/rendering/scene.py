"""The 3-D scene: skull and face, seen by a parallel camera, drawn off screen into an array.

Nothing here knows of windows.  Whoever shows the scene calls `Scene3D.render` and puts the array
on the screen; `Scene3D.frames` counts what was drawn.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import vtkmodules.vtkRenderingFreeType
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  (these two draw: text and everything)
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkUnsignedCharArray
from vtkmodules.vtkRenderingCore import (
    vtkActor,
    vtkPolyDataMapper,
    vtkRenderer,
    vtkRenderWindow,
)

from facegen_app.rendering import look as looks
from facegen_app.rendering.annotations import Labels, OrientationCube
from facegen_app.rendering.bands import Bands
from facegen_app.rendering.camera import VIEWS, Pose, pose_for
from facegen_app.rendering.display_mesh import DisplayMesh
from facegen_app.rendering.markers import Marker, Markers
from facegen_app.rendering.picking import is_hidden, picked
from facegen_app.rendering.snapshot import ShownLayer, Snapshot
from facegen_app.rendering.wipe import Wipe
from facegen_inference.frame import Frame

_PEELS = 6
_OPAQUE, _CLEAR = 0.995, 0.005
_EDGE_ON = 0.25
"""Cosine between a surface's normal and the way to the viewer below which it is seen edge-on."""
_STRAIGHT = 0.6
"""Cosine between a view and the way a point faces, below which that view shows it askance."""


@dataclass
class _Layer:
    """One mesh in the scene, its actor and how it is shown."""

    actor: vtkActor
    mesh: DisplayMesh | None = None
    visible: bool = True
    opacity: float = 1.0
    shown_opacity: float = 1.0


class Scene3D:
    """Skull and face in patient space.

    Parameters
    ----------
    look
        Colours of background and writing.
    annotated
        Whether title, letters, scale and cube are drawn.
    """

    def __init__(self, look: looks.Look = looks.SCREEN, *, annotated: bool = True) -> None:
        self.frames = 0
        self.last_full_seconds = 0.0
        self._patient_from_frame = np.eye(4)
        self._title, self._note = "", ""
        self._size = (640, 480)
        self._pose = Pose(np.zeros(3), np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0]), 120.0)
        self._renderer = vtkRenderer()
        self._renderer.SetBackground(*look.background)
        self._renderer.SetUseFXAA(True)
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        looks.add_lights(self._renderer)
        self._labels = Labels(self._renderer, look) if annotated else None
        self._cube = OrientationCube(look) if annotated else None
        self._layers = {
            name: _Layer(self._new_actor(colour))
            for name, colour in (("skull", looks.BONE), ("face", looks.FACE))
        }
        looks.show_contours(self._layers["face"].actor)
        self._markers = Markers(self._renderer, look)
        self._wipe = Wipe(self._renderer, look)
        self._bands = Bands(self._renderer, look)
        self._window = _offscreen_window()
        self._window.SetNumberOfLayers(2)
        self._window.AddRenderer(self._renderer)
        if self._cube is not None:
            self._window.AddRenderer(self._cube.renderer)

    # what is shown

    def set_mesh(self, layer: str, mesh: DisplayMesh | None) -> None:
        """Put a mesh into a layer (``skull`` or ``face``), or take it out."""
        held = self._layers[layer]
        held.mesh = mesh
        if mesh is None:
            held.actor.GetMapper().RemoveAllInputs()
        self._show_layers()

    def set_layer(self, layer: str, *, visible: bool, opacity: float, colour: looks.Colour) -> None:
        """Say how a layer is shown; opacity 0..1, colour red, green, blue 0..1."""
        held = self._layers[layer]
        held.visible, held.opacity = visible, opacity
        held.actor.GetProperty().SetColor(*colour)
        self._show_layers()

    def set_wipe(self, share: float | None) -> None:
        """Show skull left and face right of an upright line, both solid, while both are shown.

        Parameters
        ----------
        share
            Where the line stands, 0 (left edge) to 1 of the picture's width; None takes it away.
        """
        self._wipe.share = share
        self._show_layers()

    def set_bands(self, coloured: bool) -> None:
        """Colour the face by its 90 % band, where its mesh carries one, with a legend in mm."""
        self._bands.wanted = coloured
        self._show_layers()

    @property
    def is_wiped(self) -> bool:
        """Whether the line between skull and face is seen."""
        both = all(held.mesh is not None and held.visible for held in self._layers.values())
        return self._wipe.share is not None and both

    def set_look(self, look: looks.Look) -> None:
        """Change the colours of background and writing."""
        self._renderer.SetBackground(*look.background)
        self._markers.set_look(look)
        self._wipe.set_look(look)
        self._bands.set_look(look)
        if self._labels is not None and self._cube is not None:
            self._labels.set_look(look)
            self._cube.set_look(look)

    def set_frame(self, frame: Frame | None) -> None:
        """Name directions in this frame; without one, in the scanner's axes, and say so."""
        self._patient_from_frame = np.eye(4) if frame is None else frame.patient_from_frame
        self._note = "Scanner axes (no Frankfurt frame yet)" if frame is None else "Frankfurt frame"

    def set_title(self, title: str, note: str | None = None) -> None:
        """Write a title on the picture, and a quieter line beneath it."""
        self._title = title
        if note is not None:
            self._note = note

    def set_markers(self, markers: Sequence[Marker]) -> None:
        """Show landmarks on the skull; none takes them away."""
        self._markers.show(markers)

    def snapshot(self) -> Snapshot:
        """Return what is shown now."""
        layers = {
            name: ShownLayer(
                held.mesh, held.visible, held.opacity, held.actor.GetProperty().GetColor()
            )
            for name, held in self._layers.items()
        }
        return Snapshot(
            layers, self._pose, self._patient_from_frame, self._title, self._note, self._size,
            self._markers.shown, self._wipe.share, self._bands.wanted,
        )  # fmt: skip

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show what another scene showed; the meshes are shared, not copied."""
        for name, shown in snapshot.layers.items():
            self.set_mesh(name, None if shown.mesh is None else shown.mesh.twin())
            self.set_layer(name, visible=shown.visible, opacity=shown.opacity, colour=shown.colour)
        self._pose, self._size = snapshot.pose, snapshot.size
        self._patient_from_frame = snapshot.patient_from_frame
        self._title, self._note = snapshot.title, snapshot.note
        self.set_markers(snapshot.markers)
        self._wipe.has_handle = False
        self.set_wipe(snapshot.wipe)
        self.set_bands(snapshot.bands)

    # where it is seen from

    def set_size(self, width: int, height: int) -> None:
        """Say how large the next picture is (pixels), for views to fit."""
        self._size = (width, height)

    @property
    def pose(self) -> Pose:
        """Where the camera stands."""
        return self._pose

    def set_view(self, name: str) -> None:
        """Go to a standard view (a name in `VIEWS`) that shows all meshes."""
        view = VIEWS[name]
        self._title = view.title
        points = [held.mesh.outline for held in self._layers.values() if held.mesh is not None]
        if not points:
            points = [np.array([[-90.0, -90.0, -110.0], [90.0, 90.0, 110.0]])]
        aspect = self._size[0] / self._size[1]
        self._pose = pose_for(view, self._patient_from_frame, np.concatenate(points), aspect)

    def hides(self, point: NDArray[np.float64]) -> bool:
        """Return whether bone hides a point, (3,) LPS mm, or shows it edge-on, as things stand.

        What is seen edge-on cannot be clicked with certainty: a pixel beside it lies far behind.
        """
        skull = self._layers["skull"].mesh
        if skull is None:
            return False
        edge_on = float(self._outward(point) @ self._pose.toward_camera) < _EDGE_ON
        return edge_on or is_hidden(skull, point, self._pose)

    def view_showing(self, point: NDArray[np.float64]) -> str | None:
        """Return the standard view that looks most straight at a point, (3,) LPS mm.

        None where each looks askance or bone hides the point from it.
        """
        rotation, outward = self._patient_from_frame[:3, :3], self._outward(point)
        straight = {
            name: float(outward @ (rotation @ np.array(view.toward_camera)))
            for name, view in VIEWS.items()
        }
        best = max(straight, key=lambda name: straight[name])
        toward = rotation @ np.array(VIEWS[best].toward_camera)
        skull = self._layers["skull"].mesh
        if straight[best] < _STRAIGHT or skull is None:
            return None
        hidden = is_hidden(skull, point, replace(self._pose, toward_camera=toward))
        return None if hidden else best

    def turn_to(self, point: NDArray[np.float64]) -> None:
        """Turn the head so that a point, (3,) LPS mm, faces the viewer."""
        toward = self._outward(point)
        up = self._patient_from_frame[:3, 2]
        if abs(toward @ up) > 0.95:
            up = -self._patient_from_frame[:3, 1]
        up = _unit(up - (up @ toward) * toward)
        self._pose = replace(self._pose, toward_camera=toward, up=up)
        self._title = "Free view"

    def centre_on(self, point: NDArray[np.float64]) -> None:
        """Bring a point, (3,) LPS mm, to the middle of the picture."""
        self._pose = replace(self._pose, centre=np.asarray(point, np.float64))

    def pick(self, x: float, y: float) -> NDArray[np.float64] | None:
        """Return the point of the skull that the last picture shows at a pixel.

        Parameters
        ----------
        x, y
            Pixels from the upper left.

        Returns
        -------
        (3,) LPS mm; None where no skull is seen there.
        """
        skull = self._layers["skull"]
        if skull.mesh is None or not skull.actor.GetVisibility():
            return None
        return picked(self._renderer, skull.actor, skull.mesh, x, self._size[1] - 1 - y)

    def set_half_height(self, millimetres: float) -> None:
        """Set the scale: half the picture's height in mm."""
        self._pose = replace(self._pose, half_height=millimetres)

    def rotate(self, right: float, down: float) -> None:
        """Turn the head as if dragged: degrees to the right and downwards."""
        pose = self._pose
        toward = _turned(pose.toward_camera, pose.up, -right)
        side = np.cross(pose.up, toward)
        up = _turned(pose.up, side, -down)
        toward = _turned(toward, side, -down)
        self._pose = replace(pose, toward_camera=_unit(toward), up=_unit(up))
        self._title = "Free view"

    def pan(self, right: float, down: float) -> None:
        """Move the head in the picture, in shares of the picture's height."""
        pose = self._pose
        shift = 2 * pose.half_height * (down * pose.up - right * pose.right)
        self._pose = replace(pose, centre=pose.centre + shift)

    def zoom(self, factor: float) -> None:
        """Show the head larger (factor > 1) or smaller."""
        half = float(np.clip(self._pose.half_height / factor, 5.0, 1000.0))
        self._pose = replace(self._pose, half_height=half)

    # drawing

    def render(
        self, width: int, height: int, *, moving: bool = False, scale: float = 1.0
    ) -> NDArray[np.uint8]:
        """Draw one frame.

        Parameters
        ----------
        width, height
            Pixels.
        moving
            Draw reduced meshes without depth peeling: for while something is dragged.
        scale
            Device pixel ratio: enlarges the writing, not the head.

        Returns
        -------
        (height, width, 3) uint8, top row first.
        """
        started = time.perf_counter()
        self._size = (width, height)
        self._window.SetSize(width, height)
        self._set_quality(moving)
        self._place(scale)
        self._window.Render()
        picture = self._pixels(width, height)
        self.frames += 1
        if not moving:
            self.last_full_seconds = time.perf_counter() - started
        return picture

    def close(self) -> None:
        """Give the graphics resources back."""
        self._window.Finalize()

    def _outward(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the unit vector from the middle of the skull to a point."""
        skull = self._layers["skull"].mesh
        middle = self._pose.centre if skull is None else skull.outline.mean(axis=0)
        return _unit(point - middle)

    def _new_actor(self, colour: looks.Colour) -> vtkActor:
        actor = vtkActor()
        mapper = vtkPolyDataMapper()
        mapper.ScalarVisibilityOff()
        actor.SetMapper(mapper)
        actor.GetProperty().SetColor(*colour)
        actor.VisibilityOff()
        looks.set_material(actor)
        self._renderer.AddActor(actor)
        return actor

    def _show_layers(self) -> None:
        """Show each layer as asked for; with the wipe, both are cut and solid."""
        for held in self._layers.values():
            surface = held.actor.GetProperty()
            held.shown_opacity = 1.0 if self.is_wiped or held.opacity >= _OPAQUE else held.opacity
            surface.SetOpacity(held.shown_opacity)
            # Through a translucent face only its near side is wanted, not the far cheek as well.
            surface.SetBackfaceCulling(held.shown_opacity < _OPAQUE)
            seen = held.mesh is not None and held.visible and held.shown_opacity > _CLEAR
            held.actor.SetVisibility(seen)
        skull, face = (self._layers[name] for name in ("skull", "face"))
        self._wipe.show(self.is_wiped, skull.actor.GetMapper(), face.actor.GetMapper())
        self._bands.dress(face.actor, None if face.mesh is None else face.mesh.band_top_mm)

    def _set_quality(self, moving: bool) -> None:
        """Choose full or reduced meshes, and peel only where something translucent is shown."""
        translucent = False
        for held in self._layers.values():
            if held.mesh is None:
                continue
            held.actor.GetMapper().SetInputData(held.mesh.light if moving else held.mesh.full)
            translucent |= bool(held.actor.GetVisibility()) and held.shown_opacity < _OPAQUE
        self._renderer.SetUseDepthPeeling(translucent and not moving)
        self._renderer.SetMaximumNumberOfPeels(_PEELS)
        self._renderer.SetOcclusionRatio(0.0)

    def _place(self, scale: float) -> None:
        """Set the camera from the pose, and the writing to match."""
        pose = self._pose
        camera = self._renderer.GetActiveCamera()
        camera.SetFocalPoint(*pose.centre)
        camera.SetPosition(*(pose.centre + 800.0 * pose.toward_camera))
        camera.SetViewUp(*pose.up)
        camera.SetParallelScale(pose.half_height)
        camera.SetClippingRange(10.0, 1600.0)
        skull = self._layers["skull"]
        hidden = [
            skull.mesh is not None
            and bool(skull.actor.GetVisibility())
            and is_hidden(skull.mesh, np.array(marker.position), pose)
            for marker in self._markers.shown
        ]
        self._markers.place(pose, self._size, scale, hidden)
        self._wipe.place(pose, self._size, scale)
        self._bands.place(self._size, scale)
        if self._labels is not None and self._cube is not None:
            frame_from_patient = np.asarray(np.linalg.inv(self._patient_from_frame), np.float64)
            self._labels.place(pose, frame_from_patient, self._title, self._note, self._size, scale)
            self._cube.place(pose, frame_from_patient, self._size, scale)

    def _pixels(self, width: int, height: int) -> NDArray[np.uint8]:
        buffer = vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, width - 1, height - 1, 0, buffer, 0)
        flat = vtk_to_numpy(buffer).reshape(height, width, 3)
        return np.ascontiguousarray(flat[::-1])


def _offscreen_window() -> vtkRenderWindow:
    """Return a render window that never appears; EGL where Linux has no X display.

    Multisampling is off: with depth peeling it makes translucent surfaces vanish.
    """
    window: vtkRenderWindow
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        from vtkmodules.vtkRenderingOpenGL2 import vtkEGLRenderWindow

        window = vtkEGLRenderWindow()
    else:
        window = vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    return window


def _turned(
    vector: NDArray[np.float64], axis: NDArray[np.float64], degrees: float
) -> NDArray[np.float64]:
    """Return the vector turned about a unit axis (Rodrigues' formula)."""
    angle = np.deg2rad(degrees)
    return np.asarray(
        vector * np.cos(angle)
        + np.cross(axis, vector) * np.sin(angle)
        + axis * (axis @ vector) * (1 - np.cos(angle))
    )


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / np.linalg.norm(vector))
