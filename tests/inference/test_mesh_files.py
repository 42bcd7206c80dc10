"""Meshes in and out: axes, unit, facing, and files that are no skull."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from facegen_inference.errors import OutputError, ScanError
from facegen_inference.mesh import Mesh
from facegen_inference.mesh_files import read_mesh, read_skull_mesh, write_mesh
from facegen_inference.scan import inspect_scan, open_scan

ENDINGS = [".ply", ".stl", ".obj"]


def ball(scale: float = 1.0, rings: int = 24) -> Mesh:
    """An ellipsoid of 150 × 190 × 170 mm with a bump on its left (+x), counter-clockwise."""
    angles = np.linspace(0, np.pi, rings)[1:-1]
    turns = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    grid = [
        (np.sin(a) * np.cos(t), np.sin(a) * np.sin(t), np.cos(a)) for a in angles for t in turns
    ]
    points = np.array([(0, 0, 1), *grid, (0, 0, -1)], dtype=float)
    points *= [75, 95, 85]
    points[points[:, 0] > 70, 0] += 10
    n, last = len(turns), len(points) - 1
    faces = []
    for t in range(n):
        u = (t + 1) % n
        faces.append((0, 1 + t, 1 + u))
        faces.append((last, last - n + u, last - n + t))
        for r in range(len(angles) - 1):
            a, b = 1 + r * n + t, 1 + r * n + u
            faces += [(a, a + n, b), (b, a + n, b + n)]
    mesh = Mesh(points * scale, np.array(faces, dtype=np.int32))
    assert (np.einsum("ij,ij->i", mesh.normals(), points) > 0).all()
    return mesh


def corners(mesh: Mesh) -> np.ndarray:
    return mesh.vertices[mesh.triangles]


@pytest.mark.parametrize("ending", ENDINGS)
def test_written_and_read_again(tmp_path, ending):
    mesh = ball()
    path = tmp_path / f"skull{ending}"
    write_mesh(mesh, path)
    assert b"SPACE=LPS" in path.read_bytes()[:200]
    scan = open_scan(path)
    assert np.allclose(corners(scan.mesh), corners(mesh), atol=1e-4)
    assert len(scan.mesh.vertices) == len(mesh.vertices)
    assert scan.volume is None
    assert scan.warnings == ()
    assert scan.geometry["space"] == "LPS"
    assert inspect_scan(path).proposed.kind == "mesh"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_ply_carries_vertex_data(tmp_path):
    mesh = ball()
    spread = np.linspace(0, 5, len(mesh.vertices)).astype(np.float32)
    thickness = np.where(spread > 4, np.nan, spread).astype(np.float32)
    full = Mesh(mesh.vertices, mesh.triangles, {"spread_mm": spread, "thickness_mm": thickness})
    write_mesh(full, tmp_path / "face.ply")
    read = read_mesh(tmp_path / "face.ply")
    assert np.array_equal(read.vertex_data["spread_mm"], spread)
    assert np.array_equal(read.vertex_data["thickness_mm"], thickness, equal_nan=True)
    assert np.array_equal(read.triangles, mesh.triangles)


def test_text_forms(tmp_path):
    mesh = ball(rings=6)
    lines = ["solid skull"]
    for triangle in corners(mesh):
        lines += ["facet normal 0 0 0", "outer loop"]
        lines += [f"vertex {x} {y} {z}" for x, y, z in triangle] + ["endloop", "endfacet"]
    (tmp_path / "text.stl").write_text("\n".join([*lines, "endsolid skull", ""]))
    ply = ["ply", "format ascii 1.0", "comment SPACE=LPS", f"element vertex {len(mesh.vertices)}",
           "property double x", "property double y", "property double z",
           f"element face {len(mesh.triangles)}", "property list uchar int vertex_indices",
           "end_header"]  # fmt: skip
    ply += [f"{x} {y} {z}" for x, y, z in mesh.vertices] + [
        f"3 {a} {b} {c}" for a, b, c in mesh.triangles
    ]
    (tmp_path / "text.ply").write_text("\n".join([*ply, ""]))
    for name in ("text.stl", "text.ply"):
        assert np.allclose(corners(read_mesh(tmp_path / name)), corners(mesh), atol=1e-4)


def test_big_endian_ply(tmp_path):
    mesh = ball(rings=6)
    header = (f"ply\nformat binary_big_endian 1.0\nelement vertex {len(mesh.vertices)}\n"
              "property float x\nproperty float y\nproperty float z\nproperty uchar red\n"
              f"element face {len(mesh.triangles)}\nproperty list uchar uint vertex_index\n"
              "end_header\n")  # fmt: skip
    body = b"".join(struct.pack(">3fB", *v, 7) for v in mesh.vertices)
    body += b"".join(struct.pack(">B3I", 3, *t) for t in mesh.triangles.tolist())
    (tmp_path / "big.ply").write_bytes(header.encode() + body)
    assert np.allclose(corners(read_mesh(tmp_path / "big.ply")), corners(mesh), atol=1e-4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_ras_is_turned_to_lps(tmp_path, ending):
    mesh = ball()
    ras = Mesh(mesh.vertices * [-1, -1, 1], mesh.triangles)
    path = tmp_path / f"ras{ending}"
    write_mesh(ras, path)
    path.write_bytes(path.read_bytes().replace(b"SPACE=LPS", b"SPACE=RAS"))
    read = open_scan(path).mesh
    assert np.allclose(corners(read), corners(mesh), atol=1e-4)
    assert read.vertices[:, 0].max() > 80, "the bump stays on the left"
    assert (np.einsum("ij,ij->i", read.normals(), read.vertices) > 0).all()


@pytest.mark.parametrize("ending", ENDINGS)
def test_silence_about_axes_is_warned_about(tmp_path, ending):
    path = tmp_path / f"silent{ending}"
    write_mesh(ball(), path)
    path.write_bytes(path.read_bytes().replace(b"SPACE=LPS", b"COLOUR=IT"))
    assert any("does not name its axes" in w for w in open_scan(path).warnings)


def test_inward_triangles_are_turned(tmp_path):
    mesh = ball()
    write_mesh(Mesh(mesh.vertices, mesh.triangles[:, ::-1].copy()), tmp_path / "in.stl")
    read = open_scan(tmp_path / "in.stl").mesh
    assert (np.einsum("ij,ij->i", read.normals(), read.vertices) > 0).all()


@pytest.mark.parametrize(
    ("scale", "units", "words"), [(0.001, "m", "metres"), (0.1, "cm", "centimetres")]
)
def test_other_units_must_be_named(tmp_path, scale, units, words):
    path = tmp_path / "skull.stl"
    write_mesh(ball(scale), path)
    path.write_bytes(path.read_bytes().replace(b"UNITS=mm", b"        "))
    with pytest.raises(ScanError, match=rf"looks like {words}.*--units {units}"):
        open_scan(path)
    read = open_scan(path, units=units).mesh
    assert np.ptp(read.vertices[:, 1]) == pytest.approx(190, abs=1)
    with pytest.raises(ScanError, match="skull is 100 to 260 mm"):
        open_scan(path, units="m" if units == "cm" else "cm")


def test_wrong_size_in_any_unit(tmp_path):
    write_mesh(ball(5.0), tmp_path / "giant.ply")
    with pytest.raises(ScanError, match="not of the size of a skull"):
        open_scan(tmp_path / "giant.ply")


@pytest.mark.parametrize("ending", ENDINGS)
def test_coordinates_that_are_no_numbers(tmp_path, ending):
    mesh = ball()
    mesh.vertices[5] = np.nan
    write_mesh(mesh, tmp_path / f"nan{ending}")
    with pytest.raises(ScanError, match="not numbers"):
        open_scan(tmp_path / f"nan{ending}")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.6])
def test_truncated(tmp_path, ending, share):
    path = tmp_path / f"cut{ending}"
    write_mesh(ball(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ScanError, match=r"damaged|no surface|not closed"):
        open_scan(path)


def test_open_and_inconsistent_surfaces(tmp_path):
    mesh = ball()
    write_mesh(
        Mesh(mesh.vertices, mesh.triangles[: len(mesh.triangles) // 2]), tmp_path / "half.ply"
    )
    turned = mesh.triangles.copy()
    turned[::5] = turned[::5, ::-1]
    write_mesh(Mesh(mesh.vertices, turned), tmp_path / "mixed.ply")
    with pytest.raises(ScanError, match="do not all face the same way"):
        open_scan(tmp_path / "mixed.ply")
    few = np.delete(mesh.triangles, [100, 900], axis=0)
    write_mesh(Mesh(mesh.vertices, few), tmp_path / "holes.ply")
    assert any(
        "small holes (6 open edges)" in w for w in open_scan(tmp_path / "holes.ply").warnings
    )


def test_half_a_surface_is_not_closed(tmp_path):
    """Holes are told by the share of open edges; a shell cut in many places is refused."""
    mesh = ball()
    write_mesh(
        Mesh(mesh.vertices, np.delete(mesh.triangles, np.s_[::9], axis=0)), tmp_path / "o.ply"
    )
    with pytest.raises(ScanError, match="is not closed"):
        open_scan(tmp_path / "o.ply")


def test_nothing_is_left_where_writing_fails(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_mesh(ball(), tmp_path / "missing" / "skull.ply")
    with pytest.raises(OutputError, match="no STL, PLY or OBJ"):
        write_mesh(ball(), tmp_path / "skull.txt")
    (tmp_path / "taken.ply").mkdir()
    with pytest.raises(OutputError):
        write_mesh(ball(), tmp_path / "taken.ply")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.ply"]


def test_facts(tmp_path: Path):
    write_mesh(ball(), tmp_path / "skull.ply")
    _, facts, _ = read_skull_mesh(tmp_path / "skull.ply")
    assert facts["units"] == "mm"
    assert facts["size_mm"][1] == pytest.approx(190, abs=1)
