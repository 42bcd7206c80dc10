"""The contact sheet: one page on which a human sees in minutes what a model would learn from.

One file without a script, a font or a picture from elsewhere; pseudonyms only.  Scans with
something to look at come first.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any, Protocol

from facegen_training.cohort.cases import PARTS
from facegen_training.cohort.dataset import Prepared
from facegen_training.cohort.pictures import TILES

SHEET = "contact.html"

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6570; --paper: #fbfbfa;
  --card: #ffffff; --line: #d9dde2; --warn: #8a4b00; --warnback: #fff2dc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #98a2ad; --paper: #14171a;
  --card: #1c2025; --line: #323940; --warn: #ffc56b; --warnback: #3a2c12; } }
body { margin: 0 auto; padding: 24px; max-width: 1500px; background: var(--paper);
  color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 32px 0 8px; }
p { margin: 4px 0; max-width: 95ch; } .soft { color: var(--soft); }
article { background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 8px 10px; margin: 10px 0; break-inside: avoid; }
header { display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: baseline; }
code { font: 14px ui-monospace, monospace; user-select: all; }
img { width: 100%; height: auto; display: block; margin-top: 6px; border-radius: 3px; }
ul { margin: 6px 0 2px; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: 5px; }
li.flag { background: var(--warnback); color: var(--warn); border-radius: 4px; padding: 1px 8px; }
table { border-collapse: collapse; } th, td { text-align: left; vertical-align: top;
  padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); }
"""


class Pictures(Protocol):
    """Gives a scan's strip of pictures."""

    def picture(self, name: str) -> bytes:
        """Return a JPEG."""


def sheet_html(manifest: dict[str, Any], people: Sequence[Prepared], pictures: Pictures) -> str:
    """Return the page.

    Parameters
    ----------
    manifest
        For who was refused or excluded, and the warnings.
    people
        Prepared scans.
    pictures
        Gives their pictures.
    """
    scans = Counter(person.person for person in people)
    doubtful = sorted((p for p in people if p.flags), key=lambda p: (-len(p.flags), p.id))
    clear = sorted((p for p in people if not p.flags), key=lambda p: p.id)
    body = [_head(manifest, people)]
    for title, group in (("To look at", doubtful), ("Nothing noted", clear)):
        if group:
            body.append(f"<h2>{title} ({len(group)})</h2>")
            body += [_row(person, scans[person.person], pictures) for person in group]
    body.append(_table("Excluded by hand", [(r["id"], r["reason"]) for r in manifest["excluded"]]))
    body.append(_table("Refused", sorted(manifest["failed"].items())))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<title>Contact sheet</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def _head(manifest: dict[str, Any], people: Sequence[Prepared]) -> str:
    parts = {part: {p.person for p in people if p.part == part} for part in PARTS}
    counts = ", ".join(f"{len(members)} {part}" for part, members in parts.items())
    number = len({person.person for person in people})
    lines = [
        "<h1>Contact sheet</h1>",
        f"<p>{number} people, {len(people)} scans ({counts}); {len(manifest['failed'])} refused, "
        f"{len(manifest['excluded'])} excluded.</p>",
        '<p class="soft">Each row, left to right: '
        + "; ".join(TILES)
        + ". Surfaces are the very fields that are learned from; on the slices blue is the skin "
        "and orange the bone as found. R and L are the examinee's right and left.</p>",
        '<p class="soft">To leave somebody out, write a line <code>pseudonym, reason</code> into '
        "exclude.txt beside the manifest. The names lie beside the key, nowhere else.</p>",
    ]
    if manifest.get("retain_until"):
        lines.append(f"<p>To be kept until {escape(manifest['retain_until'])}.</p>")
    lines += [f'<ul><li class="flag">{escape(text)}</li></ul>' for text in manifest["warnings"]]
    return "\n".join(lines)


def _row(person: Prepared, scans: int, pictures: Pictures) -> str:
    facts = [person.part, f"frame residual {person.frame_residual_mm:.1f} mm"]
    facts += [f"{name} {value}" for name, value in sorted(person.profile.items())]
    if scans > 1:
        facts.append(f"one of {scans} scans of {person.person}")
    flags = "".join(f'<li class="flag">{escape(flag)}</li>' for flag in person.flags)
    image = base64.b64encode(pictures.picture(person.id)).decode("ascii")
    return (
        f"<article><header><code>{escape(person.id)}</code>"
        f'<span class="soft">{escape(" · ".join(facts))}</span></header>'
        + (f"<ul>{flags}</ul>" if flags else "")
        + f'<img alt="{escape(person.id)}: {escape(", ".join(TILES))}" '
        f'src="data:image/jpeg;base64,{image}"></article>'
    )


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    if not rows:
        return ""
    lines = [
        f"<tr><td>{number}</td><td><code>{escape(name)}</code></td><td>{escape(reason)}</td></tr>"
        for number, (name, reason) in enumerate(rows, start=1)
    ]
    return f"<h2>{title} ({len(rows)})</h2>\n<table>" + "".join(lines) + "</table>"
