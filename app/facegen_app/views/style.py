"""How the window looks: the theme's colours as a style sheet and a palette."""

from __future__ import annotations

from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

from facegen_app.views.tokens import BODY, DARK, DISPLAY, SMALL, THEMES, TITLE, Theme

_PROPERTY = "facegen_theme"


def style_sheet(theme: Theme) -> str:
    """Return the style sheet of a theme."""
    return f"""
* {{ font-size: {BODY}px; }}
QMainWindow, QDialog, QWidget#panel, QMenuBar, QScrollArea, QScrollArea > QWidget > QWidget {{
    background: {theme.panel}; color: {theme.text}; }}
QLabel {{ color: {theme.text}; background: transparent; }}
QLabel[kind="title"] {{ font-size: {TITLE}px; font-weight: 600; }}
QLabel[kind="number"] {{ color: {theme.accent}; font-size: {TITLE}px; font-weight: 600; }}
QLabel[kind="quiet"] {{ color: {theme.quiet}; }}
QLabel[kind="small"] {{ color: {theme.quiet}; font-size: {SMALL}px; }}
QLabel[kind="warning"] {{ color: {theme.warning}; font-size: {SMALL}px; }}
QLabel[kind="display"] {{ font-size: {DISPLAY}px; font-weight: 600; }}
QFrame[kind="line"] {{ background: {theme.line}; max-height: 1px; min-height: 1px; border: none; }}
QFrame[kind="footer"] {{ background: {theme.panel}; border-top: 1px solid {theme.line}; }}
QWidget[kind="stage"] {{ background: {theme.stage}; }}
QPushButton, QToolButton {{
    background: {theme.raised}; color: {theme.text}; border: 1px solid {theme.line};
    border-radius: 4px;
    padding: 5px 10px; }}
QPushButton:hover, QToolButton:hover {{ background: {theme.line}; }}
QPushButton:focus, QToolButton:focus, QComboBox:focus, QLineEdit:focus {{
    border-color: {theme.accent}; }}
QPushButton:disabled, QToolButton:disabled {{ color: {theme.faint}; background: {theme.panel}; }}
QPushButton[kind="primary"] {{
    background: {theme.accent}; color: {theme.on_accent}; border-color: {theme.accent};
    font-weight: 600;
    padding: 7px 12px; }}
QPushButton[kind="primary"]:hover {{ background: {theme.accent_hover}; }}
QPushButton[kind="primary"]:focus {{ border-color: {theme.text}; }}
QPushButton[kind="primary"]:disabled {{
    background: {theme.raised}; color: {theme.faint}; border-color: {theme.line}; }}
QToolButton[kind="segment"] {{
    background: transparent; border: 1px solid transparent; color: {theme.quiet};
    padding: 4px 9px; }}
QToolButton[kind="segment"]:hover {{ background: {theme.raised}; color: {theme.text}; }}
QToolButton[kind="segment"]:checked {{ background: {theme.raised}; color: {theme.text}; }}
QToolButton[kind="segment"]:focus {{ border-color: {theme.accent}; }}
QToolButton[kind="opener"] {{
    background: transparent; border: 1px solid transparent; padding: 0 6px 0 0; margin-left: -7px;
    color: {theme.quiet}; }}
QToolButton[kind="opener"]:hover {{ color: {theme.accent}; }}
QToolButton[kind="opener"]:focus {{ border-color: {theme.accent}; }}
QPushButton:checked {{ border-color: {theme.accent}; color: {theme.accent}; }}
QTreeWidget {{
    background: {theme.stage}; color: {theme.text}; border: 1px solid {theme.line};
    border-radius: 4px; outline: 0; }}
QTreeWidget:focus {{ border-color: {theme.accent}; }}
QTreeWidget::item {{ height: 24px; padding: 0 4px; border: none; }}
QTreeWidget::item:hover {{ background: {theme.panel}; }}
QTreeWidget::item:selected {{ background: {theme.raised}; color: {theme.text}; }}
QComboBox, QLineEdit {{
    background: {theme.raised}; color: {theme.text}; border: 1px solid {theme.line};
    border-radius: 4px;
    padding: 3px 8px; min-height: 20px; }}
QLineEdit {{ placeholder-text-color: {theme.faint}; }}
QComboBox:disabled, QLineEdit:disabled {{ color: {theme.faint}; background: {theme.panel}; }}
QComboBox::drop-down {{ border: none; width: 18px; }}
QComboBox QAbstractItemView {{
    background: {theme.raised}; color: {theme.text}; selection-background-color: {theme.accent};
    selection-color: {theme.on_accent}; border: 1px solid {theme.line}; }}
QSlider::groove:horizontal {{ height: 4px; background: {theme.line}; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {theme.accent}; border-radius: 2px; }}
QSlider::sub-page:horizontal:disabled {{ background: {theme.line}; }}
QSlider::handle:horizontal {{
    background: {theme.text}; width: 14px; height: 14px; margin: -5px 0; border-radius: 7px; }}
QSlider::handle:horizontal:disabled {{ background: {theme.faint}; }}
QSlider::handle:horizontal:focus {{ border: 2px solid {theme.accent}; width: 12px; height: 12px;
    border-radius: 8px; }}
QSlider[kind="big"] {{ min-height: 28px; }}
QSlider[kind="big"]::groove:horizontal {{ height: 6px; border-radius: 3px; }}
QSlider[kind="big"]::sub-page:horizontal {{ border-radius: 3px; }}
QSlider[kind="big"]::handle:horizontal {{
    width: 20px; height: 20px; margin: -7px 0; border-radius: 10px; }}
QSlider[kind="big"]::handle:horizontal:focus {{ width: 18px; height: 18px;
    border-radius: 11px; margin: -8px 0; }}
QToolButton[kind="choice"] {{ color: {theme.quiet}; background: {theme.panel}; }}
QToolButton[kind="choice"]:checked {{
    color: {theme.text}; background: {theme.raised}; border-color: {theme.accent}; }}
QToolButton[kind="choice"]:disabled {{ color: {theme.faint}; background: {theme.panel};
    border-color: {theme.line}; }}
QCheckBox {{ color: {theme.text}; spacing: 6px; }}
QCheckBox:disabled {{ color: {theme.faint}; }}
QProgressBar {{
    background: {theme.line}; border: none; border-radius: 2px; max-height: 4px; min-height: 4px; }}
QProgressBar::chunk {{ background: {theme.accent}; border-radius: 2px; }}
QMenuBar {{ border-bottom: 1px solid {theme.line}; }}
QMenuBar::item {{ padding: 5px 10px; background: transparent; }}
QMenuBar::item:selected, QMenu::item:selected {{ background: {theme.raised}; }}
QMenu {{ background: {theme.panel}; color: {theme.text}; border: 1px solid {theme.line}; }}
QMenu::item {{ padding: 5px 24px 5px 16px; }}
QMenu::item:disabled {{ color: {theme.faint}; }}
QMenu::separator {{ background: {theme.line}; height: 1px; margin: 4px 0; }}
QToolTip {{ background: {theme.raised}; color: {theme.text}; border: 1px solid {theme.line};
    padding: 3px; }}
QPlainTextEdit {{ background: {theme.stage}; color: {theme.text}; border: 1px solid {theme.line}; }}
QSplitter::handle {{ background: {theme.panel}; image: none; }}
QScrollArea {{ border: none; }}
QScrollBar:vertical {{ background: {theme.panel}; width: 8px; }}
QScrollBar::handle:vertical {{ background: {theme.line}; border-radius: 4px; min-height: 24px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; }}
"""


def current_theme() -> Theme:
    """Return the theme that the application wears."""
    application = QApplication.instance()
    name = None if application is None else application.property(_PROPERTY)
    return THEMES.get(str(name), DARK)


def dress(application: QApplication, theme: Theme) -> None:
    """Give the application a theme; every window that is open follows."""
    application.setProperty(_PROPERTY, theme.name)
    application.setStyle("Fusion")
    palette = QPalette()
    for role, colour in (
        (QPalette.ColorRole.Window, theme.panel),
        (QPalette.ColorRole.WindowText, theme.text),
        (QPalette.ColorRole.Base, theme.raised),
        (QPalette.ColorRole.AlternateBase, theme.panel),
        (QPalette.ColorRole.Text, theme.text),
        (QPalette.ColorRole.Button, theme.raised),
        (QPalette.ColorRole.ButtonText, theme.text),
        (QPalette.ColorRole.Highlight, theme.accent),
        (QPalette.ColorRole.HighlightedText, theme.on_accent),
        (QPalette.ColorRole.ToolTipBase, theme.raised),
        (QPalette.ColorRole.ToolTipText, theme.text),
        (QPalette.ColorRole.PlaceholderText, theme.faint),
        (QPalette.ColorRole.Link, theme.accent),
    ):
        palette.setColor(role, QColor(colour))
    application.setPalette(palette)
    application.setStyleSheet(style_sheet(theme))
