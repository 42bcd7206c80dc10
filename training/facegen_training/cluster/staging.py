"""Copy prepared people to a node's own disk before a job, wipe them after it, keep a record.

``python -m facegen_training.cluster.staging copy FROM TO --record FOLDER`` and ``... wipe TO
--record FOLDER``: run by the batch script once on every node.  Only Python's own library is
imported, so that it starts at once.  The record has one file a node, since lines appended from
several nodes to one file on a shared disk can be lost.

What is wiped is overwritten once, then removed.  On solid-state and copy-on-write disks that does
not reach the old blocks, so where it matters the prepared people must have been encrypted first
(docs/training.md); then what is left on the disk is unreadable without the key.

Several ranks share one copy, which must also be gone when they are killed, so the batch script
holds it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facegen_inference.errors import UserError

FOR_PEOPLE = (".html", ".jpg", ".jpg.aes")
"""Endings of what a human looks at (contact sheet, pictures) and training does not need."""
SPARE = 1.05
"""Free space asked for, relative to what is copied."""


def copy(source: Path, target: Path, record: Path) -> int:
    """Copy a folder to a node's scratch; return the bytes copied.

    A copy already there (by an earlier start of the same job) is replaced.

    Raises
    ------
    UserError
        When the source is no folder, or the scratch disk has too little room.
    """
    if not source.is_dir():
        raise UserError(f"{source.name} is not a folder of prepared people.", "Check its path.")
    started = time.monotonic()
    needed = folder_size(source, FOR_PEOPLE)
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < needed * SPARE:
        raise UserError(
            f"The node's scratch has {free / 1e9:.1f} GB free; {needed / 1e9:.1f} GB are needed.",
            "Submit with --no-stage to read from the shared disk.",
            node=socket.gethostname(),
        )
    if target.exists():
        shutil.rmtree(target)
    # The record comes first: a copy that is killed half way has still to be accounted for.
    note(record, "copying", target, bytes=needed)
    target.mkdir(mode=0o700)
    leave = shutil.ignore_patterns(*(f"*{ending}" for ending in FOR_PEOPLE))
    shutil.copytree(source, target, ignore=leave, dirs_exist_ok=True)
    target.chmod(0o700)  # copytree gave it the source's rights
    copied = folder_size(target)
    note(record, "copied", target, bytes=copied, seconds=round(time.monotonic() - started, 3))
    return copied


def wipe(target: Path, record: Path) -> None:
    """Remove a staged copy, prove that it is gone, and record it.

    Raises
    ------
    UserError
        When something could not be removed; the record then says so.
    """
    try:
        if target.exists():
            overwrite(target)
            shutil.rmtree(target)
    except OSError as error:
        note(record, "not wiped", target, reason=str(error))
        raise UserError(
            "The staged copy could not be removed from the node's scratch.",
            "Remove it by hand and write that into the record.",
            node=socket.gethostname(),
            folder=target,
        ) from error
    note(record, "wiped", target)


def left_behind(record: Path) -> list[dict[str, Any]]:
    """Return the copies that the record does not show as wiped, oldest first."""
    open_copies: dict[tuple[str, str], dict[str, Any]] = {}
    for text in "".join(p.read_text("utf-8") for p in sorted(record.glob("*.jsonl"))).splitlines():
        line = json.loads(text)
        key = (line["node"], line["folder"])
        if line["event"] == "wiped":
            open_copies.pop(key, None)
        elif line["event"] == "copying":
            open_copies[key] = line
    return list(open_copies.values())


def note(record: Path, event: str, target: Path, **more: object) -> None:
    """Append one line to this node's file in the record's folder."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "node": socket.gethostname(),
        "event": event,
        "folder": str(target),
        **more,
    }
    record.mkdir(parents=True, exist_ok=True)
    with (record / f"{line['node']}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def folder_size(folder: Path, without: tuple[str, ...] = ()) -> int:
    """Return the bytes of all files under a folder, but for those with some endings."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files if not path.name.endswith(without))


def overwrite(folder: Path) -> None:
    """Fill all files under a folder with zeros."""
    block = bytes(1 << 20)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            size = path.stat().st_size
            with path.open("r+b") as file:
                for start in range(0, size, len(block)):
                    file.write(block[: min(len(block), size - start)])
                file.flush()
                os.fsync(file.fileno())


def main(words: Sequence[str] | None = None) -> int:
    """Run one of the two; return the exit status."""
    parser = argparse.ArgumentParser(prog="staging", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("copy", "wipe"):
        one = commands.add_parser(name)
        if name == "copy":
            one.add_argument("source", type=Path)
        one.add_argument("target", type=Path)
        one.add_argument("--record", type=Path, required=True)
    options = parser.parse_args(words)
    try:
        if options.command == "copy":
            for line in left_behind(options.record):
                if line["folder"] != str(options.target):
                    print(  # noqa: T201 - goes to the job's log
                        f"Not recorded as wiped: {line['folder']} on {line['node']} "
                        f"(job {line['job']}).",
                        file=sys.stderr,
                    )
            copy(options.source, options.target, options.record)
        else:
            wipe(options.target, options.record)
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
