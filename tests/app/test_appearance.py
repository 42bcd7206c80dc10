"""Two themes: readable by their numbers, followed by every window, kept between sessions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from facegen_app.controllers.appearance import theme_for
from facegen_app.desk import Desk, _settings_file, set_up
from facegen_app.main import make_application
from facegen_app.model.settings import Settings, SettingsModel
from facegen_app.rendering.display_mesh import display_mesh
from facegen_app.views.style import current_theme, style_sheet
from facegen_app.views.tokens import (
    DARK,
    FILM,
    FILM_LINE,
    FILM_QUIET,
    FILM_TEXT,
    LIGHT,
    TEXT_PAIRS,
    Theme,
    rgb,
)
from facegen_inference.errors import UserError

READABLE = 4.5


def contrast(one: str, two: str) -> float:
    """Return the contrast ratio of two colours, as WCAG 2 defines it."""
    lights = []
    for colour in (one, two):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
        lights.append(float(np.dot([0.2126, 0.7152, 0.0722], linear)))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def rules_of(theme: Theme) -> list[tuple[str, dict[str, str]]]:
    """Return every rule of the style sheet: its selector, and property → value."""
    found = re.findall(r"([^{}]+)\{([^{}]*)\}", style_sheet(theme))
    return [
        (selector.strip(), dict(re.findall(r"([\w-]+):\s*([^;]+);", body)))
        for selector, body in found
    ]


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_words_can_be_read(theme: Theme) -> None:
    ratios = {
        pair: contrast(getattr(theme, pair[0]), getattr(theme, pair[1])) for pair in TEXT_PAIRS
    }
    assert not {pair: ratio for pair, ratio in ratios.items() if ratio < READABLE}
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21.0)
    assert min(contrast(ink, FILM) for ink in (FILM_TEXT, FILM_QUIET, FILM_LINE)) > READABLE


def test_the_style_sheet_uses_only_pairs_that_are_checked() -> None:
    roles = [field.name for field in fields(Theme) if field.name != "name"]
    theme = Theme("probe", **{role: f"#{number:06X}" for number, role in enumerate(roles)})
    names = {getattr(theme, role): role for role in roles}
    checked = 0
    for selector, body in rules_of(theme):
        for value in body.values():
            assert set(re.findall(r"#[0-9A-Fa-f]{6}", value)) <= set(names), selector
        ink, ground = body.get("color"), body.get("background")
        if ink in names and ground in names:
            checked += 1
            assert (names[ink], names[ground]) in TEXT_PAIRS, selector
        elif ink in names:
            assert (names[ink], "panel") in TEXT_PAIRS, selector
    assert checked > 10


def test_the_system_decides_unless_the_user_does() -> None:
    light, dark, unknown = (
        Qt.ColorScheme.Light,
        Qt.ColorScheme.Dark,
        Qt.ColorScheme.Unknown,
    )
    assert [theme_for("system", scheme) for scheme in (light, dark, unknown)] == [LIGHT, DARK, DARK]
    assert {theme_for("light", scheme) for scheme in (light, dark, unknown)} == {LIGHT}
    assert {theme_for("dark", scheme) for scheme in (light, dark, unknown)} == {DARK}


def test_settings_are_kept_and_a_spoilt_file_is_told(tmp_path: Path) -> None:
    path, told = tmp_path / "deep" / "settings.json", []
    model = SettingsModel(path)
    model.read()
    assert model.values == Settings("system")
    model.changed.connect(lambda: told.append(model.values.appearance))
    model.set_appearance("light")
    model.set_appearance("light")
    assert told == ["light"]
    again = SettingsModel(path)
    again.read()
    assert again.values == Settings("light")
    for text, said in (
        ("{", "not a settings file"),
        ('{"version": 99}', "this version"),
        ('{"version": 1, "appearance": "pink"}', "appearance"),
        ('{"version": 1, "colour": "pink"}', "colour"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=said):
            again.read()
        assert again.values == Settings("light")  # what there was is kept


@pytest.fixture
def desk(qtbot) -> Iterator[Desk]:
    make_application()
    made = set_up()
    qtbot.addWidget(made.window)
    with qtbot.waitExposed(made.window):
        made.window.show()
    yield made
    made.appearance.choose("dark")
    made.window.close()
    assert made.jobs.stop()


def corner(desk: Desk) -> tuple[float, ...]:
    """Return the colour of the 3-D picture where nothing is, 0..1."""
    picture = desk.window.scene_view.scene.render(300, 300)
    return tuple(picture[3, 3] / 255)


def test_the_menu_turns_window_and_head_light_and_the_choice_is_kept(
    desk: Desk, qtbot, made_up
) -> None:
    window = desk.window
    window.commands["appearance_dark"].trigger()
    desk.overlay.show_skull(display_mesh(made_up.prepared.skull.mesh), made_up.prepared.frame)
    assert corner(desk) == pytest.approx(rgb(DARK.stage), abs=0.01)
    dark_text = window.grab().toImage().pixelColor(4, window.height() - 4).lightness()
    window.commands["appearance_light"].trigger()
    assert current_theme() == LIGHT
    assert window.commands["appearance_light"].isChecked()
    assert not window.commands["appearance_dark"].isChecked()
    assert corner(desk) == pytest.approx(rgb(LIGHT.stage), abs=0.01)
    scene = window.scene_view.scene
    title = scene.render(300, 300)[:60, :120]
    assert title.min() < 80  # dark words on a light ground
    assert window.grab().toImage().pixelColor(4, window.height() - 4).lightness() > dark_text + 100
    assert json.loads(_settings_file().read_text(encoding="utf-8"))["appearance"] == "light"
    other = set_up()
    qtbot.addWidget(other.window)
    assert other.window.commands["appearance_light"].isChecked()
    other.close()


def test_a_spoilt_settings_file_does_not_keep_the_window_from_opening(qtbot) -> None:
    path = _settings_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[]", encoding="utf-8")
    make_application()
    desk = set_up()
    qtbot.addWidget(desk.window)
    dialogs = [w for w in QApplication.topLevelWidgets() if hasattr(w, "trouble")]
    assert any("settings" in dialog.trouble.message for dialog in dialogs)
    for dialog in dialogs:
        dialog.accept()
    desk.close()
