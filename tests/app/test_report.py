"""The report: what must stand in it, and what must never."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from facegen_app.casework.case_data import CaseData
from facegen_app.casework.export import Wanted, write_results
from facegen_app.casework.fonts import markup, writable
from facegen_app.casework.report import write_report
from facegen_app.rendering.png_file import write_png
from facegen_inference.reconstruct import Request
from facegen_inference.template import card_of
from facegen_inference.template_model import read_template, shipped_template

VIEWS = ("frontal", "three-quarter-left", "three-quarter-right", "lateral-left", "lateral-right")
CASE = CaseData("2026/17", "skull & <b>mandible</b>", "Łucja Żółć", "Institut für Rechtsmedizin")


@pytest.fixture
def report(made_up, tmp_path):
    """Return a function that writes a report of the made-up result and opens it."""

    def make(case: CaseData = CASE, **changes: object) -> PdfReader:
        wanted = Wanted(pictures=False, case=case)
        result = write_results(
            tmp_path / "out", made_up.prepared, made_up.face, Request(), wanted=wanted
        )
        data = {**json.loads(result.read_text()), **changes}
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        for view in VIEWS:
            for kind in ("skull", "face", "overlay"):
                write_png(pictures / f"{view}-{kind}.png", np.full((40, 40, 3), 200, np.uint8))
        path = tmp_path / "report.pdf"
        write_report(path, data, pictures)
        return PdfReader(path)

    return make


def text_of(reader: PdfReader) -> str:
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in reader.pages))


def test_the_report_says_all_that_is_promised(report):
    reader = report()
    text = text_of(reader)
    for words in (
        "Case number 2026/17",
        "skull & <b>mandible</b>",
        "Łucja Żółć",
        "Institut für Rechtsmedizin",
        "20 × 30 × 40",
        "3 × 2 × 2 mm",
        "The gantry tilt of 18.5° was undone.",
        "left orbit absent",
        "po-R mirrored 0.90 1.5, 2.0, -3.0",
        "Frankfurt frame was set from the landmarks",
        "Made-up model 0.0.1",
        "neural 15 2.34",
        "1 thin variants/variant-01.ply",
        "one standard deviation is 3.0 mm",
        "never an identification",
        "CPU (ONNX Runtime, fp32)",
        "b" * 64,
    ):
        assert words in text, words


def test_hashes_of_scan_and_meshes_stand_in_the_report(report, tmp_path):
    text = text_of(report())
    data = json.loads((tmp_path / "out" / "result.json").read_text())
    assert data["inputs"]["sha256"] in text
    meshes = [row["sha256"] for row in data["outputs"] if row["name"].endswith(".ply")]
    assert len(meshes) == 4
    assert all(digest in text for digest in meshes)


def test_every_page_says_what_it_is_for_and_its_number(report):
    reader = report()
    count = len(reader.pages)
    assert count >= 4
    for number, page in enumerate(reader.pages, start=1):
        text = page.extract_text()
        assert "never an identification" in text
        assert f"Page {number} of {count}" in text
        assert page.mediabox.width == pytest.approx(595.28, abs=0.1)  # A4
        assert page.mediabox.height == pytest.approx(841.89, abs=0.1)


def test_all_fonts_are_embedded(report):
    for page in report().pages:
        for font in page["/Resources"]["/Font"].values():
            descriptor = font.get_object().get("/FontDescriptor")
            assert descriptor is None or "/FontFile2" in descriptor.get_object()
            if descriptor is None:  # reportlab lists Helvetica for forms; nothing may use it
                assert font.get_object()["/BaseFont"] == "/Helvetica"


def test_metadata_name_the_case_and_the_program(report):
    metadata = report().metadata
    assert metadata.title == "Craniofacial reconstruction, case 2026/17"
    assert metadata.author == "Łucja Żółć"
    assert "never an identification" in metadata.subject
    assert metadata.creator.startswith("FaceGen")


def test_no_path_of_the_scan_stands_in_the_report(report, tmp_path):
    text = text_of(report())
    assert str(tmp_path) not in text
    assert "scan.bin" not in text


def test_a_method_without_model_and_spread_has_a_report_too(report):
    face = {"vertices": 3, "triangles": 1, "values": {}}
    text = text_of(report(CaseData(), model=None, method="mean-face", face=face, variants=[]))
    assert "no trained model" in text
    assert "states no spread" in text
    assert "Case number not given" in text


def test_a_template_is_named_with_its_file_and_its_error(report):
    model = read_template()
    text = text_of(report(model=card_of(model, shipped_template()), method="template"))
    assert "with the model template 1" in text
    assert f"{model.about['people']} people" in text
    assert "was missed by" in text
    assert sha256(shipped_template().read_bytes()).hexdigest() in text
    assert "no trained model" not in text


def test_letters_that_no_font_has_are_reduced_and_markup_is_text():
    assert writable("Ńę\u0000 ok") == "Ne ok"
    assert writable("漢") == "?"
    assert markup("a <b> & c\nd") == "a &lt;b&gt; &amp; c<br/>d"


def test_the_report_is_as_long_as_its_landmarks_need(report, tmp_path):
    point = {"position": [1.0, 2.0, 3.0], "provenance": "manual", "confidence": 1.0}
    many = [{"code": f"q{n}", **point} for n in range(300)]
    text = text_of(report(landmarks={"landmarks": many}))
    assert "300 placed by the examiner" in text
    assert "q299" in text
    assert Path(tmp_path / "report.pdf").stat().st_size < 5_000_000
