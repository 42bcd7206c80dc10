"""A small made-up result: an egg for a skull, a larger egg for a face, every field filled in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from facegen_app.casework.case_runs import finished_run
from facegen_app.casework.export import inputs_of
from facegen_app.casework.results import Inputs
from facegen_app.desk import Desk
from facegen_inference.demo_head import load_head_model, patient_from_frame
from facegen_inference.face import Face, Variant
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmark
from facegen_inference.mesh import Mesh
from facegen_inference.reconstruct import Prepared, Request
from facegen_inference.scan import Scan
from facegen_inference.series import Series
from facegen_inference.skull import PARTS, Presence, Skull
from facegen_inference.volume import Volume

CARD: dict[str, object] = {
    "name": "Made-up model",
    "version": "0.0.1",
    "predicts": "skin signed distance, mm",
    "training_population": {"people": 60, "description": "Nobody.", "counts": {"made up": 60}},
    "held_out": [
        {
            "method": "neural", "people": 15, "mean_mm": 2.34, "median_mm": 2.0, "p95_mm": 6.0,
            "below_2mm_percent": 50, "below_2_5mm_percent": 60,
        }
    ],
    "held_out_note": "Not measured.",
    "calibration": {"factor50": 0.7, "factor90": 1.7, "people": 15, "note": "By person."},
    "latent": ["build"],
    "intended_use": "A test.",
    "limits": ["It is made up."],
    "licence": "Apache-2.0",
    "sources": [{"name": "Nothing", "licence": "none", "attribution": "nobody"}],
    "manifest_sha256": "a" * 64,
    "file": "made-up.onnx",
    "sha256": "b" * 64,
}  # fmt: skip


@dataclass(frozen=True)
class MadeUp:
    """What a reconstruction came to."""

    prepared: Prepared
    face: Face

    @property
    def inputs(self) -> Inputs:
        """The scan's files with their hashes."""
        return inputs_of(self.prepared.scan)

    def give_face(self, desk: Desk) -> None:
        """Let a window have the face as if it had been made there; nothing is drawn."""
        begun = desk.keeping.begin_run(Request())
        run = finished_run(begun, self.prepared, self.face, Request(), self.inputs)
        desk.case.set_face(self.face, Request())
        desk.keeping.add_run(run)


def egg(radius: float, points: int = 24) -> Mesh:
    """Return a closed egg, LPS mm; its blunt end up, its left side marked by nothing."""
    polar, around = np.meshgrid(
        np.linspace(0.05, np.pi - 0.05, points), np.arange(2 * points) * np.pi / points,
        indexing="ij",
    )  # fmt: skip
    vertices = np.stack(
        [
            0.8 * np.cos(around) * np.sin(polar),
            np.sin(around) * np.sin(polar),
            1.2 * np.cos(polar),
        ],
        axis=-1,
    ).reshape(-1, 3)
    vertices = np.concatenate([vertices, [[0.0, 0.0, 1.2], [0.0, 0.0, -1.2]]])
    around_once = 2 * points
    top, bottom = len(vertices) - 2, len(vertices) - 1
    row, column = np.meshgrid(np.arange(points - 1), np.arange(around_once), indexing="ij")
    here = row * around_once + column
    right = row * around_once + (column + 1) % around_once
    below, across = here + around_once, right + around_once
    first, last = np.arange(around_once), np.arange(around_once) + (points - 1) * around_once
    rings = [
        np.stack([here, below, right], -1).reshape(-1, 3),
        np.stack([right, below, across], -1).reshape(-1, 3),
        np.stack([np.full_like(first, top), first, np.roll(first, -1)], -1),
        np.stack([np.full_like(last, bottom), np.roll(last, -1), last], -1),
    ]
    return Mesh(radius * vertices, np.concatenate(rings).astype(np.int32))


@pytest.fixture
def make_up(tmp_path: Path) -> Callable[..., MadeUp]:
    """Return a function that makes up a result for a scan file of given content."""

    def make(content: bytes = b"a scan", name: str = "scan.bin") -> MadeUp:
        file = tmp_path / "input" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        volume = Volume(
            np.zeros((20, 30, 40), np.int16),
            np.diag([3.0, 2.0, 2.0, 1.0]),
            warnings=("The gantry tilt of 18.5° was undone.",),
        )
        scan = Scan(volume, None, Series("1", "volume", files=(file,)), (file,))
        parts = {p: Presence.PRESENT if n < 5 else Presence.ABSENT for n, p in enumerate(PARTS)}
        skull = Skull(
            np.zeros((20, 30, 40), np.float32), volume.grid, np.ones((20, 30, 40), bool),
            egg(70.0), parts, 250.0, ("The couch was removed.",),
        )  # fmt: skip
        landmarks = {
            code: Landmark(code, (1.5 * n, 2.0, -3.0), "mirrored" if n % 2 else "automatic", 0.9)
            for n, code in enumerate(("po-L", "po-R", "or-L", "or-R", "n"))
        }
        mesh = egg(80.0)
        ramp = np.linspace(1, 5, len(mesh.vertices)).astype(np.float32)
        thickness = ramp * 4
        thickness[:10] = np.nan
        values = {
            "spread_mm": ramp, "band50_mm": ramp * 0.7, "band90_mm": ramp * 1.7,
            "thickness_mm": thickness, "predicted": np.ones_like(ramp),
        }  # fmt: skip
        face = Face(
            Mesh(mesh.vertices, mesh.triangles, values), "neural",
            (Variant("thin", egg(78.0)), Variant("heavy", egg(83.0))),
            ("Shape from bone alone.",), "CPU (ONNX Runtime, fp32)", CARD, {"network": 1.25},
        )  # fmt: skip
        frame = Frame(np.eye(4), "landmarks", 1.2, 0.93)
        return MadeUp(Prepared(scan, skull, landmarks, frame, {"skull": 3.0}), face)

    return make


@pytest.fixture
def made_up(make_up: Callable[..., MadeUp]) -> MadeUp:
    """One made-up result."""
    return make_up()


@pytest.fixture(scope="session")
def coarse_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic head of the demo, tissues only, askew on a 2 mm grid, as a NIfTI file."""
    model = load_head_model()
    array = np.full(model.skin.shape, -1000, np.int16)
    array[model.skin < 0] = 40
    array[model.bone < 1] = 500  # between the two: the partial volume of the bone's edge
    array[model.bone < 0] = 1200
    matrix = patient_from_frame() @ model.grid.patient_from_voxel
    path = tmp_path_factory.mktemp("head") / "head.nii"
    sitk.WriteImage(Volume(array, matrix).to_sitk(), str(path))
    return path
