"""The seven steps: which is worked on, and how far each is as the case changes."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from facegen_app.model.case import Case
from facegen_app.model.landmarks import LandmarkModel
from facegen_app.model.scene import SceneModel
from facegen_app.model.steps import STEPS, State, Steps

if TYPE_CHECKING:
    from pathlib import Path

    from facegen_app.controllers.export import Export
    from facegen_app.views.main_window import MainWindow
    from facegen_inference.face import Face
    from facegen_inference.reconstruct import Prepared
    from facegen_inference.skull import Skull

_BONE_STEPS = ("skull", "landmarks")
"""In these the skull is shown bare."""


class CaseSteps:
    """Keeps the steps as the case stands, and goes where there is something to do."""

    def __init__(self, steps: Steps, case: Case, points: LandmarkModel, scene: SceneModel) -> None:
        self._steps, self._case, self._points, self._scene = steps, case, points, scene
        self._numbers = count(1)
        self._path: Path | None = None
        self._skull: Skull | None = None
        self._prepared: Prepared | None = None
        self._prepared_number = 0
        self._face: Face | None = None

    def connect(self, window: MainWindow, export: Export) -> None:
        """Listen to what happens, after everybody else does, and show the steps in a window."""
        self._window = window
        steps, case, panel = self._steps, self._case, window.steps_panel
        panel.step_wished.connect(steps.choose)
        for wish in (panel.next_wished, window.commands["next_step"].triggered):
            wish.connect(lambda *_: self._go_on())
        for name in STEPS:
            window.commands[f"step_{name}"].triggered.connect(partial(self._choose, name))
        for name in ("wipe", "wipe_left", "wipe_right", "uncertainty"):
            window.commands[name].triggered.connect(partial(self._choose, "review"))
        case.scan_changed.connect(self._on_scan)
        case.skull_changed.connect(self._on_skull)
        case.face_changed.connect(self._on_face)
        self._points.changed.connect(self._on_points)
        window.profile_panel.changed.connect(self._record_profile)
        export.saved.connect(lambda _path: self._record_report())
        steps.chosen.connect(self._on_chosen)
        steps.changed.connect(self._show)
        self._show()

    # what happens to the case

    def _on_scan(self) -> None:
        """Begin anew with another scan; another series of the same one makes the rest stale."""
        if self._case.path != self._path:
            self._path = self._case.path
            self._window.profile_panel.clear()
            self._steps.begin()
        self._steps.record("scan", next(self._numbers))
        self._steps.choose("scan")

    def _on_skull(self) -> None:
        case = self._case
        if case.skull is not self._skull:
            self._skull = case.skull
            if case.skull is not None:
                self._steps.record("skull", next(self._numbers))
        if case.prepared is not self._prepared:
            self._prepared, self._prepared_number = case.prepared, next(self._numbers)
        self._record_landmarks()
        if case.unplaced is not None:
            self._steps.choose("landmarks")

    def _on_face(self) -> None:
        """Take over a face, from the profile that it was asked for with."""
        face, request = self._case.face, self._case.request
        if face is self._face:
            return
        self._face = face
        if face is None or request is None:
            return
        asked = request.profile
        self._steps.record("profile", (asked.sex, asked.age, asked.build))
        self._steps.record("face", next(self._numbers))
        self._record_profile()
        self._steps.choose("review")
        self._record_review()

    def _on_points(self) -> None:
        self._record_landmarks()
        if self._points.placing:
            self._steps.choose("landmarks")

    # what the steps came to

    def _record_landmarks(self) -> None:
        """Record the frame with what is placed by hand; without a frame there is no result."""
        if self._case.prepared is None:
            self._steps.drop("landmarks")
            return
        placed = frozenset((code, point.position) for code, point in self._points.placed.items())
        self._steps.record("landmarks", (self._prepared_number, placed))

    def _record_profile(self) -> None:
        known = self._window.profile_panel.known()
        self._steps.record("profile", (known.sex, known.age, known.build))

    def _record_review(self) -> None:
        """Record that the face that is there is looked at."""
        if self._steps.current == "review" and self._steps.state("face") is State.DONE:
            self._steps.record("review", next(self._numbers))

    def _record_report(self) -> None:
        result: Hashable = next(self._numbers)
        self._steps.record("report", result)

    # where to

    def _choose(self, name: str, *_: object) -> None:
        self._steps.choose(name)

    def _go_on(self) -> None:
        if self._steps.following is not None:
            self._steps.choose(self._steps.following)

    def _on_chosen(self, left: str, name: str) -> None:
        if left == "profile" and self._case.scan is not None:
            self._record_profile()
        self._points.show(name == "landmarks")
        self._scene.set_bare(name in _BONE_STEPS)
        self._record_review()
        self._show()

    def _show(self) -> None:
        steps, panel = self._steps, self._window.steps_panel
        states = {name: steps.state(name) for name in STEPS}
        following = steps.following
        advised = (
            following is not None
            and states[steps.current] is State.DONE
            and states[following] is not State.DONE
        )
        panel.show_states(states)
        panel.show_step(steps.current, following, advised=advised)
        panel.show_doubt(stale=steps.cause(steps.current), lacking=steps.lacking(steps.current))
        self._window.commands["next_step"].setEnabled(following is not None)
