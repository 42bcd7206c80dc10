"""Which point of a surface lies under the mouse, and whether bone hides a point from the viewer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vtkmodules.vtkCommonCore import mutable
from vtkmodules.vtkCommonDataModel import vtkGenericCell
from vtkmodules.vtkRenderingCore import vtkActor, vtkCellPicker, vtkRenderer

from facegen_app.rendering.camera import Pose
from facegen_app.rendering.display_mesh import DisplayMesh

_SLACK_MM = 3.0
"""Bone this close in front of a point does not hide it: points lie in or just under the surface."""
_FAR_MM = 800.0


def picked(
    renderer: vtkRenderer, actor: vtkActor, mesh: DisplayMesh, x: float, y: float
) -> NDArray[np.float64] | None:
    """Return the point of one actor's full surface that is seen at a pixel.

    Parameters
    ----------
    renderer
        With its camera where the picture was taken from.
    actor
        What may be picked; everything else is looked through.
    mesh
        What the actor shows.
    x, y
        Pixels from the lower left.

    Returns
    -------
    (3,) LPS mm, or None where the actor is not there.
    """
    actor.GetMapper().SetInputData(mesh.full)
    picker = vtkCellPicker()
    picker.SetTolerance(0.0)
    picker.PickFromListOn()
    picker.AddPickList(actor)
    picker.AddLocator(mesh.locator)
    if not picker.Pick(x, y, 0.0, renderer) or picker.GetCellId() < 0:
        return None
    return np.array(picker.GetPickPosition(), dtype=np.float64)


def is_hidden(mesh: DisplayMesh, point: NDArray[np.float64], pose: Pose) -> bool:
    """Return whether the surface lies between a point, (3,) LPS mm, and the viewer."""
    start = point + _SLACK_MM * pose.toward_camera
    stop = point + _FAR_MM * pose.toward_camera
    where, parametric = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    share, sub, cell = mutable(0.0), mutable(0), mutable(0)
    hit = mesh.locator.IntersectWithLine(
        start, stop, 0.0, share, where, parametric, sub, cell, vtkGenericCell()
    )
    return bool(hit)
