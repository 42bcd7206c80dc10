"""docs/training.md says what the program does: commands, options, files, settings."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from facegen_training.cli import app as training
from facegen_training.cluster.search import search_from_data
from facegen_training.fitting.config import config_from_data

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", PAGE, re.MULTILINE)


def lines() -> list[str]:
    """Every command line of the page, in blocks and in the text."""
    text = "\n".join(re.sub(r"^    ", "", b, flags=re.MULTILINE) for b in BLOCKS)
    found = text.replace("\\\n", " ").splitlines()
    found += re.findall(r"`(facegen(?:-train)? [^`]*)`", PAGE)
    return [line.strip() for line in found if re.match(r"\s*facegen(-train)? ", line)]


def commands(name: str) -> dict[str, set[str]]:
    """Return the options of each command of a program."""
    if name == "facegen":
        from facegen_app.cli import app as application
    else:
        application = training
    group = typer.main.get_command(application)
    found = {}
    for word, command in group.commands.items():  # type: ignore[attr-defined]
        options = [o for p in command.params for o in (*p.opts, *p.secondary_opts)]
        found[word] = {option for option in options if option.startswith("-")}
    return found


@pytest.mark.parametrize("line", lines())
def test_every_command_and_option_of_the_page_exists(line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    known = commands(program)
    parts = [words]
    if "--" in words:  # submit, and what it submits
        cut = words.index("--")
        parts = [words[:cut], words[cut + 1 :]]
    for part in parts:
        if part and (part[0].startswith("--") or part[0] == "SCAN"):
            continue
        command, *rest = part
        assert command in known, line
        options = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert options <= known[command] | {"--help"}, line


def test_every_option_named_in_the_text_exists() -> None:
    known = set().union(*commands("facegen-train").values(), *commands("facegen").values())
    others = {"--help", "--signal", "--batch", "--logdir", "--version", "--python", "--glibc"}
    named = set(re.findall(r"--[a-z][\w-]*", PAGE))
    assert named - known - others == set()


def test_the_page_has_lines_to_check() -> None:
    named = {shlex.split(line)[1] for line in lines() if line.startswith("facegen-train ")}
    assert {"prepare", "fit", "evaluate", "export", "submit", "sweep", "plan"} <= named


def test_every_settings_file_of_the_page_is_accepted() -> None:
    tables = [re.sub(r"^    ", "", b, flags=re.MULTILINE) for b in BLOCKS if "    [" in b]
    data = [tomllib.loads(text) for text in tables]
    sweeps = [one for one in data if "study" in one]
    runs = [one for one in data if "study" not in one]
    assert sweeps
    assert runs
    for one in sweeps:
        search_from_data(one, ROOT)
    for one in runs:
        config_from_data(one)


def test_every_file_of_the_repository_that_the_page_names_exists() -> None:
    names = re.findall(r"(?:packaging|training|docs)/[\w./-]+\w", PAGE)
    assert len(names) > 4
    for name in names:
        assert (ROOT / name).exists(), name


def test_the_table_of_contents_leads_to_every_heading() -> None:
    contents = set(re.findall(r"\(#([\w-]+)\)", PAGE))
    headings = re.findall(r"^##+ (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert contents == anchors


def test_nothing_is_left_to_fill_in() -> None:
    assert not re.search(r"@[A-Z]+@", PAGE)
