from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from facegen_inference.errors import OutputError, UserError
from facegen_training.cohort.key import (
    ENVIRONMENT,
    SPLIT,
    Key,
    find_key,
    read_key,
    read_or_make_key,
)

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")


def test_a_key_is_made_once_and_is_then_the_same(tmp_path: Path) -> None:
    one = read_or_make_key(tmp_path / "a" / "lab.key", tmp_path / "out")
    again = read_or_make_key(tmp_path / "a" / "lab.key", tmp_path / "out")
    other = read_or_make_key(tmp_path / "b" / "lab.key", tmp_path / "out")
    assert one == again
    assert one.secret != other.secret
    assert len(one.secret) == 32
    assert one.secret.hex() not in repr(one)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["lab.key"]


@posix
def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    key = read_or_make_key(tmp_path / "lab.key", tmp_path / "out")
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    key.path.chmod(0o640)
    with pytest.raises(UserError, match="Others than its owner"):
        read_key(key.path)


def test_it_never_lies_among_what_it_protects(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="among what it protects"):
        read_or_make_key(tmp_path / "out" / "deep" / "lab.key", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_none_is_made_for_people_who_were_prepared_with_another(tmp_path: Path) -> None:
    (tmp_path / "out" / "0123").mkdir(parents=True)
    (tmp_path / "out" / "0123" / SPLIT).write_text("{}")
    with pytest.raises(UserError, match="There is no key file"):
        read_or_make_key(tmp_path / "wrong" / "lab.key", tmp_path / "out")
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("text", ["", "not a key", "ab" * 16, "é" * 64])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lab.key"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(UserError, match="not a key"):
        read_key(path)


def test_a_missing_key_says_how_to_give_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "there.key"))
    assert find_key() == tmp_path / "there.key"
    assert find_key(tmp_path / "other.key") == tmp_path / "other.key"
    with pytest.raises(UserError, match=f"--key or in {ENVIRONMENT}"):
        read_key()


def test_where_no_key_can_be_made_the_reason_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        read_or_make_key(tmp_path / "file" / "lab.key", tmp_path / "out")


def test_pseudonyms_follow_from_key_and_name() -> None:
    key, other = Key(Path("k"), b"1" * 32), Key(Path("k"), b"2" * 32)
    assert key.person("Anna Aal") == key.person("  anna  AAL ")
    assert key.person("Bo\u0308hm") == key.person("B\u00f6hm")
    assert key.person("Anna Aal") != key.person("Anna Aal 2")
    assert key.person("Anna Aal") != other.person("Anna Aal")
    assert key.id != other.id
    assert key.scan("p-1", "a") != key.scan("p-1", "b")
    assert key.derived("one", "x") != key.derived("two", "x")
