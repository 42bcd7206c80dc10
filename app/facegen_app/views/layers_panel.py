"""Skull and face one by one: visibility, colour, opacity, and which face."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QComboBox,
    QGridLayout,
    QLabel,
    QSlider,
    QToolButton,
    QWidget,
)

from facegen_app.views.section import label
from facegen_app.views.tokens import UNIT

Colour = tuple[float, float, float]


class LayerRow(QWidget):
    """The controls of one mesh.

    Emits wishes: shown or hidden, opacity 0..1, colour, and whether its slider is being dragged.
    """

    visible_wished = Signal(bool)
    opacity_wished = Signal(float)
    colour_wished = Signal(object)
    dragged = Signal(bool)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.check = QCheckBox(name)
        self.check.setToolTip(self.tr("Show or hide this layer"))
        self.swatch = QToolButton()
        self.swatch.setFixedSize(18, 18)
        self.swatch.setToolTip(self.tr("Choose the colour"))
        self.swatch.setAccessibleName(self.tr("Colour of {layer}").format(layer=name))
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setPageStep(10)
        self.slider.setToolTip(self.tr("Opacity: left is clear, right is solid"))
        self.slider.setAccessibleName(self.tr("Opacity of {layer}").format(layer=name))
        self.percent = label("", "small")
        self.percent.setFixedWidth(40)
        self.percent.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.check.toggled.connect(self.visible_wished)
        self.slider.valueChanged.connect(lambda value: self.opacity_wished.emit(value / 100))
        self.slider.sliderPressed.connect(lambda: self.dragged.emit(True))
        self.slider.sliderReleased.connect(lambda: self.dragged.emit(False))
        self.swatch.clicked.connect(self._choose_colour)
        self._colour = QColor()

    def show_layer(self, visible: bool, opacity: float, colour: Colour) -> None:
        """Show the state of the layer; emits nothing."""
        for widget in (self.check, self.slider):
            widget.blockSignals(True)
        self.check.setChecked(visible)
        self.slider.setValue(round(100 * opacity))
        for widget in (self.check, self.slider):
            widget.blockSignals(False)
        self.percent.setText(self.tr("{value} %").format(value=round(100 * opacity)))
        self._colour = QColor.fromRgbF(*colour)
        self.swatch.setStyleSheet(
            f"QToolButton:enabled {{ background: {self._colour.name()}; border-radius: 3px; }}"
        )

    def _choose_colour(self) -> None:
        dialog = QColorDialog(self._colour, self)
        dialog.setOption(QColorDialog.ColorDialogOption.DontUseNativeDialog)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.colorSelected.connect(
            lambda c: self.colour_wished.emit((c.redF(), c.greenF(), c.blueF()))
        )
        dialog.open()


class LayersPanel(QWidget):
    """One row for the skull, one for the face, and the choice among the faces.

    Emits the wish for another variant: its number, 0 for the face itself.
    """

    variant_wished = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = {
            "skull": LayerRow(self.tr("Skull"), self),
            "face": LayerRow(self.tr("Face"), self),
        }
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(UNIT)
        grid.setVerticalSpacing(UNIT)
        for line, row in enumerate(self.rows.values()):
            for column, widget in enumerate((row.check, row.swatch, row.slider, row.percent)):
                grid.addWidget(widget, line, column)
        self._variant = QComboBox()
        self._variant.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._variant.setMinimumContentsLength(8)
        self._variant.setToolTip(self.tr("Other faces that could belong to the same skull"))
        self._variant.activated.connect(self.variant_wished)
        self._variant_label = QLabel(self.tr("Shape"))
        self._variant_label.setBuddy(self._variant)
        grid.addWidget(self._variant_label, 2, 0)
        grid.addWidget(self._variant, 2, 1, 1, 3)
        self.show_variants(())
        self.set_present("skull", False)
        self.set_present("face", False)

    def set_present(self, name: str, present: bool) -> None:
        """Turn a row on when there is such a mesh."""
        row = self.rows[name]
        for widget in (row.check, row.swatch, row.slider, row.percent):
            widget.setEnabled(present)

    def show_variants(self, names: Sequence[str]) -> None:
        """Offer these faces, the first chosen; hidden when there is none to choose from."""
        self._variant.clear()
        self._variant.addItems(list(names))
        for widget in (self._variant, self._variant_label):
            widget.setVisible(len(names) > 1)
