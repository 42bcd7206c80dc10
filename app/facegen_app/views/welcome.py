"""What the empty window says: how to begin."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from facegen_app.views.section import label
from facegen_app.views.tokens import UNIT


class Welcome(QWidget):
    """Two ways to begin.  Emits the wish to open a folder, or to try the demo scan."""

    folder_wished = Signal()
    demo_wished = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "stage")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        open_folder = QPushButton(self.tr("Open folder…"))
        open_folder.setProperty("kind", "primary")
        open_folder.setToolTip(self.tr("Open a folder with a DICOM series"))
        open_folder.clicked.connect(self.folder_wished)
        demo = QPushButton(self.tr("Try the demo scan"))
        demo.setToolTip(self.tr("A synthetic head made by the program; no person"))
        demo.clicked.connect(self.demo_wished)
        buttons = QHBoxLayout()
        buttons.setSpacing(UNIT)
        for stretch, button in ((1, open_folder), (0, demo)):
            if stretch:
                buttons.addStretch(1)
            buttons.addWidget(button)
        buttons.addStretch(1)
        title = label(self.tr("Drop a skull CT here"), "display")
        hint = label(
            self.tr("DICOM folder, file or archive; NIfTI, NRRD, MHA; skull mesh STL, PLY, OBJ"),
            "quiet",
        )
        whole = QVBoxLayout(self)
        whole.setSpacing(UNIT * 2)
        whole.addStretch(1)
        for line in (title, hint):
            line.setAlignment(Qt.AlignmentFlag.AlignCenter)
            whole.addWidget(line)
        whole.addLayout(buttons)
        whole.addStretch(1)
