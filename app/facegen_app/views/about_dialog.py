"""What this program is, which versions run, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QPushButton, QVBoxLayout, QWidget

from facegen_app.views.section import label
from facegen_app.views.tokens import UNIT


class AboutDialog(QDialog):
    """Name, version, limits of use, versions of what it is built on."""

    def __init__(
        self, version: str, limits: Sequence[str], packages: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("About FaceGen"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFixedWidth(520)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(UNIT * 3, UNIT * 3, UNIT * 3, UNIT * 2)
        whole.setSpacing(UNIT * 3 // 2)
        whole.addWidget(label(self.tr("FaceGen {version}").format(version=version), "display"))
        whole.addWidget(
            label(self.tr("From the CT of a skull to a face that may belong on it."), "quiet")
        )
        for sentence in limits:
            whole.addWidget(label(sentence, "body", wrap=True))
        whole.addWidget(label(packages, "small", wrap=True))
        whole.addWidget(label(self.tr("Licence: Apache-2.0"), "small"))
        close = QPushButton(self.tr("Close"))
        close.setToolTip(self.tr("Close this page"))
        close.clicked.connect(self.accept)
        whole.addWidget(close, 0, Qt.AlignmentFlag.AlignRight)
