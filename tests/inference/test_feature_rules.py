"""Rules for nose, eyes and mouth: what they give, and that none is used without its bone."""

from dataclasses import replace

import numpy as np
import pytest

from facegen_inference import mean_skin
from facegen_inference.atlas import load_atlas
from facegen_inference.carried_head import PersonBone, bone_controls, carried_skin
from facegen_inference.feature_rules import eyeball_front, features, lateral_margin, nose_tip


@pytest.fixture(scope="module")
def mean():
    atlas = load_atlas()
    return atlas, {code: (np.array(p), 1.0) for code, p in atlas.landmarks.items()}


def test_the_nose_tip_follows_rynn():
    points = {
        "n": (np.array([0.0, -95, 28]), 1.0),
        "rhi": (np.array([0.0, -105, 8]), 1.0),
        "ans": (np.array([0.0, -100, -22]), 1.0),
        "ss": (np.array([0.0, -95, -27]), 1.0),
        "pr": (np.array([0.0, -95, -40]), 1.0),
    }
    peg = nose_tip(points)
    y = np.hypot(10, 35)  # rhinion-subspinale
    x = np.hypot(5, 50)  # nasion-acanthion
    first = -95 - (0.83 * y - 3.5)
    second = -95 - (0.93 * y - 6.0)
    assert np.allclose(peg.tip(0), [0, (first + second) / 2, 28 - (0.9 * x - 2)])
    blurred = {**points, "rhi": (np.array([0.0, -98, 18]), 1.0)}  # nasal bones lost
    assert nose_tip(blurred) is None
    del points["ans"]
    assert nose_tip(points) is None


def test_without_bone_no_rule_is_used_and_the_notes_say_which_is_missing(mean):
    atlas, points = mean
    bare = {c: p for c, p in points.items() if c not in ("rhi", "mso-L", "sC-R")}
    found = features(bare, atlas.bone, atlas)
    assert found.pegs == []
    assert len(found.controls) == 1  # the right eye's
    assert found.controls[0].mean[0] < -20
    text = " ".join(found.notes)
    assert "tip of the nose follows the mean face: no bone was found for rhi" in text
    assert "left eye follows the mean face in its orbit: no bone was found for mso-L" in text
    assert "mouth follow the mean face: no bone was found for sC-R" in text
    assert "width of the nose" in text


def test_on_the_mean_skull_the_relative_rules_move_nothing(mean):
    atlas, points = mean
    found = features(points, atlas.bone, atlas)
    moved = [c for c in found.controls if not np.allclose(c.mean[0], 0)]
    assert len(moved) == 4
    for control in moved:
        assert np.allclose(control.person, control.mean)
        assert abs(float(mean_skin.skin_at(atlas, control.mean[None])[0])) < 0.1


def test_the_eyeball_stands_where_guyomarch_has_it(mean):
    atlas, points = mean
    for side, outward in (("L", 1), ("R", -1)):
        front = eyeball_front(side, points, atlas.bone, atlas.grid)
        top, low = points[f"mso-{side}"][0], points[f"or-{side}"][0]
        height = top[2] - low[2]
        assert front[2] == pytest.approx(top[2] - 0.441 * height)
        rim = lateral_margin(side, points, atlas.bone, atlas.grid)
        assert rim - front[1] == pytest.approx(0.513 * height)
        assert front[0] * outward > 20
        # It bulges before the lateral margin, and lies behind the brow and before the cheekbone.
        assert top[1] - 3 < front[1] < rim
    emptied = np.full_like(atlas.bone, 20.0)
    assert eyeball_front("L", points, emptied, atlas.grid) is None
    flat = {**points, "mso-L": (points["or-L"][0] + [0, 0, 10.0], 1.0)}
    assert eyeball_front("L", flat, atlas.bone, atlas.grid) is None


def test_a_wider_dental_arch_makes_a_wider_mouth_and_leaves_its_depth(mean):
    atlas, points = mean
    wide = dict(points)
    for code, out in (("sC-L", 2.0), ("sC-R", -2.0)):
        wide[code] = (points[code][0] + [out, 0, 0], 1.0)
    found = features(wide, atlas.bone, atlas)
    corners = [c for c in found.controls if c.free_depth]
    assert len(corners) == 2
    for control in corners:
        out = np.sign(control.mean[0])
        assert out * (control.person - control.mean)[0] == pytest.approx(2.0 * 1.319)
    absurd = {**points, "sC-L": (points["sC-L"][0] + [40.0, 0, 0], 1.0)}
    assert not [c for c in features(absurd, atlas.bone, atlas).controls if c.free_depth]


def test_the_carried_face_has_its_features_where_the_controls_say(mean):
    """A person whose whole head is the mean's, but for a nose that is 4 mm longer."""
    atlas, points = mean
    found = features(points, atlas.bone, atlas)
    bone = PersonBone(atlas.bone, np.ones(atlas.grid.shape, dtype=bool))
    tip = mean_skin.nose_tip(atlas)
    nose = next(c for c in found.controls if np.allclose(c.mean, tip))
    longer = replace(nose, person=tip - np.array([0, 4.0, 0]), doubt=0.5)
    rest = [c for c in found.controls if c is not nose]
    firm = bone_controls(points, atlas)
    plain = carried_skin([*firm, *rest], points, bone, atlas)
    skin = carried_skin([*firm, *rest, longer], points, bone, atlas)
    here = (tip - np.array([0, 2.0, 0]))[None]
    before, after = (float(mean_skin.sampled(f, atlas.grid, here)[0]) for f in (plain, skin))
    assert before > 1
    assert after < before - 1
    chin = np.array([atlas.landmarks["pg"]]) - np.array([0, 10.0, 0])
    assert abs(mean_skin.sampled(skin - plain, atlas.grid, chin)[0]) < 1
