"""A mesh made ready for the screen: the whole surface, and a light one for while it moves.

Making one takes time (normals, reduction), so it is done inside a job; it needs no OpenGL.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData, vtkStaticCellLocator

from facegen_inference.mesh import Mesh

LIGHT_TRIANGLES = 60_000
"""About as many triangles as software rendering turns fluently."""

PRINT_TRIANGLES = 250_000
"""Edges of about 0.6 mm on a whole skull: three pixels of a 1200-pixel picture."""

_CORNER_SAMPLES = 4_000
_BAND = "band90_mm"


@dataclass(frozen=True)
class DisplayMesh:
    """What the scene shows of one mesh.

    Attributes
    ----------
    full, light
        VTK surfaces with normals; `light` has at most about `LIGHT_TRIANGLES` triangles.
    outline
        (N, 3) float64 LPS mm, a sample of the vertices with all extremes in it: enough to
        frame a picture.
    triangles
        Number of triangles of `full`.
    locator
        Finds the triangle of `full` under the mouse.
    band_top_mm
        Where the colours of the 90 % band end, mm: 98 % of the vertices lie below.  None where the
        mesh carries no band; else the surfaces have it as their scalars.
    """

    full: vtkPolyData
    light: vtkPolyData
    outline: NDArray[np.float64]
    triangles: int
    locator: vtkStaticCellLocator
    band_top_mm: float | None = None

    def twin(self) -> DisplayMesh:
        """Return the same surfaces in VTK objects of their own, for use on another thread."""
        full, light = vtkPolyData(), vtkPolyData()
        full.ShallowCopy(self.full)
        light.ShallowCopy(self.light)
        return DisplayMesh(
            full, light, self.outline, self.triangles, self.locator, self.band_top_mm
        )


def display_mesh(mesh: Mesh) -> DisplayMesh:
    """Make a mesh of at least one triangle ready for the screen."""
    full = _polydata(mesh)
    light, reduced = full, mesh
    if len(mesh.triangles) > LIGHT_TRIANGLES * 1.2:
        reduced = _reduced(mesh, LIGHT_TRIANGLES)
        light = _polydata(reduced)
    top = _add_bands(mesh, full, reduced, light)
    outline = _outline(mesh.vertices)
    return DisplayMesh(full, light, outline, len(mesh.triangles), _locator(full), top)


def print_mesh(mesh: Mesh) -> DisplayMesh:
    """Make a mesh ready for still pictures: no finer than a picture can show, no light copy."""
    if len(mesh.triangles) > PRINT_TRIANGLES * 1.2:
        mesh = _reduced(mesh, PRINT_TRIANGLES)
    full = _polydata(mesh)
    return DisplayMesh(full, full, _outline(mesh.vertices), len(mesh.triangles), _locator(full))


def _reduced(mesh: Mesh, triangles: int) -> Mesh:
    """Return a coarse copy of the mesh with about so many triangles, without vertex data."""
    from fast_simplification import simplify

    share = 1.0 - triangles / len(mesh.triangles)
    points, corners = simplify(
        mesh.vertices.astype(np.float32), mesh.triangles.astype(np.int32), share, agg=7
    )
    return Mesh(np.asarray(points, np.float64), np.asarray(corners, np.int32))


def _add_bands(mesh: Mesh, full: vtkPolyData, reduced: Mesh, light: vtkPolyData) -> float | None:
    """Give both surfaces the mesh's 90 % band as scalars; returns where its colours end, mm."""
    band = mesh.vertex_data.get(_BAND)
    if band is None or not np.isfinite(band).any():
        return None
    nearest = np.arange(len(band))
    if light is not full:
        from scipy.spatial import cKDTree

        nearest = cKDTree(mesh.vertices).query(reduced.vertices)[1]
    for data, values in ((full, band), (light, band[nearest])):
        scalars = numpy_to_vtk(np.ascontiguousarray(values, dtype=np.float32), deep=True)
        scalars.SetName(_BAND)
        data.GetPointData().SetScalars(scalars)
    return float(max(1.0, np.ceil(np.nanquantile(band, 0.98))))


def _outline(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an even sample of the vertices together with the extremes along each axis."""
    step = max(1, len(vertices) // _CORNER_SAMPLES)
    extremes = np.concatenate([vertices.argmin(axis=0), vertices.argmax(axis=0)])
    return np.concatenate([vertices[::step], vertices[extremes]])


def _locator(data: vtkPolyData) -> vtkStaticCellLocator:
    """Return a search tree over the triangles (0.03 s for 400,000 of them)."""
    locator = vtkStaticCellLocator()
    locator.SetDataSet(data)
    locator.BuildLocator()
    return locator


def _polydata(mesh: Mesh) -> vtkPolyData:
    """Copy a mesh into VTK, with its normals."""
    points = vtkPoints()
    points.SetData(numpy_to_vtk(mesh.vertices.astype(np.float32), deep=True))
    cells = vtkCellArray()
    flat = np.ascontiguousarray(mesh.triangles, dtype=np.int64).ravel()
    cells.SetData(3, numpy_to_vtkIdTypeArray(flat, deep=True))
    data = vtkPolyData()
    data.SetPoints(points)
    data.SetPolys(cells)
    normals = numpy_to_vtk(mesh.normals().astype(np.float32), deep=True)
    normals.SetName("Normals")
    data.GetPointData().SetNormals(normals)
    return data
