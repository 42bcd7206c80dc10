"""The template fitted on egg-shaped heads that never were, and asked about others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from facegen_inference.errors import UserError
from facegen_inference.face_region import predicted_region
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.surface import isosurface
from facegen_inference.template import lay, skin_fields
from facegen_inference.template_model import TemplateModel, read_template
from facegen_inference.template_registration import BoneField
from facegen_inference.template_share import TemplateShare, read_template_share
from facegen_training.cohort.dataset import Dataset, Prepared, as_stored
from facegen_training.export import template_of
from facegen_training.template.fit_template import fit_template
from facegen_training.template.laid_people import _People

SPEC = PreprocessSpec(shape=(51, 42, 39), spacing_mm=5.0)
FITTED = list(range(11))
NEW = [11, 12, 13]

Array = NDArray[np.float32]


def head(random: np.random.Generator) -> Array:
    """Return fields of a shell of bone under skin: the wider the skull, the thicker the tissue."""
    index = np.indices(SPEC.shape).reshape(3, -1).T.astype(np.float64)
    points = SPEC.grid.patient_points(index) - [0.0, -20.0, -10.0]
    part = random.uniform(0.92, 1.08, 3)
    radii = np.array([66.0, 84.0, 92.0]) * part
    inner = np.linalg.norm(points / radii, axis=1)
    outer = inner * (inner - 1) / np.linalg.norm(points / radii**2, axis=1)
    depth = 7.0 + 5.0 * np.clip(-points[:, 1] / 90, 0, 1) + 60.0 * (part[0] - 1)
    bone, skin = np.maximum(outer, -9.0 - outer), outer - depth
    seen = np.ones(len(points))
    clip = SPEC.clip_mm
    fields = np.stack([np.clip(bone, -clip, clip), seen, np.clip(skin, -clip, clip), seen])
    return fields.reshape(4, *SPEC.shape).astype(np.float32)


@pytest.fixture(scope="module")
def eggs() -> Dataset:
    random = np.random.default_rng(5)
    heads = tuple(as_stored(head(random)) for _ in range(14))
    people = tuple(
        Prepared(f"egg_{n:02d}", "synthetic", "train", "", "", "given", 0.0) for n in range(14)
    )
    return Dataset(SPEC, people, heads, "of eggs")


@pytest.fixture(scope="module")
def model(eggs: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TemplateModel:
    path = tmp_path_factory.mktemp("template") / "template.npz"
    return read_template(fit_template(eggs, FITTED, path))


def predicted(model: TemplateModel, bone: Array, observed: Array) -> tuple[Array, Array]:
    laid = lay(model, BoneField(bone, observed, SPEC.grid))
    return skin_fields(model, laid, np.zeros(len(model.other_modes)))


def skin_points(skin: Array) -> NDArray[np.float64]:
    points = isosurface(skin, SPEC.grid.patient_from_voxel, 0.0).vertices
    return points[predicted_region(points)]


def miss(field: Array, skin: Array) -> float:
    """Return the mean distance of a predicted field from 0 on the true skin of the face."""
    at = SPEC.grid.voxel_points(skin_points(skin)).T
    return float(np.abs(map_coordinates(field, at, order=1)).mean())


def test_unseen_heads_are_met_to_a_fraction_of_a_millimetre(
    eggs: Dataset, model: TemplateModel
) -> None:
    skins = np.stack([eggs.fields(row).numpy()[2] for row in FITTED])
    errors, plain = [], []
    for row in NEW:
        bone, observed, skin, _ = eggs.fields(row).numpy()
        errors.append(miss(predicted(model, bone, observed)[0], skin))
        plain.append(miss(skins.mean(axis=0), skin))
    assert max(errors) < 0.3
    assert min(plain) > 1.0


def test_a_mirrored_skull_has_the_mirrored_face(eggs: Dataset, model: TemplateModel) -> None:
    bone, observed, skin, _ = eggs.fields(NEW[0]).numpy()
    before = predicted(model, bone, observed)[0]
    swollen = bone.copy()
    z, y, x = np.indices(bone.shape)
    swollen[(x > 26) & (z > 16) & (z < 34) & (y < 18)] -= 4.0  # on the examinee's left: +x
    straight = predicted(model, swollen, observed)[0]
    mirrored = predicted(model, swollen[:, :, ::-1].copy(), observed)[0]
    points = skin_points(skin)
    there = map_coordinates(straight, SPEC.grid.voxel_points(points).T, order=1)
    back = map_coordinates(mirrored, SPEC.grid.voxel_points(points * [-1, 1, 1]).T, order=1)
    assert np.abs(there - back).max() < 0.1
    moved = there - map_coordinates(before, SPEC.grid.voxel_points(points).T, order=1)
    assert moved[points[:, 0] > 20].min() < -2.0
    assert np.abs(moved[points[:, 0] < -20]).max() < 0.5


def test_where_bone_is_missing_the_rest_is_followed_and_the_spread_grows(
    eggs: Dataset, model: TemplateModel
) -> None:
    bone, observed, skin, _ = eggs.fields(NEW[1]).numpy()
    whole, sure = predicted(model, bone, observed)
    gone = observed.copy()
    gone[:26] = 0
    cut = np.where(gone > 0, bone, np.float32(SPEC.clip_mm)).astype(np.float32)
    part, unsure = predicted(model, cut, gone)
    assert miss(part, skin) < miss(whole, skin) + 2.0
    points = skin_points(skin)
    grown = map_coordinates(unsure - sure, SPEC.grid.voxel_points(points).T, order=1)
    assert grown[points[:, 2] < -70].mean() > 2 * grown[points[:, 2] > 10].mean() > 0


def test_nobody_else_has_influence_and_the_same_people_give_the_same_file(
    eggs: Dataset, model: TemplateModel, tmp_path: Path
) -> None:
    others = tuple(a if row in FITTED else np.zeros_like(a) for row, a in enumerate(eggs.stored))
    second = fit_template(replace(eggs, stored=others), FITTED, tmp_path / "second.npz")
    other = read_template(second)
    assert model.about == other.about
    assert np.array_equal(model.depth_modes, other.depth_modes)
    assert np.array_equal(model.shape_modes, other.shape_modes)


def test_scans_of_one_person_are_left_out_together_and_are_one_person(
    eggs: Dataset, tmp_path: Path
) -> None:
    twice = replace(eggs, people=tuple(replace(p, person=p.id[:5]) for p in eggs.people))
    with pytest.raises(UserError, match="2 people are too few"):  # egg_0 and egg_1
        fit_template(twice, FITTED, tmp_path / "few.npz")
    assert _People(twice, FITTED).person.tolist() == [0] * 10 + [1]


def test_too_few_people_are_refused(eggs: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too few for a template"):
        fit_template(eggs, FITTED[:5], tmp_path / "few.npz")
    assert not list(tmp_path.iterdir())


def test_a_model_file_takes_a_template_of_the_people_that_train_alone(
    eggs: Dataset, model: TemplateModel
) -> None:
    parts = ["train" if row in FITTED else "test" for row in range(len(eggs.people))]
    mixed = [replace(p, part=part) for p, part in zip(eggs.people, parts, strict=True)]
    text = template_of(replace(eggs, people=tuple(mixed)), 0.25)
    assert text is not None
    held = read_template_share(text, SPEC)
    assert held.share == 0.25
    assert np.array_equal(held.template.depth_modes, model.depth_modes)
    assert template_of(eggs, 0.0) is None


def test_a_share_moves_a_network_s_skin_that_part_of_the_way(
    eggs: Dataset, model: TemplateModel, tmp_path: Path
) -> None:
    held = TemplateShare(0.25, model)
    fields = eggs.fields(NEW[0]).numpy()
    thick = fields[2] - 4  # a network that puts the skin 4 mm too far out
    moved = held.moved(fields[:2], thick)
    assert moved is not None
    assert miss(thick + moved, fields[2]) == pytest.approx(3.0, abs=0.3)
