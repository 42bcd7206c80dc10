from __future__ import annotations

from pathlib import Path

import pytest

from facegen_inference.errors import UserError
from facegen_training.cohort.cohort_list import read_list


def _list(tmp_path: Path, text: str, name: str = "list.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_says_whose_a_scan_is(tmp_path: Path) -> None:
    text = "\ufeffscan;person;source;part;sex;age\na/1.nii;P 1;Our CTs;test;female;59\nb.zip;;;;;\n"
    one, two = read_list(_list(tmp_path, text))
    assert (one.scan, one.label, one.person) == (tmp_path / "a/1.nii", "a/1.nii", "P 1")
    assert (one.source, one.part) == ("Our CTs", "test")
    assert one.profile == {"sex": "female", "age": 59.0}
    assert (two.person, two.part, two.profile) == ("", "", {})


def test_a_toml_says_the_same(tmp_path: Path) -> None:
    text = '[[scan]]\nscan = "a/1.nii"\nperson = "P 1"\nage = 59\nbuild = "thin"\n'
    (one,) = read_list(_list(tmp_path, text, "list.toml"))
    assert one.person == "P 1"
    assert one.profile == {"age": 59.0, "build": "thin"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("scan,whose\na,b\n", "column that is not known: whose"),
        ("scan,person\n", "names no scan"),
        ("", "names no scan"),
        ("scan,person\n,b\n", "Row 1 of the list names no scan"),
        ("scan,part\na,training\n", "value for part that is not known"),
        ("scan,age\na,old\n", "no number of years"),
        ("scan,person\na,b,c\n", "more or fewer fields"),
        ("scan,person\na,b\na,c\n", "Row 2 of the list names a scan that an earlier"),
        ("scan,person,part\na,P1,train\nb,p1 ,test\n", "Row 2 of the list puts a person"),
        ("scan\n\0\n", "cannot be read|names no scan"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_list(_list(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[scan]]\nscan = ", "cannot be read"),
        ("scan = 3\n", "cannot be read"),
        ('[[scans]]\nscan = "a"\n', "table that is not known: scans"),
    ],
)
def test_what_is_wrong_with_a_toml_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_list(_list(tmp_path, text, "list.toml"))


def test_a_list_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("scan\nMüller.nii\n".encode("latin-1"))
    with pytest.raises(UserError, match="cannot be read"):
        read_list(path)
