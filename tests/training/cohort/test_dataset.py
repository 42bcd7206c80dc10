from __future__ import annotations

import json
import os
import pickle
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from egg_heads import synthesize

from facegen_inference.errors import UserError
from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.array_cache import ArrayCache
from facegen_training.cohort.arrays import encrypted, packed
from facegen_training.cohort.dataset import (
    Dataset,
    Prepared,
    manifest_digest,
    read_dataset,
    read_manifest,
    write_json,
)
from facegen_training.cohort.key import Key, read_or_make_key

SPEC = PreprocessSpec(shape=(16, 14, 12), spacing_mm=16.0)
BYTES = 4 * 16 * 14 * 12 * 2


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return synthesize(tmp_path / "people", SPEC, people=6)


def _changed(manifest: Path, **entries: object) -> None:
    write_json(manifest, {**read_manifest(manifest), **entries})


def test_arrays_are_read_when_wanted_and_memory_is_bounded(manifest: Path) -> None:
    data = read_dataset(manifest, cache_bytes=2 * BYTES)
    assert data.cache.bytes == 0
    first = data.fields(0)
    assert first.shape == (4, *SPEC.shape)
    assert first.dtype == torch.float32
    for row in range(6):
        data.fields(row)
        assert data.cache.bytes <= 2 * BYTES
    assert data.array(5) is data.array(5)
    torch.testing.assert_close(data.fields(0), first)


def test_what_is_given_out_cannot_change_what_is_kept(manifest: Path) -> None:
    data = read_dataset(manifest)
    fields = data.fields(0)
    fields += 1
    assert not torch.equal(data.fields(0), fields)
    with pytest.raises(ValueError, match="read-only"):
        data.array(0)[0] = 1


def test_a_changed_array_is_noticed_at_the_first_read(manifest: Path) -> None:
    path = sorted(manifest.parent.glob("*.b2nd"))[0]
    data = read_dataset(manifest)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="synthetic_000 is missing or changed"):
        data.fields(0)
    data.fields(1)
    path.unlink()
    with pytest.raises(UserError, match="synthetic_000 is missing"):
        read_dataset(manifest)


def test_other_processes_read_it_with_a_cache_of_their_own(manifest: Path) -> None:
    data = read_dataset(manifest)
    data.fields(0)
    copy = pickle.loads(pickle.dumps(data))
    assert isinstance(copy, Dataset)
    assert (copy.cache.bytes, data.cache.bytes) == (0, BYTES)
    assert copy.cache.limit == data.cache.limit
    loader = torch.utils.data.DataLoader(
        _Rows(data), batch_size=2, num_workers=1, multiprocessing_context="spawn"
    )
    together = torch.cat(list(loader))
    for row in range(6):
        torch.testing.assert_close(together[row], data.fields(row))


class _Rows(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, data: Dataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.people)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.data.fields(row)


def test_an_array_larger_than_the_limit_is_read_and_not_kept(manifest: Path) -> None:
    data = read_dataset(manifest, cache_bytes=10)
    assert data.fields(0).shape == (4, *SPEC.shape)
    assert data.cache.bytes == 0
    assert ArrayCache(5).bytes == 0


def test_an_expired_cohort_is_not_trained_on(manifest: Path) -> None:
    today = date.today()
    _changed(manifest, retain_until=today.isoformat())
    read_dataset(manifest)
    _changed(manifest, retain_until=(today - timedelta(days=1)).isoformat())
    with pytest.raises(UserError, match=r"were to be kept until .* may not be trained on"):
        read_dataset(manifest)


def test_a_wiped_cohort_says_when(manifest: Path) -> None:
    _changed(manifest, wiped={"time": "2030-01-02T03:04:05+00:00", "files": 1, "bytes": 2})
    with pytest.raises(UserError, match="wiped on 2030-01-02"):
        read_dataset(manifest)


def test_wiping_does_not_change_who_was_trained_on(manifest: Path) -> None:
    before = read_dataset(manifest).manifest_sha256
    assert manifest_digest(read_manifest(manifest)) == before
    _changed(manifest, wiped={"time": "2030-01-02T03:04:05+00:00", "files": 1, "bytes": 2})
    assert manifest_digest(read_manifest(manifest)) == before
    _changed(manifest, people=read_manifest(manifest)["people"][1:])
    assert manifest_digest(read_manifest(manifest)) != before


def test_who_is_excluded_by_hand_is_not_read(manifest: Path) -> None:
    before = read_dataset(manifest)
    text = "# after looking\n\nsynthetic_001, mask on the skin\n"
    (manifest.parent / "exclude.txt").write_text(text, encoding="utf-8")
    after = read_dataset(manifest)
    assert [p.id for p in after.people] == [p.id for p in before.people if "001" not in p.id]
    assert after.manifest_sha256 != before.manifest_sha256
    torch.testing.assert_close(after.fields(1), before.fields(2))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("synthetic_001", "Line 1 of exclude.txt gives no reason"),
        ("synthetic_01, mask", "Line 1 of exclude.txt names nobody"),
    ],
)
def test_what_is_wrong_with_exclusions_is_said(manifest: Path, line: str, sentence: str) -> None:
    (manifest.parent / "exclude.txt").write_text(line, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        read_dataset(manifest)


def test_encrypted_people_need_their_key(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = read_or_make_key(tmp_path / "lab.key", manifest.parent)
    other = read_or_make_key(tmp_path / "other.key", manifest.parent)
    plain = read_dataset(manifest)
    _encrypt(manifest, plain, key)
    with pytest.raises(UserError, match="no key file"):
        read_dataset(manifest, tmp_path / "none.key")
    with pytest.raises(UserError, match="key is not the one"):
        read_dataset(manifest, other.path)
    torch.testing.assert_close(read_dataset(manifest, key.path).fields(3), plain.fields(3))
    monkeypatch.setenv("FACEGEN_KEY", str(key.path))
    torch.testing.assert_close(read_dataset(manifest).fields(3), plain.fields(3))


def _encrypt(manifest: Path, plain: Dataset, key: Key) -> None:
    import hashlib

    rows = []
    for row, person in enumerate(plain.people):
        data = encrypted(packed(np.array(plain.array(row))), person.id, key)
        (manifest.parent / f"{person.id}.b2nd.aes").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        rows.append({**asdict(person), "prepared_sha256": digest})
        os.unlink(manifest.parent / f"{person.id}.b2nd")
    _changed(manifest, people=rows, encrypted=True, key_id=key.id)


@pytest.mark.parametrize("text", ["", "[]", '{"people": []}', '{"people": [{}], "spec": {}}'])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError):
        read_dataset(path)


def test_a_manifest_of_an_earlier_form_is_read(manifest: Path) -> None:
    data = json.loads(manifest.read_text(encoding="utf-8"))
    for row in data["people"]:
        for name in ("person", "profile", "flags"):
            del row[name]
    manifest.write_text(json.dumps(data), encoding="utf-8")
    person = read_dataset(manifest).people[0]
    assert isinstance(person, Prepared)
    assert person.whose == person.id
