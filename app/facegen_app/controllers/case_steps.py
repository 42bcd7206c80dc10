"""The seven steps: which is worked on, and how far each is as the case changes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from facegen_app.controllers.keeping import Keeping
from facegen_app.model.case import Case
from facegen_app.model.landmarks import LandmarkModel
from facegen_app.model.scene import SceneModel
from facegen_app.model.step_order import STEPS, State
from facegen_app.model.steps import Steps

if TYPE_CHECKING:
    from facegen_app.views.main_window import MainWindow

_BONE_STEPS = ("skull", "landmarks")
"""In these the skull is shown bare."""


class CaseSteps:
    """Keeps the steps as the case stands, and goes where there is something to do."""

    def __init__(
        self, steps: Steps, case: Case, points: LandmarkModel, scene: SceneModel, keeping: Keeping
    ) -> None:
        self._steps, self._case, self._points, self._scene = steps, case, points, scene
        self._keeping = keeping

    def connect(self, window: MainWindow) -> None:
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
        case.scan_changed.connect(partial(self._lead, "scan"))
        case.skull_changed.connect(self._on_skull)
        self._points.changed.connect(self._on_points)
        self._keeping.changed.connect(self._on_case)
        self._keeping.face_added.connect(partial(self._lead, "review"))
        steps.chosen.connect(self._on_chosen)
        steps.changed.connect(self._show)
        self._show()

    # what happens to the case

    def _on_case(self) -> None:
        """Show the states that the case has."""
        self._steps.set_states(self._keeping.file.steps())
        self._record_review()

    def _on_skull(self) -> None:
        if self._case.unplaced is not None:
            self._lead("landmarks")

    def _on_points(self) -> None:
        if self._points.placing:
            self._steps.choose("landmarks")

    def _record_review(self) -> None:
        """Record that the face that is there is looked at."""
        if self._steps.current == "review" and self._steps.state("face") is State.DONE:
            self._keeping.finish("review")

    # where to

    def _lead(self, name: str) -> None:
        """Go to a step, where something happened by the examiner's wish."""
        if not self._keeping.showing:
            self._steps.choose(name)

    def _choose(self, name: str, *_: object) -> None:
        self._steps.choose(name)

    def _go_on(self) -> None:
        if self._steps.following is not None:
            self._steps.choose(self._steps.following)

    def _on_chosen(self, left: str, name: str) -> None:
        if left == "profile" and self._case.scan is not None:
            self._keeping.finish("profile")
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
