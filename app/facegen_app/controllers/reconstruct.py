"""Make the face: from what stands in the panel to a mesh over the skull."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from PySide6.QtCore import QCoreApplication

from facegen_app.controllers.keeping import Keeping
from facegen_app.controllers.landmarks import Landmarks
from facegen_app.controllers.overlay import Overlay
from facegen_app.controllers.work import Work
from facegen_app.model.case import Case
from facegen_inference.progress import Progress, part

if TYPE_CHECKING:
    from facegen_app.casework.case_actions import Run
    from facegen_app.rendering.display_mesh import DisplayMesh
    from facegen_app.views.main_window import MainWindow
    from facegen_app.views.profile_panel import Known
    from facegen_inference.face import Build, Face, Sex
    from facegen_inference.reconstruct import Request


@dataclass(frozen=True)
class Made:
    """A face with what was asked for, and its meshes ready to be shown: itself, then variants."""

    face: Face
    request: Request
    displays: list[DisplayMesh]


class Reconstruct:
    """Answers the wish to reconstruct."""

    def __init__(
        self,
        case: Case,
        window: MainWindow,
        work: Work,
        overlay: Overlay,
        landmarks: Landmarks,
        keeping: Keeping,
    ) -> None:
        self._case, self._window, self._work, self._overlay = case, window, work, overlay
        self._landmarks, self._keeping = landmarks, keeping
        window.face_panel.reconstruct_wished.connect(
            lambda method: self.reconstruct(method, window.profile_panel.known())
        )
        window.commands["reconstruct"].triggered.connect(lambda *_: window.face_panel.wish())
        case.skull_changed.connect(self._show_ready)
        case.face_changed.connect(self._show_face)
        work.busy_changed.connect(lambda _busy: self._show_ready())
        landmarks.changed.connect(self._show_ready)
        self._show_ready()

    def reconstruct(self, method: str, known: Known) -> None:
        """Start the job, on the points placed by hand; without a frame nothing happens."""
        if self._landmarks.ready and self._landmarks.waiting:
            self._landmarks.use(then=lambda: self.reconstruct(method, known))
            return
        prepared = self._case.prepared
        if prepared is None:
            return
        request = request_of(method, known)

        inputs, begun = self._case.inputs, self._keeping.begin_run(request)
        assert inputs is not None

        def make(progress: Progress) -> tuple[Made, Run]:
            from facegen_app.casework.case_runs import finished_run
            from facegen_inference.reconstruct import reconstruct

            face = reconstruct(prepared, request, part(progress, 0.0, 0.8))
            progress(0.8, _tr("drawing the face"))
            made = made_of(face, request)
            progress(0.9, _tr("keeping the face"))
            return made, finished_run(begun, prepared, face, request, inputs)

        self._work.start(make, lambda result: self._on_made(*result))

    def _on_made(self, made: Made, run: Run) -> None:
        self.show(made)
        self._keeping.add_run(run)

    def show(self, made: Made) -> None:
        """Take over a face, and show it."""
        self._case.set_face(made.face, made.request)
        names = [_tr("Most likely"), *(v.name.capitalize() for v in made.face.variants)]
        self._overlay.show_faces(made.displays, names)

    def _show_ready(self) -> None:
        ready = self._landmarks.ready and not self._work.busy
        self._window.face_panel.set_ready(ready)
        self._window.commands["reconstruct"].setEnabled(ready)

    def _show_face(self) -> None:
        face = self._case.face
        if face is None:
            self._overlay.show_faces([], [])
            self._window.face_panel.show_notes(())
            return
        seconds = sum(face.timings.values())
        text = (
            _tr("Computed on: {device}").format(device=face.device)
            if seconds < 0.1
            else _tr("Computed on: {device}, in {seconds:.1f} s").format(
                device=face.device, seconds=seconds
            )
        )
        self._window.face_panel.show_device(text)
        self._window.face_panel.show_notes(face.notes, face.warnings)


def made_of(face: Face, request: Request) -> Made:
    """Make a face ready to be shown; takes time."""
    from facegen_app.rendering.display_mesh import display_mesh

    meshes = [face.mesh, *(variant.mesh for variant in face.variants)]
    return Made(face, request, [display_mesh(mesh) for mesh in meshes])


def request_of(method: str, known: Known) -> Request:
    """Return the method and what is known of the person as a request."""
    from facegen_inference.face import Profile
    from facegen_inference.reconstruct import Request

    profile = Profile(
        cast("Sex", known.sex),
        None if known.age is None else float(known.age),
        cast("Build", known.build),
    )
    return Request(method=method, profile=profile)


def _tr(text: str) -> str:
    return QCoreApplication.translate("Reconstruct", text)
