"""The steps in the window: where it goes by itself, what it says, and a walk over every control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QScrollBar,
    QTreeWidget,
    QWidget,
)

from facegen_app.desk import Desk, set_up
from facegen_app.main import make_application
from facegen_app.model.step_order import STEPS, State
from facegen_app.model.summary import skull_parts
from facegen_app.rendering.display_mesh import display_mesh
from facegen_app.views.scene_view import SceneView
from facegen_app.views.slice_view import SliceView
from facegen_inference.errors import FrameUnsure
from facegen_inference.frame import Frame
from facegen_inference.reconstruct import SkullUnplaced

WAIT = 60_000
LEFT = Qt.MouseButton.LeftButton
CONTROLS = (
    QAbstractButton, QComboBox, QAbstractSlider, QLineEdit, QTreeWidget, SceneView, SliceView,
)  # fmt: skip


@pytest.fixture
def desk(qtbot) -> Iterator[Desk]:
    make_application()
    made = set_up()
    qtbot.addWidget(made.window)
    made.window.resize(1280, 800)
    with qtbot.waitExposed(made.window):
        made.window.show()
    made.window.activateWindow()
    qtbot.waitUntil(made.window.isActiveWindow, timeout=WAIT)
    yield made
    made.appearance.choose("dark")
    made.window.close()
    assert made.jobs.stop()


@pytest.fixture
def worked(desk: Desk, made_up) -> Desk:
    """A case with a face, nothing of it drawn."""
    open_case(desk, made_up)
    made_up.give_face(desk)
    return desk


@pytest.fixture
def drawn(worked: Desk, qtbot, made_up) -> Desk:
    """The same with skull, faces and slices on the screen."""
    worked.slice_model.set_volume(made_up.prepared.scan.volume)
    worked.overlay.show_skull(display_mesh(made_up.prepared.skull.mesh), made_up.prepared.frame)
    meshes = [made_up.face.mesh, *(v.mesh for v in made_up.face.variants)]
    worked.overlay.show_faces([display_mesh(m) for m in meshes], ["Most likely", "Thin", "Heavy"])
    qtbot.wait(20)
    return worked


def open_case(desk: Desk, made_up) -> None:
    desk.case.set_scan(Path("made-up"), made_up.prepared.scan, made_up.inputs)
    desk.case.set_prepared(made_up.prepared)


def shown(desk: Desk) -> dict[str, State]:
    """Return the states as the buttons show them."""
    return {name: button.state for name, button in desk.window.steps_panel.buttons.items()}


def done_in(desk: Desk) -> set[str]:
    return {name for name, state in shown(desk).items() if state is State.DONE}


def stale_in(desk: Desk) -> set[str]:
    return {name for name, state in shown(desk).items() if state is State.STALE}


def controls_in(place: QWidget) -> list[QWidget]:
    """Return what can be operated: no scroll bar, nothing that is part of another control."""
    found = [
        one
        for one in place.findChildren(QWidget)
        if isinstance(one, CONTROLS) and one.isVisible() and not isinstance(one, QScrollBar)
    ]
    return [
        one
        for one in found
        if not any(other is not one and other.isAncestorOf(one) for other in found)
    ]


def page_of(desk: Desk) -> QWidget:
    return desk.window.steps_panel.current_page


def tab_chain(window: QWidget) -> set[QWidget]:
    """Return every widget that Tab comes to."""
    chain, one = set(), window.nextInFocusChain()
    while one is not window:
        if one.focusPolicy() & Qt.FocusPolicy.TabFocus:
            chain.add(one)
        one = one.nextInFocusChain()
    return chain


def reached(one: QWidget, chain: set[QWidget]) -> bool:
    """Return whether Tab comes to a control, or to a neighbour from which arrow keys lead to it."""
    group = one.group() if isinstance(one, QAbstractButton) else None
    neighbours = group.buttons() if group is not None and group.exclusive() else []
    return one in chain or any(button in chain for button in neighbours)


def cut_off(desk: Desk, page: QWidget) -> list[str]:
    """Return the texts of a page that do not fit where they stand."""
    side, cut = desk.window.steps_panel, []
    for one in [*page.findChildren(QWidget), *side.buttons.values(), side.next]:
        if not one.isVisible():
            continue
        if isinstance(one, QAbstractButton) and one.text():
            if one.sizeHint().width() > one.width() or one.sizeHint().height() > one.height():
                cut.append(one.text())
        elif isinstance(one, QLabel) and one.text():
            needed = one.heightForWidth(one.width()) if one.wordWrap() else one.sizeHint().height()
            wide = 0 if one.wordWrap() else one.sizeHint().width()
            if needed > one.height() or wide > one.width():
                cut.append(one.text())
        if one.mapTo(side, QPoint(one.width(), 0)).x() > side.width():
            cut.append(f"{one.metaObject().className()} reaches over the edge")
    return cut


def test_a_case_from_scan_to_review(desk: Desk, made_up, tmp_path) -> None:
    assert set(shown(desk).values()) == {State.NOT_STARTED}
    open_case(desk, made_up)
    assert done_in(desk) == {"scan", "skull", "landmarks"}
    assert desk.steps.current == "scan"
    made_up.give_face(desk)
    assert desk.steps.current == "review"
    assert done_in(desk) == set(STEPS) - {"report"}
    (tmp_path / "result.json").write_text("{}")
    desk.export.saved.emit(tmp_path)
    assert done_in(desk) == set(STEPS)


def test_the_next_button_leads_through_every_step(desk: Desk, qtbot, made_up) -> None:
    open_case(desk, made_up)
    panel, walked = desk.window.steps_panel, [desk.steps.current]
    assert panel.next.property("kind") == ""  # skull and landmarks are done already
    while panel.next.isVisible():
        qtbot.mouseClick(panel.next, LEFT)
        walked.append(desk.steps.current)
    assert walked == list(STEPS)
    assert shown(desk)["profile"] is State.DONE  # it was looked at and left as it stands
    assert shown(desk)["face"] is State.NOT_STARTED


def test_a_step_too_early_says_what_comes_first(desk: Desk, made_up) -> None:
    def said() -> list[str]:
        return [one.text() for one in page_of(desk).findChildren(QLabel) if one.isVisible()]

    desk.steps.choose("review")
    assert "First comes the step Scan." in said()
    open_case(desk, made_up)
    desk.steps.choose("review")
    assert "First comes the step Face." in said()
    made_up.give_face(desk)
    assert not [text for text in said() if text.startswith("First")]


def test_keys_go_to_every_step(worked: Desk, qtbot) -> None:
    for number, name in enumerate(STEPS, start=1):
        key = Qt.Key(Qt.Key.Key_0 + number)
        qtbot.keyClick(worked.window, key, Qt.KeyboardModifier.ControlModifier)
        assert worked.steps.current == name
        assert worked.window.steps_panel.buttons[name].isChecked()
    worked.steps.choose("scan")
    buttons = worked.window.steps_panel.buttons
    buttons["scan"].setFocus()
    qtbot.keyClick(buttons["scan"], Qt.Key.Key_Down)
    assert worked.steps.current == "skull"
    worked.steps.choose("profile")
    qtbot.keyClick(worked.window, Qt.Key.Key_Right, Qt.KeyboardModifier.AltModifier)
    assert worked.steps.current == "face"


def test_another_profile_makes_the_face_stale_and_taken_back_fresh(worked: Desk, qtbot) -> None:
    worked.steps.choose("profile")
    build = next(
        one for one in page_of(worked).findChildren(QComboBox) if one.findData("thin") >= 0
    )
    build.setFocus()
    qtbot.keyClick(build, Qt.Key.Key_Down)
    assert stale_in(worked) == {"face", "review"}
    worked.steps.choose("report")
    said = [one.text() for one in page_of(worked).findChildren(QLabel) if one.isVisible()]
    assert any(text.startswith("Face is stale") for text in said)
    assert "Stale" in worked.window.steps_panel.buttons["face"].toolTip()
    worked.steps.choose("profile")
    qtbot.keyClick(build, Qt.Key.Key_Up)
    assert not stale_in(worked)


def test_a_moved_point_makes_the_face_stale_until_it_is_undone(worked: Desk, qtbot) -> None:
    worked.landmark_model.place("po-L", (1.0, 2.0, 3.0))
    assert stale_in(worked) == {"landmarks", "face", "review"}
    assert worked.case.face is not None
    qtbot.keyClick(worked.window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not stale_in(worked)
    assert not worked.landmark_model.placed


def test_a_frame_found_anew_leaves_no_face_that_looks_fresh(worked: Desk, made_up) -> None:
    frame = replace(made_up.prepared.frame, residual_mm=2.0)
    worked.case.set_prepared(replace(made_up.prepared, frame=turned(frame)))
    assert worked.case.face is None
    assert stale_in(worked) == {"face", "review"}
    made_up.give_face(worked)
    assert not stale_in(worked)


def turned(frame: Frame) -> Frame:
    """Return a frame turned by half a turn about its vertical axis."""
    return replace(frame, patient_from_frame=frame.patient_from_frame @ np.diag([-1, -1, 1, 1.0]))


def test_another_scan_is_another_person(worked: Desk, qtbot, made_up, make_up) -> None:
    panel = worked.window.profile_panel
    age = panel.findChildren(QLineEdit)[0]
    worked.steps.choose("profile")
    qtbot.keyClicks(age, "44")
    assert panel.known().age == 44
    other = make_up(b"another series", "series.bin")
    worked.case.set_scan(Path("made-up"), other.prepared.scan, other.inputs)  # of the same place
    assert panel.known().age == 44
    assert {"skull", "face", "review"} <= stale_in(worked)
    worked.case.set_scan(Path("somebody else"), made_up.prepared.scan, made_up.inputs)
    assert panel.known().age is None
    assert done_in(worked) == {"scan"}
    assert not stale_in(worked)


def test_the_same_scan_opened_again_has_its_face_still_to_be_made(worked: Desk, made_up) -> None:
    open_case(worked, made_up)
    assert worked.case.face is None
    assert done_in(worked) >= {"scan", "skull", "landmarks"}
    assert shown(worked)["face"] is State.NOT_STARTED


def test_an_unsure_frame_is_asked_about_in_its_step(desk: Desk, made_up) -> None:
    desk.case.set_scan(Path("made-up"), made_up.prepared.scan, made_up.inputs)
    desk.case.set_unplaced(SkullUnplaced(FrameUnsure("Unsure."), made_up.prepared.skull, {}))
    assert desk.steps.current == "landmarks"
    assert done_in(desk) == {"scan", "skull"}


def test_steps_on_bone_show_it_bare(drawn: Desk, qtbot) -> None:
    desk = drawn
    layers = desk.window.scene_view.scene.snapshot
    for name in STEPS:
        desk.steps.choose(name)
        bare = name in ("skull", "landmarks")
        assert layers().layers["face"].visible is not bare, name
        assert desk.window.commands["toggle_face"].isEnabled() is not bare
    desk.steps.choose("skull")
    qtbot.keyClick(desk.window, Qt.Key.Key_W)  # comparing is what Review is for
    assert desk.steps.current == "review"
    assert desk.scene.wipe == 0.5


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_control_has_a_tooltip_a_keyboard_path_and_room(
    drawn: Desk, qtbot, theme: str
) -> None:
    desk = drawn
    desk.appearance.choose(theme)
    desk.window.review_panel.more.button.click()
    desk.window.skull_panel.show_skull(
        skull_parts(desk.case.skull), "Bone from 250 HU", [20 * "Much is missing here. ", "More."]
    )
    desk.window.face_panel.show_notes([30 * "long "], [20 * "A doubt of many words. "])
    walked = 0
    for name in STEPS:
        desk.steps.choose(name)
        QApplication.processEvents()
        chain, controls = tab_chain(desk.window), controls_in(desk.window)
        assert not [one for one in controls if not one.toolTip()], name
        unreachable = [
            one.toolTip() for one in controls
            if one.isEnabled() and not reached(one, chain)
        ]  # fmt: skip
        assert not unreachable, name
        assert not cut_off(desk, page_of(desk)), name
        walked += len(controls)
    assert walked > 100


def test_no_step_has_more_than_ten_controls(drawn: Desk) -> None:
    seen = {}
    for name in STEPS:
        drawn.steps.choose(name)
        seen[name] = len(controls_in(page_of(drawn)))
    assert max(seen.values()) <= 10, seen
    assert seen["review"] >= 4


def test_what_the_walk_looks_for_it_finds(worked: Desk, qtbot) -> None:
    """The walk itself must be able to fail: a button without tooltip, path and room is found."""
    bad = QPushButton("Words that are far too long for it", worked.window.export_panel)
    bad.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    bad.setFixedWidth(40)
    worked.window.export_panel.body.addWidget(bad)
    worked.steps.choose("report")
    QApplication.processEvents()
    assert bad in controls_in(worked.window)
    assert not bad.toolTip()
    assert bad not in tab_chain(worked.window)
    assert cut_off(worked, page_of(worked)) == [bad.text()]


def test_every_command_is_explained_and_has_a_letter_of_its_own(desk: Desk) -> None:
    def walk(menu: QMenu) -> None:
        letters = []
        for action in menu.actions():
            if action.isSeparator():
                continue
            inside = action.menu()
            if isinstance(inside, QMenu):
                walk(inside)
            else:
                assert action.toolTip() not in ("", action.text().replace("&", "")), action.text()
            assert "&" in action.text(), action.text()
            letters.append(action.text()[action.text().index("&") + 1].lower())
        assert len(set(letters)) == len(letters), letters

    tops: list[QAction] = desk.window.menuBar().actions()
    letters = [top.text()[top.text().index("&") + 1].lower() for top in tops]
    assert len(set(letters)) == len(letters)
    for top in tops:
        menu = top.menu()
        assert isinstance(menu, QMenu)
        walk(menu)
    shortcuts = [
        command.shortcut().toString()
        for name, command in desk.window.commands.items()
        if not command.shortcut().isEmpty() and name not in ("cancel", "stop_placing")
    ]
    assert len(set(shortcuts)) == len(shortcuts)
