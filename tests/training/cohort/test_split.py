from __future__ import annotations

import json
from pathlib import Path

import pytest

from facegen_inference.errors import UserError
from facegen_training.cohort.key import Key
from facegen_training.cohort.split import Fractions, Split, draw_split, read_split, split_data

KEY, OTHER = Key(Path("k"), b"1" * 32), Key(Path("k"), b"2" * 32)
PEOPLE = [f"p-{number:02d}" for number in range(50)]
FRACTIONS = Fractions(validation=0.1, test=0.2)


def _draw(people=PEOPLE, key=KEY, stated=None, kept=None, alike=()):  # type: ignore[no-untyped-def]
    kept = kept if isinstance(kept, Split) else Split(kept or {})
    return draw_split(people, key, FRACTIONS, stated or {}, kept, alike)


def test_the_shares_are_those_wanted() -> None:
    parts = list(_draw().parts.values())
    assert (parts.count("test"), parts.count("validation")) == (10, 5)


def test_order_does_not_matter_and_the_key_does() -> None:
    assert _draw().parts == _draw(PEOPLE[::-1]).parts
    assert _draw().parts != _draw(key=OTHER).parts


def test_nobody_moves_when_people_are_added() -> None:
    before = _draw(PEOPLE[:30]).parts
    after = _draw(kept=before).parts
    assert {p: after[p] for p in before} == before
    parts = list(after.values())
    assert (parts.count("test"), parts.count("validation")) == (10, 5)


def test_people_who_look_alike_stand_on_one_side() -> None:
    plain = _draw().parts
    one = next(p for p in PEOPLE if plain[p] == "test")
    other = next(p for p in PEOPLE if plain[p] == "train")
    third = next(p for p in reversed(PEOPLE) if plain[p] == "validation")
    parts = _draw(alike=[(one, other), (third, other)]).parts
    assert len({parts[p] for p in (one, other, third)}) == 1


def test_a_new_twin_joins_the_old_one_and_two_old_ones_are_held_out_together() -> None:
    kept = {"p-00": "test", "p-01": "train"}
    split = _draw(PEOPLE[:3], kept=kept, alike=[("p-00", "p-02")])
    assert split.parts["p-02"] == "test"
    assert not split.warnings
    split = _draw(PEOPLE[:3], kept=kept, alike=[("p-00", "p-01")])
    assert split.parts["p-01"] == "test"
    assert split.warnings == (
        "p-01 was moved from train to test, where a person stands whose scan is almost the same.",
    )


def test_a_list_may_state_parts_but_not_against_an_earlier_split() -> None:
    assert _draw(stated={"p-03": "validation"}).parts["p-03"] == "validation"
    with pytest.raises(UserError, match=r"puts p-03 into test, but split\.json has train"):
        _draw(stated={"p-03": "test"}, kept={"p-03": "train"})


def test_a_list_that_was_overruled_for_a_twin_may_be_given_again() -> None:
    """The same command twice; then with the twin left out; then with the list mended."""
    stated = {"p-00": "train", "p-01": "test"}
    first = _draw(PEOPLE[:9], stated=stated, alike=[("p-00", "p-01")])
    assert first.parts["p-00"] == "test"
    assert first.moved == {"p-00": "train"}
    assert _draw(PEOPLE[:9], stated=stated, kept=first, alike=[("p-00", "p-01")]) == first
    alone = _draw([p for p in PEOPLE[:9] if p != "p-01"], stated={"p-00": "train"}, kept=first)
    assert alone.parts == first.parts
    assert alone.moved == first.moved
    failed = _draw(PEOPLE[1:9], stated=stated, kept=first)
    assert failed.parts == first.parts
    mended = _draw(PEOPLE[:9], stated={"p-00": "test"}, kept=first)
    assert (mended.parts, mended.moved) == (first.parts, {})
    with pytest.raises(UserError, match=r"puts p-00 into train, but split\.json has test"):
        _draw(PEOPLE[:9], stated={"p-00": "train"}, kept=mended)
    with pytest.raises(UserError, match=r"puts p-00 into validation, but split\.json has test"):
        _draw(PEOPLE[:9], stated={"p-00": "validation"}, kept=first)


def test_a_split_kept_before_moves_were_noted_takes_the_same_list_again() -> None:
    stated, pair = {"p-00": "train", "p-01": "test"}, [("p-00", "p-01")]
    kept = {"p-00": "test", "p-01": "test"}
    split = _draw(PEOPLE[:2], stated=stated, kept=kept, alike=pair)
    assert (split.parts, split.moved) == (kept, {"p-00": "train"})


@pytest.mark.parametrize("shares", [(0.6, 0.4), (-0.1, 0.2), (1.0, 0.0), (float("nan"), 0.1)])
def test_shares_that_leave_nobody_to_train_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="leave nobody"):
        Fractions(*shares)


def test_a_stored_split_is_read_with_its_key_only(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    assert read_split(path, KEY) == Split({})
    data = split_data(_draw(), KEY, FRACTIONS)
    path.write_text(json.dumps(data), encoding="utf-8")
    assert read_split(path, KEY) == _draw()
    moved = Split({"p-00": "test"}, moved={"p-00": "train"})
    path.write_text(json.dumps(split_data(moved, KEY, FRACTIONS)), encoding="utf-8")
    assert read_split(path, KEY) == moved
    with pytest.raises(UserError, match="key is not the one"):
        read_split(path, OTHER)
    path.write_text(json.dumps({**data, "parts": {"p-1": "all"}}), encoding="utf-8")
    with pytest.raises(UserError, match="part that is not known"):
        read_split(path, KEY)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        read_split(path, KEY)
