"""Triangle surfaces out of fields of values, and what makes a surface fit to be shown.

The only module of inference that touches VTK.  It knows no skull and no face.
"""

from __future__ import annotations

import fast_simplification
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from vtkmodules.util.numpy_support import (
    numpy_to_vtk,
    numpy_to_vtkIdTypeArray,
    vtk_to_numpy,
)
from vtkmodules.vtkCommonCore import reference, vtkPoints
from vtkmodules.vtkCommonDataModel import (
    vtkCellArray,
    vtkImageData,
    vtkPolyData,
    vtkStaticCellLocator,
)
from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkWindowedSincPolyDataFilter
from vtkmodules.vtkImagingStencil import vtkImageStencilToImage, vtkPolyDataToImageStencil

from facegen_inference.mesh import Mesh
from facegen_inference.volume import Grid


def isosurface(
    values: NDArray[np.float32], patient_from_voxel: NDArray[np.float64], level: float
) -> Mesh:
    """Return the surface where a field crosses a level, to a fraction of a voxel.

    Parameters
    ----------
    values
        (k, j, i) float32 field, lower inside than outside (a signed distance, negative inside).
    patient_from_voxel
        4×4; (k, j, i, 1) → LPS mm, of either handedness.
    level
        Value on the surface.

    Returns
    -------
    Mesh in LPS mm, triangles counter-clockwise seen from where the field is higher; empty when
    the level is never crossed.  Open where the surface leaves the grid.
    """
    field = np.ascontiguousarray(values, dtype=np.float32)
    image = vtkImageData()
    image.SetDimensions(field.shape[2], field.shape[1], field.shape[0])
    image.GetPointData().SetScalars(numpy_to_vtk(field.reshape(-1), deep=False))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, float(level))
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    edges.Update()
    mesh = _mesh(edges.GetOutput())
    # VTK counts (x, y, z) = (i, j, k) and winds its triangles to face lower values: turned here,
    # and turned back by `transformed` when the matrix mirrors that index space.
    outward = np.ascontiguousarray(mesh.triangles[:, ::-1])
    return Mesh(mesh.vertices, outward).transformed(patient_from_voxel[:, [2, 1, 0, 3]])


def smooth(mesh: Mesh, iterations: int) -> Mesh:
    """Return the mesh smoothed by Taubin's windowed sinc, which does not shrink it.

    Parameters
    ----------
    mesh
        LPS mm; vertex data are kept.
    iterations
        Degree of the filter; 10 softens voxel steps, 0 changes nothing.
    """
    if iterations <= 0 or not len(mesh.triangles):
        return mesh
    sinc = vtkWindowedSincPolyDataFilter()
    sinc.SetInputData(_poly_data(mesh))
    sinc.SetNumberOfIterations(iterations)
    sinc.SetPassBand(0.1)
    sinc.BoundarySmoothingOff()
    sinc.FeatureEdgeSmoothingOff()
    sinc.NonManifoldSmoothingOn()
    sinc.NormalizeCoordinatesOn()
    sinc.Update()
    return Mesh(_mesh(sinc.GetOutput()).vertices, mesh.triangles, dict(mesh.vertex_data))


def reduce(mesh: Mesh, target_triangles: int) -> Mesh:
    """Return the mesh with about `target_triangles` triangles, by quadric edge collapse.

    Vertex data do not survive.  A mesh that is small enough comes back as it is.
    """
    count = len(mesh.triangles)
    if count <= target_triangles:
        return mesh
    # float32 has its best resolution near zero: collapse around the mesh's own centre.
    centre = mesh.vertices.mean(axis=0)
    vertices, triangles = fast_simplification.simplify(
        (mesh.vertices - centre).astype(np.float32),
        mesh.triangles,
        target_count=int(target_triangles),
    )
    return Mesh(
        np.asarray(vertices, dtype=np.float64) + centre,
        np.ascontiguousarray(triangles, dtype=np.int32),
    )


def largest_piece(mesh: Mesh) -> Mesh:
    """Return the connected piece of the mesh with the most triangles."""
    if not len(mesh.triangles):
        return mesh
    count = len(mesh.vertices)
    a, b = mesh.triangles[:, [0, 1]].ravel(), mesh.triangles[:, [1, 2]].ravel()
    links = coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(count, count))
    _, piece = connected_components(links, directed=False)
    biggest = np.bincount(piece[mesh.triangles[:, 0]]).argmax()
    return mesh.kept(np.asarray(piece == biggest))


def filled(mesh: Mesh, grid: Grid) -> NDArray[np.float32]:
    """Return how much of each voxel lies inside a closed surface, 0..1.

    Parameters
    ----------
    mesh
        LPS mm, closed or with small holes; triangles may face either way.
    grid
        Axis-aligned: (k, j, i) along (z, y, x).

    Returns
    -------
    (k, j, i) float32, from eight samples a voxel.
    """
    inside = grid.voxel_points(mesh.vertices)
    low = np.maximum(0, np.floor(inside.min(axis=0)).astype(int) - 1)
    high = np.minimum(grid.shape, np.ceil(inside.max(axis=0)).astype(int) + 2)
    result = np.zeros(grid.shape, dtype=np.float32)
    if (high <= low).any():
        return result
    k, j, i = (int(n) for n in high - low)
    step = 0.5 * grid.spacing[::-1]
    corner = grid.patient_points(low[None].astype(np.float64))[0] - 0.5 * step
    stencil = vtkPolyDataToImageStencil()
    stencil.SetInputData(_poly_data(mesh))
    stencil.SetOutputOrigin(*corner)
    stencil.SetOutputSpacing(*step)
    stencil.SetOutputWholeExtent(0, 2 * i - 1, 0, 2 * j - 1, 0, 2 * k - 1)
    image = vtkImageStencilToImage()
    image.SetInputConnection(stencil.GetOutputPort())
    image.SetInsideValue(1)
    image.SetOutsideValue(0)
    image.SetOutputScalarTypeToUnsignedChar()
    image.Update()
    fine = vtk_to_numpy(image.GetOutput().GetPointData().GetScalars())
    counted = fine.reshape(k, 2, j, 2, i, 2).sum(axis=(1, 3, 5), dtype=np.uint8)
    place = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    result[place] = counted / np.float32(8)
    return result


def _mesh(poly: vtkPolyData) -> Mesh:
    """Return VTK's points and triangles as a `Mesh`."""
    if poly.GetNumberOfPolys() == 0:
        return Mesh(np.empty((0, 3)), np.empty((0, 3), dtype=np.int32))
    points = vtk_to_numpy(poly.GetPoints().GetData()).astype(np.float64)
    corners = vtk_to_numpy(poly.GetPolys().GetConnectivityArray())
    return Mesh(points, corners.reshape(-1, 3).astype(np.int32))


def _poly_data(mesh: Mesh) -> vtkPolyData:
    """Return a `Mesh` as VTK's poly data, float64 points."""
    points = vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(mesh.vertices), deep=True))
    cells = vtkCellArray()
    cells.SetData(3, numpy_to_vtkIdTypeArray(mesh.triangles.astype(np.int64).ravel(), deep=True))
    poly = vtkPolyData()
    poly.SetPoints(points)
    poly.SetPolys(cells)
    return poly


def ray_hits(
    mesh: Mesh, origins: NDArray[np.float64], directions: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return where lines through points meet a mesh nearest to those points.

    Parameters
    ----------
    mesh
        Any triangles.
    origins, directions
        (N, 3) points, mm, and unit vectors; both senses are looked along.
    reach
        How far to look, mm.

    Returns
    -------
    (N,) signed distance along the direction, NaN without a hit, and (N,) triangle met, -1 there.
    """
    locator = vtkStaticCellLocator()
    locator.SetDataSet(_poly_data(mesh))
    locator.BuildLocator()
    distance = np.full(len(origins), np.nan)
    triangle = np.full(len(origins), -1, dtype=np.intp)
    t, sub, cell = reference(0.0), reference(0), reference(0)
    spot, local = [0.0] * 3, [0.0] * 3
    for sense in (1.0, -1.0):
        ends = origins + sense * reach * directions
        for n, (start, end) in enumerate(zip(origins.tolist(), ends.tolist(), strict=True)):
            if not locator.IntersectWithLine(start, end, 1e-6, t, spot, local, sub, cell):
                continue
            along = sense * reach * float(t.get())
            if not abs(distance[n]) <= abs(along):  # NaN compares as false
                distance[n], triangle[n] = along, int(cell.get())
    return distance, triangle
