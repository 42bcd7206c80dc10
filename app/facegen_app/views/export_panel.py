"""Step 7: take the results out of the window."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtWidgets import QPushButton, QWidget

from facegen_app.views.section import Section, label


class ExportPanel(Section):
    """Save everything with a report, or the picture that is seen.

    Emits these two wishes.
    """

    results_wished = Signal()
    picture_wished = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._results = QPushButton(self.tr("Save results and report…"))
        self._results.setProperty("kind", "primary")
        self._results.setToolTip(
            self.tr(
                "Save meshes, pictures, result.json and the PDF report in a new folder (Ctrl+S)"
            )
        )
        self._picture = QPushButton(self.tr("Save picture…"))
        self._picture.setToolTip(
            self.tr("Save the 3D view as it is seen, at print resolution (Ctrl+P)")
        )
        self._results.clicked.connect(self.results_wished)
        self._picture.clicked.connect(self.picture_wished)
        self._saved = label("", "small", wrap=True)
        self._saved.setOpenExternalLinks(True)
        self._saved.setTextFormat(Qt.TextFormat.RichText)
        self._saved.hide()
        self.body.addWidget(self._results)
        self.body.addWidget(self._picture)
        self.body.addWidget(self._saved)
        self.set_ready(picture=False, results=False)

    def set_ready(self, *, picture: bool, results: bool) -> None:
        """Turn the buttons on when there is something to save."""
        self._picture.setEnabled(picture)
        self._results.setEnabled(results)

    def show_saved(self, path: Path | None) -> None:
        """Say where something was saved, as a link; None takes it away."""
        self._saved.setVisible(path is not None)
        if path is not None:
            url = QUrl.fromLocalFile(str(path)).toString()
            name = path.name.replace("&", "&amp;").replace("<", "&lt;")
            link = f'<a href="{url}">{name}</a>'
            self._saved.setText(self.tr("Saved: {link}").format(link=link))
            self._saved.setToolTip(str(path))
