"""A face on its way into a case, and out of it again without being made anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facegen_app.casework.case_actions import Run
from facegen_app.casework.case_data import CaseData
from facegen_app.casework.case_state import Row, State, canonical
from facegen_app.casework.case_steps import basis, basis_before
from facegen_app.casework.results import Inputs, request_data, result_data
from facegen_inference.face import Face, Profile, Variant
from facegen_inference.mesh import Mesh
from facegen_inference.mesh_formats import encode, parse
from facegen_inference.reconstruct import Request

if TYPE_CHECKING:
    from facegen_inference.reconstruct import Prepared


@dataclass(frozen=True)
class Begun:
    """What a case held when a face was asked for, to tell later whether it still does.

    Attributes
    ----------
    rests_on, basis, profile_basis
        As in `Run`.
    """

    rests_on: str
    basis: str
    profile_basis: str | None


def begin_run(state: State, request: Request) -> Begun:
    """Return what a face that is asked for now rests on."""
    asked: Row = {"value": canonical(request_data(request))}
    then: State = {**state, "settings": {**state["settings"], "request": asked}}
    fresh = "profile" not in state["steps"]
    return Begun(
        basis_before(state, "face"),
        basis(then, "face"),
        basis(state, "profile") if fresh else None,
    )


def finished_run(
    begun: Begun, prepared: Prepared, face: Face, request: Request, inputs: Inputs
) -> Run:
    """Return a face that was made as it enters a case; takes a second for a large one."""
    result = result_data(prepared, face, request, inputs, CaseData())
    result["warnings"] = list(face.warnings)
    result["timings"] = {step: round(time, 3) for step, time in face.timings.items()}
    meshes = {"face.ply": face.mesh, "skull.ply": prepared.skull.mesh}
    for number, variant in enumerate(face.variants, start=1):
        meshes[variant_file(number)] = variant.mesh
    return Run(
        request_data(request),
        result,
        begun.rests_on,
        begun.basis,
        {name: b"".join(encode(mesh, ".ply")) for name, mesh in meshes.items()},
        {},
        begun.profile_basis,
    )


def variant_file(number: int) -> str:
    """Return the name of the mesh of a variant; the first is number 1."""
    return f"variants/variant-{number:02d}.ply"


def face_of(result: Mapping[str, object], meshes: Mapping[str, bytes]) -> Face:
    """Return a face from what a case holds of its run.

    Raises
    ------
    KeyError, TypeError, ValueError
        When the run lacks a part.
    """
    variants, model, timings = result["variants"], result["model"], result.get("timings", {})
    notes, warnings = result["notes"], result.get("warnings", [])
    assert isinstance(variants, list)
    assert isinstance(notes, list)
    assert isinstance(warnings, list)
    assert isinstance(timings, dict)
    return Face(
        mesh_of(meshes["face.ply"]),
        str(result["method"]),
        tuple(
            Variant(str(row["name"]), mesh_of(meshes[variant_file(number)]))
            for number, row in enumerate(variants, start=1)
        ),
        tuple(notes),
        str(result["device"]),
        model if isinstance(model, dict) else None,
        timings,
        tuple(warnings),
    )


def mesh_of(data: bytes) -> Mesh:
    """Return a mesh that a case holds, LPS mm."""
    raw = parse(data, ".ply")
    return Mesh(raw.vertices, raw.triangles, raw.vertex_data)


def request_of(data: Mapping[str, object]) -> Request:
    """Return what was asked for; files of the examiner's own are known by their hash alone."""
    profile = data["profile"]
    assert isinstance(profile, dict)
    same = {name: data[name] for name in ("variants", "seed", "device", "depth_table", "purpose")}
    # A case holds words that were checked when they were stored; mypy sees text.
    return replace(Request(str(data["method"]), Profile(**profile)), **same)  # type: ignore[arg-type]
