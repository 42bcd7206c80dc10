"""Every command of the menus with its name, shortcut and explanation, in one table."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QT_TRANSLATE_NOOP


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes
    ----------
    name
        Stable name.
    menu
        The menu it stands in.
    text
        What the menu shows.
    shortcut
        Keys, or empty.
    tip
        What it does, in a few words.
    group
        Commands of one group exclude each other, and the chosen one is marked; or empty.
    """

    name: str
    menu: str
    text: str
    shortcut: str
    tip: str
    group: str = ""


FILE = str(QT_TRANSLATE_NOOP("Commands", "&File"))
EDIT = str(QT_TRANSLATE_NOOP("Commands", "&Edit"))
STEP = str(QT_TRANSLATE_NOOP("Commands", "&Step"))
LANDMARKS = str(QT_TRANSLATE_NOOP("Commands", "&Landmarks"))
FACE = str(QT_TRANSLATE_NOOP("Commands", "F&ace"))
VIEW = str(QT_TRANSLATE_NOOP("Commands", "&View"))
APPEARANCE = str(QT_TRANSLATE_NOOP("Commands", "&Appearance"))
HELP = str(QT_TRANSLATE_NOOP("Commands", "&Help"))

COMMANDS = (
    Command("open_folder", FILE, "Open &folder…", "Ctrl+O", "Open a folder with a DICOM series"),
    Command(
        "open_file", FILE, "Open f&ile…", "Ctrl+Shift+O", "Open an archive, volume or mesh file"
    ),
    Command("open_case", FILE, "Open &case…", "Ctrl+Alt+O", "Go on with a case that was kept"),
    Command("new_case", FILE, "&New case…", "Ctrl+N", "Begin an empty case in a file of its own"),
    Command(
        "keep_case", FILE, "&Keep as case…", "Ctrl+Shift+S",
        "Keep what is there in a case file, and from then on every action as it happens",
    ),
    Command(
        "save_results", FILE, "&Save results and report…", "Ctrl+S",
        "Save meshes, pictures and report in a new folder",
    ),
    Command("save_picture", FILE, "Save &picture…", "Ctrl+P", "Save the 3D view as it is seen"),
    Command("quit", FILE, "&Quit", "Ctrl+Q", "Close the window"),
    Command("undo", EDIT, "&Undo", "Ctrl+Z", "Take the last action on the case back"),
    Command("redo", EDIT, "&Redo", "Ctrl+Shift+Z", "Do again what was taken back"),
    Command("step_scan", STEP, "&1 Scan", "Ctrl+1", "Open the CT of a skull"),
    Command("step_skull", STEP, "&2 Skull", "Ctrl+2", "What of the skull is there"),
    Command("step_landmarks", STEP, "&3 Landmarks and frame", "Ctrl+3", "Points on the bone"),
    Command("step_profile", STEP, "&4 Profile", "Ctrl+4", "What is known of the person"),
    Command("step_face", STEP, "&5 Face", "Ctrl+5", "Predict the face"),
    Command("step_review", STEP, "&6 Review", "Ctrl+6", "Judge the face against its skull"),
    Command("step_report", STEP, "&7 Report", "Ctrl+7", "Save report, meshes and pictures"),
    Command("next_step", STEP, "&Next step", "Alt+Right", "Go on to the next step"),
    Command("place_landmark", LANDMARKS, "&Place the chosen point", "P", "Place it by a click"),
    Command("stop_placing", LANDMARKS, "&Stop placing", "Esc", "Place nothing"),
    Command(
        "open_landmarks", LANDMARKS, "&Open landmarks file…", "Ctrl+L",
        "Read points placed by hand, and make the frame from them",
    ),
    Command(
        "save_landmarks", LANDMARKS, "Save &landmarks file…", "Ctrl+Shift+L",
        "Write the points placed by hand to a file",
    ),
    Command("reconstruct", FACE, "&Reconstruct", "Ctrl+R", "Predict the face from the bone"),
    Command("cancel", FACE, "&Cancel", "Esc", "Stop the work that is running"),
    Command("toggle_skull", FACE, "Show or hide the &skull", "S", "The bone in the 3D view"),
    Command("toggle_face", FACE, "Show or hide the &face", "F", "The face in the 3D view"),
    Command("lateral-right", VIEW, "&Right lateral", "1", "Look at the right side"),
    Command("three-quarter-right", VIEW, "Right &three-quarter", "2", "Look from the right front"),
    Command("frontal", VIEW, "&Frontal", "3", "Look from the front"),
    Command("three-quarter-left", VIEW, "Left t&hree-quarter", "4", "Look from the left front"),
    Command("lateral-left", VIEW, "&Left lateral", "5", "Look at the left side"),
    Command("vertex", VIEW, "&Vertex", "6", "Look from above"),
    Command("wipe", VIEW, "&Wipe between skull and face", "W", "Skull left of a line, face right"),
    Command("wipe_left", VIEW, "Line to the l&eft", ",", "Move the line of the wipe left"),
    Command("wipe_right", VIEW, "Line to the ri&ght", ".", "Move the line of the wipe right"),
    Command("uncertainty", VIEW, "&Uncertainty of the face", "U", "Colour it by its 90 % band"),
    Command(
        "appearance_system", APPEARANCE, "As the &system", "",
        "Light or dark, as the system is set", "appearance",
    ),
    Command("appearance_light", APPEARANCE, "&Light", "", "Dark words on light", "appearance"),
    Command("appearance_dark", APPEARANCE, "&Dark", "", "Light words on dark", "appearance"),
    Command("demo", HELP, "&Demo scan", "", "Open a synthetic head made by the program"),
    Command("about", HELP, "&About FaceGen", "F1", "Versions, licences, limits of use"),
)  # fmt: skip

MENUS = (FILE, EDIT, STEP, LANDMARKS, FACE, VIEW, HELP)
SUBMENUS = {APPEARANCE: VIEW}
"""Menu → the menu that it stands in, at its end."""
