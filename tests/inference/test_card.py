from __future__ import annotations

import json

import pytest

from facegen_inference.card import Calibration, ModelCard, raised_mm, read_card
from facegen_inference.errors import ModelError

CARD: dict[str, object] = {
    "name": "face",
    "version": "1.2.0",
    "training_population": {"people": 3, "description": "eggs", "counts": {"eggs": 3}},
    "held_out": [
        {
            "method": "neural",
            "people": 2,
            "mean_mm": 2.0,
            "median_mm": 1.0,
            "p95_mm": 5.0,
            "below_2mm_percent": 60.0,
            "below_2_5mm_percent": 70.0,
        }
    ],
    "held_out_note": "",
    "calibration": {"factor50": 1.0, "factor90": 1.0, "people": 0, "note": ""},
    "latent": ["build"],
    "intended_use": "a lead",
    "limits": ["no ears"],
    "licence": "Apache-2.0",
    "sources": [{"name": "eggs", "licence": "own", "attribution": "a hen"}],
    "manifest_sha256": "0" * 64,
}


def test_a_card_survives_json() -> None:
    card = read_card(json.dumps(CARD))
    assert read_card(card.to_json()) == card
    assert card.as_data()["predicts"] == "skin signed distance, mm"


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"card_version": 2},
        {"version": "latest"},
        {"manifest_sha256": "abc"},
        {"predicts": "identity"},
        {"limits": []},
        {"sources": []},
        {"intended_use": ""},
        {"calibration": {"factor50": -1.0, "factor90": 1.0, "people": 0, "note": ""}},
        {"calibration": {"factor50": 1.0, "factor90": 1.0, "people": 0, "note": "", "x": 1}},
        {"training_population": {"people": 0, "description": "", "counts": {}}},
    ],
)
def test_a_wrong_card_is_refused_in_one_sentence(change: dict[str, object]) -> None:
    with pytest.raises(ModelError) as caught:
        read_card(json.dumps({**CARD, **change}))
    assert caught.value.message.endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["name", "licence", "held_out", "calibration"])
def test_a_card_that_leaves_something_out_is_refused(missing: str) -> None:
    with pytest.raises(ModelError, match=missing):
        read_card(json.dumps({key: value for key, value in CARD.items() if key != missing}))


@pytest.mark.parametrize("text", ["", "not json", "[" * 5000, '"' + "x" * 300_000 + '"'])
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        read_card(text)


def test_infinite_errors_are_refused() -> None:
    text = json.dumps(CARD).replace('"mean_mm": 2.0', '"mean_mm": Infinity')
    with pytest.raises(ModelError):
        read_card(text)


def test_cards_cannot_be_changed() -> None:
    card = ModelCard.model_validate(CARD)
    with pytest.raises(ValueError, match="frozen"):
        card.name = "other"


def test_a_sharp_scan_is_raised_and_a_coarse_one_is_not():
    calibration = Calibration(factor50=1, factor90=1, people=1, note="", sharp_mm=1.4)
    assert raised_mm(calibration, 0.45) == raised_mm(calibration, 1.0) == pytest.approx(1.4)
    assert raised_mm(calibration, 2.4) == pytest.approx(0.7)
    assert raised_mm(calibration, 3.8) == raised_mm(calibration, 5.0) == 0


def test_bands_by_region_and_builds_are_on_the_card_and_an_old_card_does_without() -> None:
    old = read_card(json.dumps(CARD)).calibration
    assert old.regions == ()
    assert (old.thin_sd, old.heavy_sd) == (-1.2816, 1.2816)
    nose = {"name": "nose", "factor50": 0.9, "factor90": 1.8}
    calibration = {"factor50": 1.0, "factor90": 1.0, "people": 2, "note": "", "regions": [nose]}
    card = read_card(json.dumps({**CARD, "calibration": {**calibration, "thin_sd": -1.5}}))
    assert card.calibration.regions[0].factor90 == 1.8
    assert read_card(card.to_json()) == card
    with pytest.raises(ModelError):
        read_card(json.dumps({**CARD, "calibration": {**calibration, "thin_sd": 0.5}}))
    for change in ({"factor50": 0}, {"name": "ear"}, {"name": "outside"}):
        wrong = {**calibration, "regions": [{**nose, **change}]}
        with pytest.raises(ModelError):
            read_card(json.dumps({**CARD, "calibration": wrong}))
