"""The allow-list: only data named here may enter weights that ship.

Each entry says where the data come from, under which licence, what the people who gave them were
promised by the upstream archive, why the project holds them cleared, and since when.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from facegen_inference.card import Source
from facegen_inference.errors import UserError


@dataclass(frozen=True)
class Cleared:
    """One source of data that may enter shipped weights.

    Attributes
    ----------
    name, licence, attribution
        As the model card lists them.
    upstream_terms
        What binds whoever uses the data, upstream patient terms included, quoted from the
        project's catalogue of its data.
    why
        Why it is cleared, and on what condition.
    date
        ISO date of the decision.
    """

    name: str
    licence: str
    attribution: str
    upstream_terms: str
    why: str
    date: str


ALLOWED = {
    entry.name: entry
    for entry in (
        Cleared(
            name="OpenKBP",
            licence="MIT (repository ababier/open-kbp)",
            attribution="Babier et al. 2021, OpenKBP, Medical Physics, doi 10.1002/mp.14845",
            upstream_terms="the scans come from public cancer archives whose terms forbid making "
            "participants recognisable: train on them, show or ship no individual's face, and "
            "prove by the memory test that the model does not return one",
            why="Averages and weights over many coarse scans show no one; no voxel, mesh or "
            "picture of a participant ships.",
            date="2026-11-23",
        ),
        Cleared(
            name="Visible Human Female",
            licence="public domain, attribution asked",
            attribution="National Library of Medicine, Visible Human Project",
            upstream_terms="NLM Visible Human, public domain, attribution",
            why="Public domain, donated for publication.",
            date="2026-11-23",
        ),
        Cleared(
            name="ICT-FaceKit",
            licence="MIT",
            attribution="ICT-FaceKit, © 2020 USC Institute for Creative Technologies",
            upstream_terms="identity space (MIT, © 2020 USC ICT)",
            why="A statistical model under a permissive licence; no individual.",
            date="2026-11-23",
        ),
    )
}


def cleared_sources(names: Iterable[str], ship: bool) -> tuple[Source, ...]:
    """Return the card's entries for the sources of a training set.

    Parameters
    ----------
    names
        Of the sources used.
    ship
        Whether the weights are to ship: then every source must be on the list.

    Raises
    ------
    UserError
        Naming the first source that may not ship.
    """
    found = []
    for name in sorted(set(names)):
        entry = ALLOWED.get(name)
        if entry is None:
            if ship:
                raise UserError(
                    f"{name} is not on the list of sources that may enter shipped weights.",
                    "Leave it out of the training, or export without --ship for your own use.",
                    allowed=", ".join(ALLOWED),
                )
            found.append(Source(name=name, licence="own data", attribution="not cleared to ship"))
            continue
        found.append(Source(name=name, licence=entry.licence, attribution=entry.attribution))
    return tuple(found)
