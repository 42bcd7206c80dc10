"""Craniometric landmarks: found automatically, each with provenance and confidence."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from facegen_inference.errors import UserError

Provenance = Literal["automatic", "manual", "mirrored", "inferred"]


@dataclass(frozen=True)
class Landmark:
    """One craniometric point on bone.

    Attributes
    ----------
    code
        The field's code; bilateral points carry ``-L`` or ``-R`` (examinee's side): ``po-L``.
    position
        (x, y, z), LPS mm.
    provenance
        ``automatic`` (found on bone), ``manual`` (placed by the examiner), ``mirrored`` or
        ``inferred`` (bone is missing there; estimated from the rest).
    confidence
        0..1.
    """

    code: str
    position: tuple[float, float, float]
    provenance: Provenance = "automatic"
    confidence: float = 1.0


Landmarks = dict[str, Landmark]


def write_landmarks(landmarks: Landmarks, path: Path) -> None:
    """Write ``{"space": "LPS", "units": "mm", "landmarks": [...]}`` as JSON."""
    data = {
        "space": "LPS",
        "units": "mm",
        "landmarks": [asdict(point) for point in landmarks.values()],
    }
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


def read_landmarks(path: Path) -> Landmarks:
    """Read what `write_landmarks` wrote; points from a file count as placed by hand.

    Raises
    ------
    UserError
        When the file is not such a file, names an unknown space or repeats a code.
    """
    advice = "Start from the landmarks.json that facegen writes and change positions in it."
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.get("space") != "LPS" or data.get("units") != "mm":
            raise UserError(f"{path.name} does not say that its points are LPS in mm.", advice)
        found: Landmarks = {}
        for row in data["landmarks"]:
            x, y, z = (float(v) for v in row["position"])
            code = str(row["code"])
            if code in found:
                raise UserError(f"{path.name} names landmark {code} twice.", advice)
            found[code] = Landmark(
                code, (x, y, z), row.get("provenance", "manual"), float(row.get("confidence", 1.0))
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path.name} is not a landmarks file.", advice, reason=error) from error
    return found
