"""How the window looks: one type scale, one spacing unit, quiet greys and one accent colour."""

from __future__ import annotations

from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

UNIT = 8
"""The spacing unit, pixels; every margin and gap is a multiple or half of it."""

STAGE = "#25262A"
PANEL = "#2D3035"
RAISED = "#3A3E45"
LINE = "#464B53"
TEXT = "#E6E8EA"
QUIET = "#B0B6BE"
FAINT = "#858C96"
ACCENT = "#7FB4E6"
ON_ACCENT = "#10161C"
WARNING = "#E3B868"

SMALL, BODY, TITLE = 11, 13, 14
"""The type scale, pixels."""

_SHEET = f"""
* {{ font-size: {BODY}px; }}
QMainWindow, QDialog, QWidget#panel, QMenuBar, QScrollArea, QScrollArea > QWidget > QWidget {{
    background: {PANEL}; color: {TEXT}; }}
QLabel {{ color: {TEXT}; background: transparent; }}
QLabel[kind="title"] {{ font-size: {TITLE}px; font-weight: 600; }}
QLabel[kind="number"] {{ color: {ACCENT}; font-size: {TITLE}px; font-weight: 600; }}
QLabel[kind="quiet"] {{ color: {QUIET}; }}
QLabel[kind="small"] {{ color: {QUIET}; font-size: {SMALL}px; }}
QLabel[kind="warning"] {{ color: {WARNING}; font-size: {SMALL}px; }}
QLabel[kind="display"] {{ font-size: 20px; font-weight: 600; }}
QFrame[kind="line"] {{ background: {LINE}; max-height: 1px; min-height: 1px; border: none; }}
QFrame[kind="footer"] {{ background: {PANEL}; border-top: 1px solid {LINE}; }}
QWidget[kind="stage"] {{ background: {STAGE}; }}
QPushButton, QToolButton {{
    background: {RAISED}; color: {TEXT}; border: 1px solid {LINE}; border-radius: 4px;
    padding: 5px 10px; }}
QPushButton:hover, QToolButton:hover {{ background: {LINE}; }}
QPushButton:focus, QToolButton:focus, QComboBox:focus, QLineEdit:focus {{
    border-color: {ACCENT}; }}
QPushButton:disabled, QToolButton:disabled {{ color: {FAINT}; background: {PANEL}; }}
QPushButton[kind="primary"] {{
    background: {ACCENT}; color: {ON_ACCENT}; border-color: {ACCENT}; font-weight: 600;
    padding: 7px 12px; }}
QPushButton[kind="primary"]:hover {{ background: #96C3EE; }}
QPushButton[kind="primary"]:focus {{ border-color: {TEXT}; }}
QPushButton[kind="primary"]:disabled {{
    background: {RAISED}; color: {FAINT}; border-color: {LINE}; }}
QToolButton[kind="segment"] {{
    background: transparent; border: 1px solid transparent; color: {QUIET}; padding: 4px 9px; }}
QToolButton[kind="segment"]:hover {{ background: {RAISED}; color: {TEXT}; }}
QToolButton[kind="segment"]:checked {{ background: {RAISED}; color: {TEXT}; }}
QToolButton[kind="segment"]:focus {{ border-color: {ACCENT}; }}
QToolButton[kind="opener"] {{
    background: transparent; border: 1px solid transparent; padding: 0 6px 0 0; margin-left: -7px;
    font-size: {TITLE}px; font-weight: 600; }}
QToolButton[kind="opener"]:hover {{ color: {ACCENT}; }}
QToolButton[kind="opener"]:focus {{ border-color: {ACCENT}; }}
QPushButton:checked {{ border-color: {ACCENT}; color: {ACCENT}; }}
QTreeWidget {{
    background: {STAGE}; color: {TEXT}; border: 1px solid {LINE}; border-radius: 4px; outline: 0; }}
QTreeWidget:focus {{ border-color: {ACCENT}; }}
QTreeWidget::item {{ height: 24px; padding: 0 4px; border: none; }}
QTreeWidget::item:hover {{ background: {PANEL}; }}
QTreeWidget::item:selected {{ background: {RAISED}; color: {TEXT}; }}
QComboBox, QLineEdit {{
    background: {RAISED}; color: {TEXT}; border: 1px solid {LINE}; border-radius: 4px;
    padding: 3px 8px; min-height: 20px; }}
QComboBox:disabled, QLineEdit:disabled {{ color: {FAINT}; background: {PANEL}; }}
QComboBox::drop-down {{ border: none; width: 18px; }}
QComboBox QAbstractItemView {{
    background: {RAISED}; color: {TEXT}; selection-background-color: {ACCENT};
    selection-color: {ON_ACCENT}; border: 1px solid {LINE}; }}
QSlider::groove:horizontal {{ height: 4px; background: {LINE}; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {ACCENT}; border-radius: 2px; }}
QSlider::sub-page:horizontal:disabled {{ background: {LINE}; }}
QSlider::handle:horizontal {{
    background: {TEXT}; width: 14px; height: 14px; margin: -5px 0; border-radius: 7px; }}
QSlider::handle:horizontal:disabled {{ background: {FAINT}; }}
QSlider::handle:horizontal:focus {{ border: 2px solid {ACCENT}; width: 12px; height: 12px;
    border-radius: 8px; }}
QCheckBox {{ color: {TEXT}; spacing: 6px; }}
QCheckBox:disabled {{ color: {FAINT}; }}
QProgressBar {{
    background: {LINE}; border: none; border-radius: 2px; max-height: 4px; min-height: 4px; }}
QProgressBar::chunk {{ background: {ACCENT}; border-radius: 2px; }}
QMenuBar {{ border-bottom: 1px solid {LINE}; }}
QMenuBar::item {{ padding: 5px 10px; background: transparent; }}
QMenuBar::item:selected, QMenu::item:selected {{ background: {RAISED}; }}
QMenu {{ background: {PANEL}; color: {TEXT}; border: 1px solid {LINE}; }}
QMenu::item {{ padding: 5px 24px 5px 16px; }}
QMenu::item:disabled {{ color: {FAINT}; }}
QMenu::separator {{ background: {LINE}; height: 1px; margin: 4px 0; }}
QToolTip {{ background: {RAISED}; color: {TEXT}; border: 1px solid {LINE}; padding: 3px; }}
QPlainTextEdit {{ background: {STAGE}; color: {TEXT}; border: 1px solid {LINE}; }}
QSplitter::handle {{ background: {PANEL}; image: none; }}
QScrollArea {{ border: none; }}
QScrollBar:vertical {{ background: {PANEL}; width: 8px; }}
QScrollBar::handle:vertical {{ background: {LINE}; border-radius: 4px; min-height: 24px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; }}
"""


def dress(application: QApplication) -> None:
    """Give the application its look."""
    application.setStyle("Fusion")
    palette = QPalette()
    for role, colour in (
        (QPalette.ColorRole.Window, PANEL),
        (QPalette.ColorRole.WindowText, TEXT),
        (QPalette.ColorRole.Base, RAISED),
        (QPalette.ColorRole.AlternateBase, PANEL),
        (QPalette.ColorRole.Text, TEXT),
        (QPalette.ColorRole.Button, RAISED),
        (QPalette.ColorRole.ButtonText, TEXT),
        (QPalette.ColorRole.Highlight, ACCENT),
        (QPalette.ColorRole.HighlightedText, ON_ACCENT),
        (QPalette.ColorRole.ToolTipBase, RAISED),
        (QPalette.ColorRole.ToolTipText, TEXT),
        (QPalette.ColorRole.PlaceholderText, FAINT),
        (QPalette.ColorRole.Link, ACCENT),
    ):
        palette.setColor(role, QColor(colour))
    application.setPalette(palette)
    application.setStyleSheet(_SHEET)
