"""What went wrong: a sentence and what to do; for a bug, a report that can be copied."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from facegen_app.errors import Trouble
from facegen_app.views.section import label
from facegen_app.views.tokens import UNIT


class ErrorDialog(QDialog):
    """Shows one `Trouble`.  Open it with ``open()``; it never blocks the program."""

    def __init__(self, trouble: Trouble, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.trouble = trouble
        self.setWindowTitle(self.tr("FaceGen"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(460)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(UNIT * 3, UNIT * 3, UNIT * 3, UNIT * 2)
        whole.setSpacing(UNIT * 3 // 2)
        whole.addWidget(label(trouble.message, "title", wrap=True))
        if trouble.advice:
            whole.addWidget(label(trouble.advice, "quiet", wrap=True))
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        if trouble.report:
            report = QPlainTextEdit(trouble.report)
            report.setReadOnly(True)
            report.setMinimumHeight(180)
            whole.addWidget(report)
            copy = QPushButton(self.tr("Copy report"))
            copy.setToolTip(self.tr("Put the report on the clipboard"))
            copy.clicked.connect(self.copy_report)
            buttons.addWidget(copy)
        close = QPushButton(self.tr("Close"))
        close.setToolTip(self.tr("Close this message"))
        close.setDefault(True)
        close.clicked.connect(self.accept)
        buttons.addWidget(close)
        whole.addLayout(buttons)

    def copy_report(self) -> None:
        """Put the report on the clipboard."""
        QGuiApplication.clipboard().setText(self.trouble.report)
