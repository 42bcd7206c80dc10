"""Models, views and controllers of the window, put together.

Nothing heavy is imported before the window stands: VTK comes with the first mesh, the readers
with the first scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facegen_app.controllers.appearance import Appearance
    from facegen_app.controllers.case_files import CaseFiles
    from facegen_app.controllers.demo import Demo
    from facegen_app.controllers.export import Export
    from facegen_app.controllers.keeping import Keeping
    from facegen_app.controllers.landmarks import Landmarks
    from facegen_app.controllers.open_scan import OpenScan
    from facegen_app.controllers.overlay import Overlay
    from facegen_app.controllers.place_landmarks import PlaceLandmarks
    from facegen_app.controllers.reconstruct import Reconstruct
    from facegen_app.controllers.review import Review
    from facegen_app.controllers.slices import Slices
    from facegen_app.controllers.work import Work
    from facegen_app.jobs import Jobs
    from facegen_app.model.case import Case
    from facegen_app.model.landmarks import LandmarkModel
    from facegen_app.model.scene import SceneModel
    from facegen_app.model.slices import SliceModel
    from facegen_app.model.steps import Steps
    from facegen_app.rendering.scene import Scene3D
    from facegen_app.views.main_window import MainWindow


@dataclass(frozen=True)
class Desk:
    """Everything the window is made of, put together."""

    window: MainWindow
    case: Case
    scene: SceneModel
    slice_model: SliceModel
    landmark_model: LandmarkModel
    jobs: Jobs
    work: Work
    overlay: Overlay
    slices: Slices
    open_scan: OpenScan
    landmarks: Landmarks
    place_landmarks: PlaceLandmarks
    reconstruct: Reconstruct
    review: Review
    export: Export
    demo: Demo
    appearance: Appearance
    steps: Steps
    keeping: Keeping
    case_files: CaseFiles

    def close(self) -> None:
        """Stop all work, seal the case and remove what was only for this window."""
        self.jobs.stop()
        self.demo.clean()
        self.case_files.close()


def set_up() -> Desk:
    """Put models, views and controllers together; a `QApplication` must be there."""
    from facegen_app.controllers.appearance import Appearance
    from facegen_app.controllers.case_files import CaseFiles
    from facegen_app.controllers.case_steps import CaseSteps
    from facegen_app.controllers.demo import Demo
    from facegen_app.controllers.export import Export
    from facegen_app.controllers.keeping import Keeping
    from facegen_app.controllers.landmarks import Landmarks
    from facegen_app.controllers.open_scan import OpenScan
    from facegen_app.controllers.overlay import Overlay
    from facegen_app.controllers.place_landmarks import PlaceLandmarks
    from facegen_app.controllers.reconstruct import Reconstruct
    from facegen_app.controllers.review import Review
    from facegen_app.controllers.show_case import ShowCase
    from facegen_app.controllers.slices import Slices
    from facegen_app.controllers.work import Work
    from facegen_app.jobs import Jobs
    from facegen_app.model.case import Case
    from facegen_app.model.landmarks import LandmarkModel
    from facegen_app.model.scene import SceneModel
    from facegen_app.model.settings import SettingsModel
    from facegen_app.model.slices import SliceModel
    from facegen_app.model.steps import Steps
    from facegen_app.views.main_window import MainWindow
    from facegen_inference.intended_use import INTENDED_USE

    window = MainWindow(_make_scene, INTENDED_USE)
    case, scene, slice_model, jobs = Case(), SceneModel(), SliceModel(), Jobs(window)
    work, points = Work(jobs, window), LandmarkModel()
    overlay = Overlay(scene, window)
    landmarks = Landmarks(case, points, window, work, overlay)
    open_scan = OpenScan(case, slice_model, window, work, overlay)
    steps, export = Steps(), Export(case, window, work)
    keeping = Keeping(case, points, window)
    reconstruct = Reconstruct(case, window, work, overlay, landmarks, keeping)
    show_case = ShowCase(
        keeping, case, points, slice_model, window, work, overlay, open_scan, reconstruct
    )
    case_files = CaseFiles(keeping, show_case, open_scan, case, points, steps, window, work)
    desk = Desk(
        window=window,
        case=case,
        scene=scene,
        slice_model=slice_model,
        landmark_model=points,
        jobs=jobs,
        work=work,
        overlay=overlay,
        slices=Slices(slice_model, window.slices_panel),
        open_scan=open_scan,
        landmarks=landmarks,
        place_landmarks=PlaceLandmarks(points, scene, slice_model, window),
        reconstruct=reconstruct,
        review=Review(scene, window, overlay),
        export=export,
        demo=Demo(window, work, open_scan),
        appearance=Appearance(SettingsModel(_settings_file()), window),
        steps=steps,
        keeping=keeping,
        case_files=case_files,
    )
    keeping.connect(export)
    CaseSteps(steps, case, points, scene, keeping).connect(window)
    case_files.connect()
    window.commands["quit"].triggered.connect(window.close)
    window.commands["about"].triggered.connect(lambda *_: _show_about(window))
    window.closing.connect(desk.close)
    return desk


def _make_scene() -> Scene3D:
    from facegen_app.controllers.appearance import look_of
    from facegen_app.rendering.scene import Scene3D
    from facegen_app.views.style import current_theme

    return Scene3D(look_of(current_theme()))


def _settings_file() -> Path:
    import platformdirs

    return platformdirs.user_config_path("facegen", appauthor=False) / "settings.json"


def _show_about(window: MainWindow) -> None:
    from facegen_app.views.about_dialog import AboutDialog
    from facegen_inference.intended_use import LIMITS
    from facegen_inference.provenance import package_versions, program_version

    packages = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    AboutDialog(program_version(), LIMITS, packages, window).open()
