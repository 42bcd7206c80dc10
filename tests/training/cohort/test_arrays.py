from __future__ import annotations

import hashlib
import os
from pathlib import Path

import blosc2
import numpy as np
import pytest

from facegen_inference.errors import OutputError, UserError
from facegen_training.cohort.arrays import decrypted, encrypted, packed, unpacked, write_whole
from facegen_training.cohort.key import Key

KEY, OTHER = Key(Path("k"), b"1" * 32), Key(Path("k"), b"2" * 32)


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).integers(-3000, 3000, (4, 9, 7, 5)).astype(np.int16)


def test_a_packed_array_is_read_again_and_packs_the_same(array: np.ndarray) -> None:
    frame = packed(array)
    np.testing.assert_array_equal(unpacked(frame), array)
    assert unpacked(frame).dtype == np.int16
    assert packed(array.copy()) == frame


def test_the_frame_is_a_b2nd_file_of_which_one_channel_can_be_read(
    array: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "a.b2nd"
    path.write_bytes(packed(array))
    opened = blosc2.open(str(path), mode="r")
    assert opened.blocks == (1, 3, 7, 5)
    np.testing.assert_array_equal(opened[2], array[2])


def test_arrays_of_an_earlier_form_are_read_too(array: np.ndarray, tmp_path: Path) -> None:
    blosc2.save_array(array, str(tmp_path / "a.b2nd"), mode="w")
    np.testing.assert_array_equal(unpacked((tmp_path / "a.b2nd").read_bytes()), array)


def test_encryption_hides_and_gives_back(array: np.ndarray) -> None:
    frame = packed(array)
    secret = encrypted(frame, "p-1", KEY)
    assert decrypted(secret, "p-1", KEY) == frame
    assert frame[200:232] not in secret
    assert b"b2nd" not in secret
    assert encrypted(frame, "p-1", KEY) == secret
    nonces = {encrypted(frame + bytes([n]), "p-1", KEY)[16:28] for n in range(5)}
    assert len(nonces) == 5


@pytest.mark.parametrize("case", ["key", "name", "bit", "short", "plain"])
def test_what_is_not_what_was_encrypted_is_refused(array: np.ndarray, case: str) -> None:
    secret = bytearray(encrypted(packed(array), "p-1", KEY))
    key, name = KEY, "p-1"
    if case == "key":
        key = OTHER
    elif case == "name":
        name = "p-2"
    elif case == "bit":
        secret[100] ^= 1
    elif case == "short":
        del secret[-1]
    else:
        secret = bytearray(packed(array))
    with pytest.raises(UserError, match="cannot be decrypted"):
        decrypted(bytes(secret), name, key)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path / "file" / "a", b"new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "file"]


@pytest.mark.skipif(os.name != "posix", reason="resource limits are POSIX")
def test_a_full_disk_is_said_and_nothing_half_written_stays(tmp_path: Path) -> None:
    import resource
    import signal

    path = tmp_path / "a"
    write_whole(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written: File too large"):
            write_whole(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(b"old").digest()
    assert list(tmp_path.iterdir()) == [path]
