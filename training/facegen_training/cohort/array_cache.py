"""Arrays read when they are wanted, checked once, and kept as long as memory allows."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facegen_inference.errors import UserError
from facegen_training.cohort.arrays import decrypted, unpacked
from facegen_training.cohort.key import Key

CACHE_BYTES = 2 << 30


@dataclass(frozen=True)
class StoredArray:
    """Where a person's array lies.

    Attributes
    ----------
    path
        Its file.
    name
        Of the person, for sentences.
    sha256
        Of the file as it was written.
    key
        Decrypts it; None where it is plain.
    """

    path: Path
    name: str
    sha256: str
    key: Key | None = None

    def read(self, check: bool = True) -> NDArray[np.int16]:
        """Return the array.

        Parameters
        ----------
        check
            Whether to compare the file's hash.

        Raises
        ------
        UserError
            When the file is missing or changed, or the key is another.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise self._lost() from error
        if check and hashlib.sha256(data).hexdigest() != self.sha256:
            raise self._lost()
        return unpacked(decrypted(data, self.name, self.key) if self.key else data)

    def _lost(self) -> UserError:
        return UserError(
            f"The prepared array of {self.name} is missing or changed.",
            "Delete its file and run facegen-train prepare again.",
        )


class ArrayCache:
    """Keeps the arrays read last, up to a number of bytes; each process fills its own."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self._start()

    def _start(self) -> None:
        self._held: OrderedDict[Path, NDArray[np.int16]] = OrderedDict()
        self._checked: set[Path] = set()
        self._bytes = 0
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.limit = state["limit"]
        self._start()

    @property
    def bytes(self) -> int:
        """How much is held."""
        return self._bytes

    def get(self, stored: StoredArray) -> NDArray[np.int16]:
        """Return an array, from memory where it is there.

        Raises
        ------
        UserError
            As `StoredArray.read`.
        """
        with self._lock:
            array = self._held.get(stored.path)
            if array is not None:
                self._held.move_to_end(stored.path)
                return array
        array = stored.read(check=stored.path not in self._checked)
        array.flags.writeable = False
        with self._lock:
            self._checked.add(stored.path)
            if stored.path not in self._held and array.nbytes <= self.limit:
                self._held[stored.path] = array
                self._bytes += array.nbytes
            while self._bytes > self.limit:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
        return array
