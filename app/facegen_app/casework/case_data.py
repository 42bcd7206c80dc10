"""What the examiner writes on a report; the only place a name or number of a case comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class CaseData:
    """Free text from the examiner; empty where not given, never filled from the scan."""

    case_number: str = ""
    item: str = ""
    examiner: str = ""
    laboratory: str = ""
    remarks: str = ""

    def as_data(self) -> dict[str, str]:
        """Return the fields that were filled in."""
        return {key: value.strip() for key, value in asdict(self).items() if value.strip()}
