from __future__ import annotations

import pytest

from facegen_training.cohort.redact import GAP, without_names


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (
            "Quixworth_Zebulon.nii.gz is damaged or cut short. Copy it again from its source.",
            f"{GAP} is damaged or cut short. Copy it again from its source.",
        ),
        ("There is nothing at /data/Quixworth Zebulon/19500312.", f"There is nothing at {GAP}."),
        ("It is a scan of kind MR, not a CT.", "It is a scan of kind MR, not a CT."),
        ("Series 1.2.826.0.1.3680043.10.1561.99 (MRN471183)", f"Series {GAP}"),
        ("Its values run from -3.5 to 812.", "Its values run from -3.5 to 812."),
        ("93 % of the bone – in air.", "93 % of the bone – in air."),
        ("The patient 4711830 holds nothing", f"The patient {GAP} holds nothing"),
    ],
)
def test_only_the_programs_own_words_remain(sentence: str, expected: str) -> None:
    assert without_names(sentence) == expected


def test_a_name_that_is_a_word_of_the_program_goes_too() -> None:
    assert without_names("The scan of Bone Head is damaged.", ["Bone^Head"]) == (
        f"The scan of {GAP} is damaged."
    )


def test_a_known_file_goes_with_its_harmless_words() -> None:
    said = without_names("head of the CT.dcm is damaged.", ["head of the CT.dcm"])
    assert said == f"{GAP} is damaged."


def test_an_initial_does_not_hollow_out_the_sentence() -> None:
    known = ["DOE^JOHN^A", "12", "lo"]
    said = "The scan of DOE^JOHN^A holds 12 slices less than 120, below a slice."
    assert without_names(said, known) == (
        f"The scan of {GAP} holds {GAP} slices less than 120, below a slice."
    )


def test_a_name_inside_another_word_goes_with_it() -> None:
    known = ["Bone^Head", "Quixworth"]
    for token in ("xBoneHeady", "Quixworth_scan", "bone_head", "slicesQuixworth", "1Head"):
        assert (
            without_names(f"The scan {token} is damaged.", known) == f"The scan {GAP} is damaged."
        )
