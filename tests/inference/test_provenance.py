"""Hashes, versions and times."""

from __future__ import annotations

import hashlib
import time

import pytest

from facegen_inference.errors import UserError
from facegen_inference.progress import Cancelled
from facegen_inference.provenance import (
    combined_sha256,
    machine,
    package_versions,
    record_file,
    record_files,
    sha256_of,
    timed,
)


def test_a_hash_is_that_of_the_whole_file(tmp_path):
    path = tmp_path / "big"
    content = bytes(range(256)) * 9000  # more than one chunk
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()


def test_records_are_named_from_their_folder_and_sorted(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("z", "b/a", "c"):
        (tmp_path / name).write_text(name)
    records = record_files([tmp_path / n for n in ("z", "b/a", "c")], tmp_path)
    assert [record.name for record in records] == ["b/a", "c", "z"]
    assert [record.bytes for record in records] == [3, 1, 1]
    assert record_file(tmp_path / "z").name == "z"


def test_one_digest_for_many_files_knows_content_and_not_names(tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for number, path in enumerate(paths):
        path.write_text(str(number))
    before = combined_sha256(record_files(paths))
    paths[0].rename(tmp_path / "z")
    renamed = [tmp_path / "z", *paths[1:]]
    assert combined_sha256(record_files(renamed)) == before
    paths[1].write_text("other")
    assert combined_sha256(record_files(renamed)) != before


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="gone cannot be read"):
        record_file(tmp_path / "gone")


def test_hashing_can_be_stopped(tmp_path):
    path = tmp_path / "a"
    path.write_text("a")

    def stop(fraction: float, step: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        record_files([path], progress=stop)


def test_versions_hold_what_can_change_a_number():
    versions = package_versions()
    assert {"python", "facegen", "numpy", "SimpleITK", "vtk"} <= set(versions)
    assert all(versions.values())


def test_the_machine_is_described_without_its_name_or_user():
    import getpass
    import platform

    said = " ".join(str(value) for value in machine().values())
    assert platform.node() not in said.split()
    assert getpass.getuser() not in said.split()
    assert platform.machine() in said


def test_times_add_up_even_when_a_step_fails():
    timings: dict[str, float] = {}
    for _ in range(2):
        with timed(timings, "sleep"):
            time.sleep(0.02)
    with pytest.raises(ValueError, match="x"), timed(timings, "failed"):
        raise ValueError("x")
    assert 0.04 <= timings["sleep"] < 1
    assert timings["failed"] >= 0
