"""The craniometric points as a list: a dot as on the skull, the name, where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QFont, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTreeWidget, QTreeWidgetItem, QWidget

from facegen_app.views.style import current_theme
from facegen_app.views.tokens import SMALL

_ROWS_SEEN = 9
_ROW_HEIGHT = 24


@dataclass(frozen=True)
class Row:
    """One point.

    Attributes
    ----------
    code
        Its code, ``po-L``.
    name
        In words, with the examinee's side.
    source
        Where it comes from and how sure that is.
    tip
        Where it lies on the skull.
    colour
        Of its mark on the skull, red, green and blue 0..1; None where it has no place yet.
    """

    code: str
    name: str
    source: str
    tip: str = ""
    colour: tuple[float, float, float] | None = None


class LandmarkList(QTreeWidget):
    """Shows points.  Emits the code of the one the user chose, and that it is to be placed."""

    chosen = Signal(str)
    place_wished = Signal()
    _rows: tuple[Row, ...] = ()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setColumnCount(2)
        self.setHeaderHidden(True)
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setIconSize(QSize(12, 12))
        self.setIndentation(0)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName(self.tr("Craniometric points"))
        self.setToolTip(
            self.tr("Arrow keys choose a point, Enter places it by a click on the skull")
        )
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self._small = QFont(self.font())
        self._small.setPixelSize(SMALL)
        self.currentItemChanged.connect(self._on_current)
        self.itemClicked.connect(lambda item: self.chosen.emit(_code(item)))
        self.itemActivated.connect(lambda _: self.place_wished.emit())

    def show_rows(self, rows: Sequence[Row], chosen: str) -> None:
        """Show these points, one of them chosen; emits nothing."""
        self.blockSignals(True)
        if [row.code for row in rows] != [row.code for row in self._rows]:
            self.clear()
            self.addTopLevelItems([QTreeWidgetItem() for _ in rows])
            seen = min(len(rows), _ROWS_SEEN)
            self.setFixedHeight(seen * _ROW_HEIGHT + 2)
        self._rows = tuple(rows)
        for number, row in enumerate(rows):
            item = self.topLevelItem(number)
            assert item is not None
            self._fill(item, row)
            if row.code == chosen:
                self.setCurrentItem(item)
        self.blockSignals(False)

    def changeEvent(self, event: QEvent) -> None:
        """Take over the colours of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            for number, row in enumerate(self._rows):
                item = self.topLevelItem(number)
                assert item is not None
                self._fill(item, row)

    def _fill(self, item: QTreeWidgetItem, row: Row) -> None:
        theme = current_theme()
        item.setData(0, Qt.ItemDataRole.UserRole, row.code)
        item.setSizeHint(0, QSize(0, _ROW_HEIGHT))
        item.setIcon(0, _dot(row.colour))
        item.setText(0, row.name)
        item.setText(1, row.source)
        item.setFont(1, self._small)
        item.setForeground(1, QBrush(QColor(theme.faint if row.colour is None else theme.quiet)))
        for column in (0, 1):
            item.setToolTip(column, row.tip or f"{row.name}: {row.source}")

    def _on_current(self, item: QTreeWidgetItem | None, _before: object) -> None:
        if item is not None and self.hasFocus():
            self.chosen.emit(_code(item))


def _code(item: QTreeWidgetItem) -> str:
    return str(item.data(0, Qt.ItemDataRole.UserRole))


def _dot(colour: tuple[float, float, float] | None) -> QIcon:
    """Return a round dot of a colour; a ring for a point that has no place."""
    picture = QPixmap(24, 24)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if colour is None:
        pen = painter.pen()
        pen.setColor(QColor(current_theme().faint))
        pen.setWidth(3)
        painter.setPen(pen)
        painter.drawEllipse(4, 4, 16, 16)
    else:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor.fromRgbF(*colour))
        painter.drawEllipse(3, 3, 18, 18)
    painter.end()
    return QIcon(picture)
