"""Whether a strange skull is told from a usual one, on the head that is no one's."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.demo_head import load_head_model
from facegen_inference.errors import ModelError
from facegen_inference.face import Face, Profile
from facegen_inference.familiarity import (
    NOT_MEASURED,
    Familiar,
    UnfamiliarSkull,
    check_familiar,
)
from facegen_inference.familiarity_file import (
    FAMILIARITY_KEY,
    Counted,
    Familiarity,
    Limits,
    Measure,
    packed,
    read_familiarity,
)
from facegen_inference.frame import Frame
from facegen_inference.mesh import Mesh
from facegen_inference.network import open_model
from facegen_inference.neural import predict_face
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.progress import silent
from facegen_inference.reconstruct import Request
from facegen_inference.skull import Skull

SPEC = PreprocessSpec()
STEP_MM, CLIP_MM = 5.0, 15.0
LIMITS: dict[Measure, Limits] = {
    "size": Limits(warn_below=0.92, warn_above=1.09, refuse_below=0.84, refuse_above=1.17),
    "face_size": Limits(warn_below=0.91, warn_above=1.11, refuse_below=0.81, refuse_above=1.21),
    "proportion": Limits(warn_below=0.94, warn_above=1.09, refuse_below=0.88, refuse_above=1.18),
    "misfit_mm": Limits(warn_above=1.1, refuse_above=1.5),
    "far_percent": Limits(warn_above=5.0, refuse_above=14.5),
    "upper_far_percent": Limits(warn_above=2.2),
    "shape_sd": Limits(warn_above=1.2, refuse_above=1.7),
    "missing_percent": Limits(warn_above=20.0),
    "turned_deg": Limits(warn_above=6.0),
    "moved_mm": Limits(warn_above=6.5),
}
"""About what people left out of the project's cohort gave."""

Fields = NDArray[np.float32]
Floats = NDArray[np.float64]


@cache
def places() -> Floats:
    """Return the (Z·Y·X, 3) frame points of the input grid."""
    return SPEC.grid.patient_points(np.indices(SPEC.shape).reshape(3, -1).T.astype(np.float64))


def head_at(points: Floats) -> Fields:
    """Signed distance to the demonstration head's bone at (N, 3) frame points, (N,)."""
    model = load_head_model()
    voxel = model.grid.voxel_points(points).T
    return np.asarray(map_coordinates(model.bone, voxel, order=1, mode="nearest"))


def fields(points: Floats | None = None, scale: float = 1.0) -> Fields:
    """Return a network's input of the head read at points; all was scanned."""
    bone = scale * head_at(places() if points is None else points)
    bone = np.clip(bone, -SPEC.clip_mm, SPEC.clip_mm).reshape(SPEC.shape)
    return np.stack([bone, np.ones_like(bone)]).astype(np.float32)


def coordinates() -> list[Floats]:
    return [axis.reshape(SPEC.shape) for axis in places().T]


@pytest.fixture(scope="module")
def usual() -> Familiarity:
    """The head as the mean; stretched and bent a little along each axis as the directions."""
    shape = tuple(int((n - 1) * SPEC.spacing_mm // STEP_MM) + 1 for n in SPEC.shape)
    start = Familiarity(
        people=40, shape=(shape[0], shape[1], shape[2]), spacing_mm=STEP_MM,
        origin_mm=SPEC.origin_mm, clip_mm=CLIP_MM, direction_mm=(1.0,), packed="", limits=LIMITS,
        counted=Counted(
            people=0, warned=0, refused=0, partial=0, partial_warned=0, partial_refused=0, note=""
        ),
    )  # fmt: skip
    points = start.grid.patient_points(np.indices(shape).reshape(3, -1).T.astype(np.float64))
    mean = np.clip(head_at(points), -CLIP_MM, CLIP_MM)
    directions = []
    for axis in range(3):
        for bend in (points[:, axis] * 0.03, 2.0 * np.sin(points[:, (axis + 1) % 3] / 40)):
            bent = points.copy()
            bent[:, axis] += bend
            directions.append(np.clip(head_at(bent), -CLIP_MM, CLIP_MM) - mean)
    text, units = packed(mean.reshape(shape), np.array(directions).reshape(-1, *shape), CLIP_MM)
    return start.model_copy(update={"packed": text, "direction_mm": tuple(units)})


def check(given: Fields, usual: Familiarity, profile: Profile | None = None) -> Familiar:
    return check_familiar(given, SPEC, usual, profile or Profile())


def test_a_usual_skull_is_no_news(usual: Familiarity) -> None:
    found = check(fields(), usual)
    assert found.warnings == ()
    assert found.remark == ""
    assert found.values["size"] == pytest.approx(1.0, abs=0.01)
    assert found.values["misfit_mm"] < 0.6


def without_jaw() -> Fields:
    given = fields()
    x, y, z = coordinates()
    ramus = np.maximum.reduce([28 - np.abs(x), z + 12, y + 9])
    given[0] = np.maximum(given[0], -np.minimum(z + 45, ramus))
    return given


def with_holes() -> Fields:
    given = fields()
    x, y, z = coordinates()
    random = np.random.default_rng(3)
    near = places()[np.abs(given[0].ravel()) < 1.0]
    for cx, cy, cz in near[random.permutation(len(near))[:20]]:
        ball = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) - 12
        given[0] = np.maximum(given[0], -ball)
    return given


def scanned_in_part() -> Fields:
    given = fields()
    _, y, z = coordinates()
    outside = (z > 40) | (y > -20)
    given[0][outside], given[1][outside] = SPEC.clip_mm, 0.0
    return given


def mirrored() -> Fields:
    x, y, z = places().T
    return fields(np.stack([-x, y, z], axis=1))


@pytest.mark.parametrize("make", [without_jaw, with_holes, scanned_in_part, mirrored])
def test_what_casework_brings_is_not_strange(
    make: Callable[[], Fields], usual: Familiarity
) -> None:
    assert check(make(), usual).warnings == ()


def smaller(vault: float, face: float) -> Fields:
    """A head whose vault and face are scaled, smoothly one into the other."""
    _, y, z = places().T
    share = 1 / (1 + np.exp((z - 25 + 0.4 * (y + 30)) / 8))
    scale = vault + (face - vault) * share
    return fields(places() / scale[:, None], vault)


def infant() -> Fields:
    """Vault and face as in the first year of the Bolton standards.

    From 1 to 18 years the area of the cranium's outline grows by 26 % and the face's by 69 %
    (Proportional growth of craniofacial regions, J Orofac Orthop, of the Bolton standards).
    """
    return smaller(1.26**-0.5, 1.69**-0.5)


def sphere() -> Fields:
    x, y, z = coordinates()
    shell = np.abs(np.sqrt(x**2 + (y + 30) ** 2 + (z - 10) ** 2) - 80) - 4
    return np.stack([np.clip(shell, -30, 30), np.ones_like(shell)]).astype(np.float32)


def dog() -> Fields:
    """The face drawn out to a snout twice as long."""
    points = places().copy()
    front = points[:, 1] < -40
    points[front, 1] = -40 + (points[front, 1] + 40) / 2
    return fields(points)


def upside_down() -> Fields:
    return fields(places() * [-1.0, 1.0, -1.0])


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (infant, "child"),
        (lambda: smaller(0.75, 0.75), "child"),
        (lambda: fields(places() / 1.3, 1.3), "scale"),
        (sphere, "bone"),
        (dog, "bone"),
        (upside_down, "bone"),
    ],
    ids=["infant", "small", "large", "sphere", "dog", "upside down"],
)
def test_strange_skulls_are_refused_and_the_way_out_is_named(
    make: Callable[[], Fields], word: str, usual: Familiarity
) -> None:
    with pytest.raises(UnfamiliarSkull) as caught:
        check(make(), usual)
    assert word in caught.value.message
    assert "tissue-depth" in caught.value.advice
    assert ("No method fits a child" in caught.value.advice) == (word == "child")
    assert caught.value.values["misfit_mm"] > 0
    # Plain data, typed as object.
    assert "misfit_mm" in caught.value.as_data()["details"]  # type: ignore[operator]


def bumped() -> Fields:
    given = fields()
    x, y, z = coordinates()
    ball = np.sqrt((x - 45) ** 2 + (y + 60) ** 2 + (z + 10) ** 2) - 32
    given[0] = np.minimum(given[0], ball)
    return given


def half_gone() -> Fields:
    given = fields()
    x, y, z = coordinates()
    given[0] = np.maximum(given[0], -np.maximum.reduce([-x, y + 25, z - 35]))
    return given


def tilted() -> Fields:
    angle = np.radians(15)
    turn = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    return fields(places() @ turn)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (bumped, "where none of theirs does"),
        (half_gone, "is not there though it was scanned"),
        (tilted, "frame is turned by 15"),
        (lambda: smaller(0.96, 0.88), "child"),
    ],
    ids=["bump", "half a face", "tilted frame", "older child"],
)
def test_doubtful_skulls_are_warned_of_with_the_reason(
    make: Callable[[], Fields], word: str, usual: Familiarity
) -> None:
    found = check(make(), usual)
    assert len(found.warnings) == 1
    assert word in found.warnings[0]
    assert "tissue-depth" in found.warnings[0]
    assert found.around(("shape from bone",))[0] == found.warnings[0]


def test_a_given_age_rules_a_child_out_before_anything_is_measured(usual: Familiarity) -> None:
    with pytest.raises(UnfamiliarSkull, match="7 years") as caught:
        check(fields(), usual, Profile(age=7))
    assert "No method fits a child" in caught.value.advice
    assert "14 years" in check(fields(), usual, Profile(age=14)).warnings[0]
    assert check(fields(), usual, Profile(age=40)).warnings == ()
    of_children = usual.model_copy(update={"youngest": 6.0})
    assert check(fields(), of_children, Profile(age=7)).warnings == ()
    with pytest.raises(UnfamiliarSkull):
        check(fields(), of_children, Profile(age=5))


def test_sex_and_build_are_not_looked_at(usual: Familiarity) -> None:
    plain = check(fields(), usual)
    assert check(fields(), usual, Profile(sex="female", age=70, build="heavy")) == plain


def test_bone_where_no_training_person_was_scanned_is_not_strange(usual: Familiarity) -> None:
    given = fields()
    x, y, z = coordinates()
    horn = np.maximum(np.hypot(x - 30, y - 20) - 25, np.abs(z - 80) - 40)
    given[0] = np.minimum(given[0], horn)
    assert check(given, usual).warnings
    space = usual.space()
    heights = usual.grid.patient_points(
        np.indices(usual.shape).reshape(3, -1).T.astype(np.float64)
    )[:, 2].reshape(usual.shape)
    text, units = packed(
        np.where(heights > 30, np.nan, space.mean), space.directions, usual.clip_mm
    )
    unknown = usual.model_copy(update={"packed": text, "direction_mm": tuple(units)})
    assert np.isnan(unknown.space().mean).any()
    assert check(given, unknown).warnings == ()


def test_too_little_bone_is_said(usual: Familiarity) -> None:
    given = fields()
    given[0] = SPEC.clip_mm
    found = check(given, usual)
    assert found.values == {}
    assert "too little bone" in found.around(("other",))[-1]


def test_a_file_without_skulls_says_that_nothing_was_measured() -> None:
    found = check_familiar(fields(), SPEC, None, Profile())
    assert found.around(("other",)) == ("other", NOT_MEASURED)


def chunk(field: int, value: bytes) -> bytes:
    size, out = len(value), b""
    while size > 127:
        out += bytes([size & 127 | 128])
        size >>= 7
    return bytes([field << 3 | 2]) + out + bytes([size]) + value


def with_skulls(path: Path, text: str) -> Path:
    """Add the skulls to a model file's metadata."""
    entry = chunk(1, FAMILIARITY_KEY.encode()) + chunk(2, text.encode())
    path.write_bytes(path.read_bytes() + chunk(14, entry))
    return path


def test_a_model_file_brings_its_skulls(
    write_model: Callable[..., Path], usual: Familiarity
) -> None:
    assert open_model(write_model()).familiarity is None
    model = open_model(with_skulls(write_model(), usual.to_json()))
    assert model.familiarity == usual
    assert len(usual.to_json()) < 1 << 19


def test_the_neural_method_asks_before_it_answers(
    write_model: Callable[..., Path], usual: Familiarity
) -> None:
    head = load_head_model()
    mesh = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32))
    skull = Skull(head.bone, head.grid, np.ones(head.grid.shape, dtype=bool), mesh)
    frame = Frame(np.eye(4), "given", 0.0, 1.0)

    def face(limits: Limits | None, age: float | None = None) -> Face:
        path = write_model()
        if limits is not None:
            text = usual.model_copy(update={"limits": {"size": limits}}).to_json()
            path = with_skulls(path, text)
        request = Request(model=path, device="cpu", variants=0, profile=Profile(age=age))
        return predict_face(skull, frame, {}, request, silent)

    plain, warned = face(Limits(warn_below=0.5)), face(Limits(warn_below=1.5))
    assert len(warned.notes) == len(plain.notes) + 1
    assert "child" in warned.notes[0]  # the first to be read
    assert warned.warnings == warned.notes[:1]
    assert plain.warnings == ()
    assert warned.model is not None
    # Plain data, typed as object.
    assert warned.model["familiarity"]["size"] == pytest.approx(1.0, abs=0.05)  # type: ignore[index]
    assert face(None).notes[-1] == NOT_MEASURED
    with pytest.raises(UnfamiliarSkull, match="child"):
        face(Limits(refuse_below=1.5))
    with pytest.raises(UnfamiliarSkull, match="7 years"):
        face(None, age=7)


def spoiled(text: str) -> list[str]:
    """Texts that are not a familiarity, each for another reason."""
    data = json.loads(text)
    return [
        "{",
        json.dumps({**data, "familiarity_version": 2}),
        json.dumps({**data, "surprise": 1}),
        json.dumps({**data, "limits": {"nose": {}}}),
        json.dumps({**data, "packed": data["packed"][:-8]}),
        json.dumps({**data, "packed": "no base 64"}),
        json.dumps({**data, "shape": [3, 3, 3]}),
        json.dumps({**data, "shape": [4000, 4000, 4000]}),
        json.dumps({**data, "shape": [1 << 32, 1 << 32, 4]}),
        json.dumps({**data, "direction_mm": [1.0]}),
    ]


def test_damaged_or_newer_skulls_are_refused_on_opening(
    write_model: Callable[..., Path], usual: Familiarity
) -> None:
    for text in spoiled(usual.to_json()):
        with pytest.raises(ModelError, match="training skulls"):
            read_familiarity(text)
    with pytest.raises(ModelError, match="training skulls"):
        open_model(with_skulls(write_model(), "{}"))
