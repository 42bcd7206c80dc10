"""The craniometric points of the case: what was found, what the examiner placed, what is asked.

What is placed never changes what was found; taken back, the found point is there again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from facegen_app.errors import Trouble
from facegen_app.model.event import Event
from facegen_app.model.landmark_names import CODES, FRAME_CODES, name_of
from facegen_inference.landmarks import Landmark, Landmarks

Position = tuple[float, float, float]
"""LPS, mm."""


class LandmarkModel:
    """Points found and points placed by hand.

    Attributes
    ----------
    found
        Code → point found by the program, LPS mm.
    used
        Code → point placed by hand that the frame in use rests on.
    chosen
        Code of the chosen point.
    placing
        Whether the next click on the skull places the chosen point.
    shown
        Whether points are shown: list open, marks on the skull.
    all_shown
        Whether every craniometric point is shown, or those of the frame alone.
    placed
        Code → point placed by hand, LPS mm.
    file
        The file that holds exactly what is placed, or None.
    can_undo
        Whether a placement is what would be undone next.
    question
        What the examiner is asked because the frame is unsure; None where it is not.
    changed
        Told after anything of this changed.
    chosen_changed
        Told the code when the user chose a point.
    """

    def __init__(self) -> None:
        self.found: Landmarks = {}
        self.used: Landmarks = {}
        self.chosen = FRAME_CODES[0]
        self.placing = False
        self.shown = False
        self.all_shown = False
        self.question: Trouble | None = None
        self.changed: Event[()] = Event()
        self.chosen_changed: Event[str] = Event()
        self.placed: Landmarks = {}
        self.file: Path | None = None
        self.can_undo = False

    # what is known

    @property
    def waiting(self) -> bool:
        """Whether what is placed differs from what the frame in use rests on."""
        return self.placed != self.used

    @property
    def codes(self) -> tuple[str, ...]:
        """The points of the list as it is shown."""
        return CODES if self.all_shown else FRAME_CODES

    @property
    def missing(self) -> list[str]:
        """Names of what has to be placed before the frame can rest on placed points alone."""
        names = [name_of(code) for code in ("po-L", "po-R") if code not in self.placed]
        if not {"or-L", "or-R"} & self.placed.keys():
            names.append("one orbitale")
        return names

    def point(self, code: str) -> Landmark | None:
        """Return a point: as placed, else as found, else None."""
        return self.placed.get(code) or self.found.get(code)

    # what happens

    def clear(self) -> None:
        """Forget everything: another scan is open."""
        self.found, self.used, self.placed, self.file = {}, {}, {}, None
        self.chosen, self.placing, self.question = FRAME_CODES[0], False, None
        self.changed.emit()

    def set_found(self, landmarks: Mapping[str, Landmark], question: Trouble | None = None) -> None:
        """Take over what was found, with the points placed by hand it already rests on.

        Parameters
        ----------
        landmarks
            Code → point; those of provenance ``manual`` are taken as used.
        question
            What the examiner is asked; the points are shown then.
        """
        by_hand = {code: p for code, p in landmarks.items() if p.provenance == "manual"}
        self.found = {**self.found, **{c: p for c, p in landmarks.items() if c not in by_hand}}
        self.used = {} if question else by_hand
        self.question = question
        self.placing = False
        self.shown = self.shown or question is not None
        self.changed.emit()

    def place(self, code: str, position: Position) -> None:
        """Put a point somewhere by hand, and stop placing."""
        self.placing = False
        point = Landmark(code, position, "manual", 1.0)
        self.placed, self.file = {**self.placed, code: point}, None
        self.changed.emit()

    def accept(self) -> None:
        """Take the chosen point where it was found, as if placed there by hand."""
        point = self.found.get(self.chosen)
        if point is not None and self.chosen not in self.placed:
            self.place(self.chosen, point.position)

    def take(self, points: Mapping[str, Landmark], file: Path | None) -> None:
        """Take over the points of a file as placed by hand, instead of what was placed before."""
        taken = {
            code: replace(point, provenance="manual", confidence=1.0)
            for code, point in points.items()
        }
        self.placing, self.shown = False, True
        self.all_shown = self.all_shown or bool(taken.keys() - set(FRAME_CODES))
        self.placed, self.file = taken, file
        self.changed.emit()

    def put_back(self, found: Landmarks, placed: Landmarks, used: Landmarks) -> None:
        """Take over all points as a case has them: found, placed, and in use for the frame."""
        if placed != self.placed:
            self.file = None
        self.found, self.placed, self.used = dict(found), dict(placed), dict(used)
        self.placing = False
        self.changed.emit()

    def set_can_undo(self, can: bool) -> None:
        """Say whether a placement is what would be undone next."""
        if can != self.can_undo:
            self.can_undo = can
            self.changed.emit()

    def choose(self, code: str) -> None:
        """Choose a point; placing goes on with it."""
        if code != self.chosen:
            self.chosen = code
            self.changed.emit()
        self.chosen_changed.emit(code)

    def set_placing(self, placing: bool) -> None:
        """Begin or stop to place the chosen point."""
        if placing != self.placing:
            self.placing = placing
            self.shown = self.shown or placing
            self.changed.emit()

    def show(self, shown: bool) -> None:
        """Show or hide the points."""
        self.shown = shown
        self.placing = self.placing and shown
        self.changed.emit()

    def show_all(self, every: bool) -> None:
        """Show every craniometric point, or those of the frame alone."""
        self.all_shown = every
        if self.chosen not in self.codes:
            self.chosen, self.placing = FRAME_CODES[0], False
        self.changed.emit()

    def saved(self, file: Path) -> None:
        """Remember the file to which what is placed was written."""
        self.file = file
        self.changed.emit()
