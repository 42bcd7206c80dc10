"""A program that works on a case until it is killed, and says what it has finished.

    python case_worker.py CASE SEED

Each line it prints is one action that had been stored when it was printed.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from facegen_app.casework.case_actions import place_landmark, set_setting, write_note
from facegen_app.casework.case_content import Content
from facegen_app.casework.case_file import Action, CaseFile
from facegen_app.casework.case_opening import create_case, open_case
from facegen_app.casework.case_state import Edit
from facegen_inference.landmarks import Landmark


def work(path: Path, seed: int) -> None:
    """Act, undo, redo, close and open again without end."""
    chance = random.Random(seed)
    while True:
        with open_case(path) if path.exists() else create_case(path) as case:
            assert not case.read_only, case.notice
            say(f"open {len(case.log())}")
            for _ in range(chance.randint(0, 12)):
                number = one(case, chance)
                if number is not None:
                    say(f"stored {number} {case.log()[-1].sha256}")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def one(case: CaseFile, chance: random.Random) -> int | None:
    """Do one thing to the case, whichever comes."""
    kind = chance.randrange(6)
    if kind == 0:
        return case.undo()
    if kind == 1:
        return case.redo()
    if kind == 2:
        return case.act(write_note(str(chance.randrange(9)), "scan", str(chance.random())))
    if kind == 3:
        level = chance.uniform(150, 400)
        return case.act(set_setting("bone_level_hu", level, "bone threshold", done="skull"))
    if kind == 4:
        mesh = Content("mesh", chance.randbytes(chance.randrange(200_000)))
        row = {"run": "1", "name": "face.ply", "sha256": mesh.sha256}
        return case.act(Action("mesh kept", (Edit("meshes", "1", row),), content=(mesh,)))
    place = (chance.random(), chance.random(), chance.random())
    return case.act(place_landmark(Landmark("po-L", place, "manual")))


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]))
