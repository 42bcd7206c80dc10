"""Check a results folder: whether the files still have the hashes that were written down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facegen_app.casework.destination import RESULT_NAME, is_inside
from facegen_app.casework.results import FORMAT, FORMAT_VERSION
from facegen_inference.errors import UserError
from facegen_inference.progress import Progress, silent
from facegen_inference.provenance import sha256_of

FileState = Literal["unchanged", "changed", "missing"]


@dataclass(frozen=True)
class Checked:
    """One file compared with its record; `kind` is ``input`` or ``output``."""

    kind: Literal["input", "output"]
    name: str
    state: FileState

    def as_data(self) -> dict[str, str]:
        """Return the finding as plain data."""
        return {"kind": self.kind, "name": self.name, "state": self.state}


def read_result(folder: Path) -> dict[str, object]:
    """Return the ``result.json`` of a results folder.

    Raises
    ------
    UserError
        When there is none, it is damaged, or a newer program wrote it.
    """
    path = folder / RESULT_NAME if folder.is_dir() else folder
    advice = "Name a folder that facegen reconstruct has written."
    if not path.is_file():
        raise UserError(f"There is no {RESULT_NAME} in {folder}.", advice)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        kind, version = data["format"], int(data["format_version"])
        _ = [(row["name"], row["sha256"]) for row in data["outputs"]]
        _ = [(row["name"], row["sha256"]) for row in data["inputs"]["files"]]
        _ = (data["inputs"]["root"], data["request"], data["program"]["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a FaceGen result.", advice, reason=error) from error
    if kind != FORMAT:
        raise UserError(f"{path} is not a FaceGen result.", advice)
    if version > FORMAT_VERSION:
        raise UserError(f"{path} was written by a newer FaceGen.", "Update the program.")
    assert isinstance(data, dict)
    return data


def verify_result(folder: Path, progress: Progress = silent) -> tuple[Checked, ...]:
    """Compare every output and every input with its recorded hash.

    Raises
    ------
    UserError
        When `folder` holds no readable result.
    """
    data = read_result(folder)
    if not folder.is_dir():
        folder = folder.parent
    wanted = [("output", folder, row) for row in _rows(data, "outputs")]
    inputs = data["inputs"]
    assert isinstance(inputs, dict)
    root = inputs_root(folder, inputs)
    wanted += [("input", root, row) for row in _rows(inputs, "files")]
    checked = []
    for number, (kind, base, row) in enumerate(wanted):
        progress(number / len(wanted), "checking hashes")
        name, expected = str(row["name"]), str(row["sha256"])
        state = state_of(base, name, expected)
        checked.append(Checked("output" if kind == "output" else "input", name, state))
    progress(1.0, "checked")
    return tuple(checked)


def inputs_root(folder: Path, inputs: dict[str, object]) -> Path:
    """Return the folder that the input names are relative to; ``scan`` lies in the result."""
    return folder / str(inputs["root"])


def state_of(base: Path, name: str, expected: str) -> FileState:
    """Compare a file with its recorded hash; a name that leads outside `base` counts as missing."""
    path = base / name
    if not is_inside(name) or not path.is_file():
        return "missing"
    try:
        return "unchanged" if sha256_of(path) == expected else "changed"
    except OSError:
        return "missing"


def _rows(data: dict[str, object], key: str) -> list[dict[str, object]]:
    rows = data[key]
    assert isinstance(rows, list)
    return rows
