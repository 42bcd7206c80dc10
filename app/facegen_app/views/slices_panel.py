"""The three slices one above the other, the grey-value presets, and what is under the cursor."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from facegen_app.views.section import label
from facegen_app.views.slice_view import SliceView
from facegen_app.views.tokens import UNIT


class SlicesPanel(QWidget):
    """Axial, coronal and sagittal slice.  Emits the wish for a window preset."""

    window_wished = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("panel")
        self.slices = {
            "axial": SliceView(self.tr("Axial slice"), self),
            "coronal": SliceView(self.tr("Coronal slice"), self),
            "sagittal": SliceView(self.tr("Sagittal slice"), self),
        }
        self.buttons = {
            "bone": _segment(self.tr("Bone"), self.tr("Grey from −400 to 1600 HU")),
            "soft tissue": _segment(self.tr("Soft tissue"), self.tr("Grey from −160 to 240 HU")),
        }
        group = QButtonGroup(self)
        row = QHBoxLayout()
        row.setContentsMargins(UNIT, UNIT // 2, UNIT, UNIT // 2)
        row.addWidget(label(self.tr("Slices"), "title"), 1)
        for name, button in self.buttons.items():
            group.addButton(button)
            row.addWidget(button)
            button.clicked.connect(lambda _=False, name=name: self.window_wished.emit(name))
        self._reading = label("", "small")
        self._reading.setContentsMargins(UNIT, UNIT // 2, UNIT, UNIT // 2)
        self._reading.setAlignment(Qt.AlignmentFlag.AlignLeft)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(2)
        whole.addLayout(row)
        for view in self.slices.values():
            whole.addWidget(view, 1)
        whole.addWidget(self._reading)
        self.show_window("bone")
        self.show_reading(None)

    def show_window(self, name: str) -> None:
        """Show which preset is chosen."""
        self.buttons[name].setChecked(True)

    def show_reading(self, reading: tuple[int, float, float, float] | None) -> None:
        """Show Hounsfield value and LPS position (mm) of a point, or how to get them."""
        if reading is None:
            self._reading.setText(self.tr("Point at a slice to read HU and position"))
            return
        hounsfield, x, y, z = reading
        self._reading.setText(
            self.tr("{hu} HU    L {x}   P {y}   S {z} mm").format(
                hu=_signed(hounsfield), x=_signed(x), y=_signed(y), z=_signed(z)
            )
        )

    @property
    def reading(self) -> str:
        """What is written about the point under the cursor."""
        return self._reading.text()


def _signed(value: float) -> str:
    """Return a number with a true minus sign; one decimal unless it is whole by nature."""
    text = f"{value:d}" if isinstance(value, int) else f"{value:.1f}"
    return text.replace("-", "−")


def _segment(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setCheckable(True)
    button.setProperty("kind", "segment")
    return button
