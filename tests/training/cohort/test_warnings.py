"""What is said of scans about which something is odd."""

from __future__ import annotations

from facegen_training.cohort.duplicates import Alike, warnings_of


def test_a_person_whose_skulls_differ_is_warned_of_once_with_the_remedy() -> None:
    pairs = [("a1", "a2"), ("a1", "a3"), ("a2", "a3")]
    found = [Alike(pair, ("a", "a"), "") for pair in pairs]
    found += [Alike(("b1", "b2"), ("b", "b"), ""), Alike(("c1", "d1"), ("c", "d"), "the same file")]
    same, first, second = warnings_of(found)
    assert same == "c1 and d1 seem to be one person: the same file."
    assert first.startswith("a1, a2, a3 are filed as one person, a,")
    assert second.startswith("b1, b2 ")
    assert "person column" in first
    assert "exclude.txt" in first
