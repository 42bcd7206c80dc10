"""Step 6: the face judged against the skull: fade, wipe, uncertainty; layers behind More."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QHBoxLayout,
    QSlider,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from facegen_app.views.layers_panel import LayersPanel
from facegen_app.views.section import More, Section, label
from facegen_app.views.tokens import UNIT

_FINE = 1000
"""Steps of the sliders."""


class ReviewPanel(Section):
    """One big slider, for the fade from skull to face or for the line of the wipe between them.

    Emits wishes: the fade 0..1, wipe or fade, the line 0..1, colours of uncertainty; and whether a
    slider is being dragged.
    """

    blend_wished = Signal(float)
    wiping_wished = Signal(bool)
    wipe_wished = Signal(float)
    bands_wished = Signal(bool)
    dragged = Signal(bool)

    def __init__(self, layers: LayersPanel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.fade = _mode(self.tr("Fade"), self.tr("One slider from the skull to the face"))
        self.wipe = _mode(self.tr("Wipe"), self.tr("Skull left of a line, face right of it (W)"))
        modes = QButtonGroup(self)
        row = QHBoxLayout()
        row.setSpacing(UNIT // 2)
        for button, wiping in ((self.fade, False), (self.wipe, True)):
            modes.addButton(button)
            row.addWidget(button, 1)
            button.clicked.connect(lambda _=False, w=wiping: self.wiping_wished.emit(w))
        self.blend_slider = _slider(self.tr("From the skull at the left to the face at the right"))
        self.blend_slider.setAccessibleName(self.tr("Fade from skull to face"))
        self.wipe_slider = _slider(
            self.tr("Where the line stands; drag it in the 3D view, or press comma and period")
        )
        self.wipe_slider.setAccessibleName(self.tr("Line between skull and face"))
        self._pages = QStackedWidget()
        for slider, wish, ends in (
            (self.blend_slider, self.blend_wished, (self.tr("Skull"), self.tr("Face"))),
            (self.wipe_slider, self.wipe_wished, (self.tr("Line left"), self.tr("Line right"))),
        ):
            slider.valueChanged.connect(lambda value, wish=wish: wish.emit(value / _FINE))
            slider.sliderPressed.connect(lambda: self.dragged.emit(True))
            slider.sliderReleased.connect(lambda: self.dragged.emit(False))
            self._pages.addWidget(_page(slider, ends))
        self.bands = QCheckBox(self.tr("Uncertainty"))
        self.bands.setToolTip(
            self.tr("Colour the face by its 90 % band: how far the skin may lie from it (U)")
        )
        self.bands.toggled.connect(self.bands_wished)
        self._meaning = label("", "small", wrap=True)
        self._face = self._carried = self._mixed = False
        self.more = More(layers, self.tr("Each layer's opacity and colour, and other shapes"))
        self.body.addLayout(row)
        self.body.addWidget(self._pages)
        self.body.addWidget(self.bands)
        self.body.addWidget(self._meaning)
        self.body.addWidget(self.more)
        self.set_ready(face=False, bands=False)

    def set_ready(self, *, face: bool, bands: bool) -> None:
        """Turn on what can be compared: a face, and one that carries its band."""
        for widget in (self.fade, self.wipe, self.blend_slider, self.wipe_slider):
            widget.setEnabled(face)
        self.bands.setEnabled(bands)
        self._face, self._carried = face, bands
        self._say()

    def show_state(self, blend: float, wipe: float | None, bands: bool) -> None:
        """Show fade, line (None without) and whether uncertainty is coloured; emits nothing."""
        widgets = (self.blend_slider, self.wipe_slider, self.bands)
        for widget in widgets:
            widget.blockSignals(True)
        self.blend_slider.setValue(round(_FINE * blend))
        if wipe is not None:
            self.wipe_slider.setValue(round(_FINE * wipe))
        self.bands.setChecked(bands)
        for widget in widgets:
            widget.blockSignals(False)
        self._mixed = bands and wipe is None and blend < 1.0
        self._say()
        (self.fade if wipe is None else self.wipe).setChecked(True)
        self._pages.setCurrentIndex(0 if wipe is None else 1)

    def _say(self) -> None:
        """Say what the colours mean, and how they are seen unmixed with the bone."""
        said = ""
        if self._face and not self._carried:
            said = self.tr("This shape carries no band; the most likely one does.")
        elif self._face and self._mixed:
            said = self.tr("Bone shines through the colours: slide to Face, or wipe, to read them.")
        elif self._face:
            said = self.tr("Nine times in ten the skin is expected within ± this distance.")
        self._meaning.setText(said)

    @property
    def meaning(self) -> str:
        """What is said of the colours."""
        return self._meaning.text()


def _mode(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setCheckable(True)
    button.setProperty("kind", "choice")
    button.setSizePolicy(button.sizePolicy().Policy.Expanding, button.sizePolicy().Policy.Fixed)
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return button


def _slider(tip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, _FINE)
    slider.setSingleStep(_FINE // 100)
    slider.setPageStep(_FINE // 10)
    slider.setProperty("kind", "big")
    slider.setToolTip(tip)
    return slider


def _page(slider: QSlider, ends: tuple[str, str]) -> QWidget:
    words = QHBoxLayout()
    words.addWidget(label(ends[0], "small"))
    words.addStretch(1)
    words.addWidget(label(ends[1], "small"))
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, UNIT // 2, 0, 0)
    column.setSpacing(0)
    column.addWidget(slider)
    column.addLayout(words)
    return page
