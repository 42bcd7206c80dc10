"""Which parts of the skull are there."""

from __future__ import annotations

from enum import StrEnum


class Presence(StrEnum):
    """Whether a part of the skull is there."""

    PRESENT = "present"
    ABSENT = "absent"
    NOT_SCANNED = "not scanned"
    UNSURE = "unsure"


PARTS = (
    "cranium",
    "maxilla",
    "mandible",
    "upper teeth",
    "lower teeth",
    "left orbit",
    "right orbit",
)
