"""Light or dark: as the system has it, or as the user chose; the 3-D view follows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from facegen_app.errors import trouble_of
from facegen_app.model.settings import APPEARANCES, SettingsModel
from facegen_app.views.style import current_theme, dress
from facegen_app.views.tokens import DARK, LIGHT, Theme, rgb
from facegen_inference.errors import UserError

if TYPE_CHECKING:
    from facegen_app.rendering.look import Look
    from facegen_app.views.main_window import MainWindow


class Appearance:
    """Keeps the application in the theme that the settings ask for."""

    def __init__(self, settings: SettingsModel, window: MainWindow) -> None:
        self._settings, self._window = settings, window
        for name in APPEARANCES:
            window.commands[f"appearance_{name}"].triggered.connect(partial(self._on_wish, name))
        settings.changed.connect(self.show)
        QApplication.styleHints().colorSchemeChanged.connect(window.scheme_changed)
        window.scheme_changed.connect(lambda _scheme: self.show())
        try:
            settings.read()
        except UserError as error:
            window.show_trouble(trouble_of(error))
        self.show()

    def choose(self, appearance: str) -> None:
        """Wear what was chosen and keep it; say so where it cannot be kept."""
        try:
            self._settings.set_appearance(appearance)
        except UserError as error:
            self._window.show_trouble(trouble_of(error))

    def show(self) -> None:
        """Dress windows and 3-D view in the theme that is asked for."""
        appearance = self._settings.values.appearance
        self._window.commands[f"appearance_{appearance}"].setChecked(True)
        theme = theme_for(appearance, QApplication.styleHints().colorScheme())
        application = QApplication.instance()
        if theme != current_theme() and isinstance(application, QApplication):
            dress(application, theme)
        view = self._window.scene_view
        if view.has_scene:
            view.scene.set_look(look_of(theme))
            view.request_frame()

    def _on_wish(self, appearance: str, *_: object) -> None:
        self.choose(appearance)


def theme_for(appearance: str, system: Qt.ColorScheme) -> Theme:
    """Return the theme of a setting; dark where the system has no opinion."""
    light = system == Qt.ColorScheme.Light if appearance == "system" else appearance == "light"
    return LIGHT if light else DARK


def look_of(theme: Theme) -> Look:
    """Return how the 3-D picture looks in a theme."""
    from facegen_app.rendering.look import Look

    return Look(rgb(theme.stage), rgb(theme.text), rgb(theme.quiet))
