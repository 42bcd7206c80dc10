"""Published tables of soft-tissue depth at craniometric points, with where they were read.

The tables lie among the resources as they were transcribed: values, source, how the source was
read and how far it was verified.  Nothing is corrected here.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from facegen_inference.errors import UserError

DEFAULT_TABLE = "T2023_adult"
FOLDER = "depth_tables"

LANDMARK_OF = {
    "ecm2 (maxilla)": "ecm2s",
    "ecm2 (mandible)": "ecm2i",
    "ecm2_sup": "ecm2s",
    "ecm2_inf": "ecm2i",
}
"""Bone points whose landmark code differs from the name that a table prints."""


@dataclass(frozen=True)
class Depth:
    """Soft-tissue depth at one landmark.

    Attributes
    ----------
    code
        Landmark code; a bilateral point appears twice, with ``-L`` and ``-R``.
    mean_mm
        Mean depth.
    sd_mm
        Standard deviation between people, None where the source prints none.
    """

    code: str
    mean_mm: float
    sd_mm: float | None


@dataclass(frozen=True)
class DepthTable:
    """One table, with its source.

    Attributes
    ----------
    name
        Its name on the command line.
    depths
        Landmark code → `Depth`.
    population, sex, age
        Whom it describes, as the source says.
    source, read_via, verification, note
        Bibliography, where it was read, how far it was checked, remarks.
    """

    name: str
    depths: dict[str, Depth]
    population: str
    sex: str
    age: str
    source: str
    read_via: str
    verification: str
    note: str

    @property
    def has_sd(self) -> bool:
        """Whether the source prints standard deviations."""
        return any(depth.sd_mm is not None for depth in self.depths.values())


def table_names() -> list[str]:
    """Return the names of the tables that ship, the default one first."""
    folder = files("facegen_resources") / FOLDER
    names = sorted(f.name.removesuffix(".csv") for f in folder.iterdir() if f.name.endswith(".csv"))
    return sorted(names, key=lambda name: name != DEFAULT_TABLE)


def load_depth_table(name: str | None = None) -> DepthTable:
    """Return a table by name; None for the default one.

    Raises
    ------
    UserError
        When there is no table of that name.
    """
    wanted = name or DEFAULT_TABLE
    if wanted not in table_names():
        raise UserError(
            f"There is no tissue-depth table called {wanted}.",
            f"Choose one of {', '.join(table_names())}.",
        )
    path = files("facegen_resources") / FOLDER / f"{wanted}.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    depths: dict[str, Depth] = {}
    for row in rows:
        base = LANDMARK_OF.get(row["bone_point"], row["bone_point"])
        codes = [f"{base}-L", f"{base}-R"] if row["side"] == "bilateral" else [base]
        for code in codes:
            sd = float(row["sd_mm"]) if row["sd_mm"] else None
            depths[code] = Depth(code, float(row["mean_mm"]), sd)
    first = rows[0]
    return DepthTable(
        name=wanted,
        depths=depths,
        population=first["population"],
        sex=first["sex"],
        age=first["age"],
        source=first["primary_source"],
        read_via=first["read_via"],
        verification=first["verification"],
        note=first["note"],
    )
