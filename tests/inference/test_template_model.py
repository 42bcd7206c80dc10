"""The template's file: the one that ships, and files that are none."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest

from facegen_inference.errors import UserError
from facegen_inference.template_model import LEAST_PEOPLE, read_template, write_template


def shipped_arrays() -> dict[str, np.ndarray]:
    with as_file(files("facegen_resources") / "template.npz") as path, np.load(path) as data:
        return dict(data)


def test_the_template_that_ships_is_of_many_people_and_small() -> None:
    model = read_template()
    assert model.about["people"] >= LEAST_PEOPLE
    assert model.spec.grid.shape == tuple(model.spec.shape)
    with as_file(files("facegen_resources") / "template.npz") as path:
        assert path.stat().st_size < 5_000_000
    # the face looks forward (-y) and lies in front of the bone
    nose = model.skin[model.skin[:, 1].argmin()]
    assert abs(nose[0]) < 5
    assert nose[1] < model.bone[:, 1].min()


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    model = read_template()
    again = read_template(write_template(model, tmp_path / "copy.npz"))
    assert np.array_equal(again.depth_modes, model.depth_modes)
    assert np.array_equal(again.skin, model.skin)
    assert again.about == model.about
    assert [path.name for path in tmp_path.iterdir()] == ["copy.npz"]


def test_a_file_is_read_once_and_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "fold.npz"
    first = read_template(write_template(read_template(), path))
    assert read_template(path) is first
    changed = replace(first, about={**first.about, "people": 61})
    assert read_template(write_template(changed, path)).about["people"] == 61


FAULTS = ["cut", "spoiled", "missing", "nan", "shape", "weights", "matrix", "no skin"]
FAULTS += ["version", "about", "bands", "pickled", "none"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_no_template_is_refused(tmp_path: Path, fault: str) -> None:
    path = tmp_path / f"{fault}.npz"
    arrays = shipped_arrays()
    if fault == "missing":
        del arrays["spread"]
    elif fault == "nan":
        arrays["skin"][3] = np.nan
    elif fault == "shape":
        arrays["depth_modes"] = arrays["depth_modes"][:, :-1]
    elif fault == "weights":
        arrays["weights"] = arrays["weights"].ravel()
    elif fault == "matrix":
        arrays["field_matrix"] = np.zeros((4, 4))
    elif fault == "no skin":
        arrays["skin_field"] = np.abs(arrays["skin_field"])
    elif fault in ("about", "bands"):
        about = json.loads(arrays["about"].tobytes())
        if fault == "about":
            del about["regression"]
        else:
            about["calibration"] = [0.0, 1.0]
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    elif fault == "version":
        text = arrays["about"].tobytes().replace(b'"version": 1}', b'"version": 9}')
        assert text != arrays["about"].tobytes()
        arrays["about"] = np.frombuffer(text, dtype=np.uint8)
    elif fault == "pickled":
        arrays["skin"] = np.array([{"not": "numbers"}], dtype=object)
    if fault != "none":
        # Numpy types a flag among the names.
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    if fault == "spoiled":
        whole = path.read_bytes()
        path.write_bytes(whole[:4000] + bytes(4000) + whole[8000:])
    with pytest.raises(UserError, match="not a template file"):
        read_template(path)
