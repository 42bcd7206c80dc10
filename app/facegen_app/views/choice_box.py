"""A box to choose one of a few named values from."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QComboBox


def choice_box(entries: Sequence[tuple[str, str]], tip: str) -> QComboBox:
    """Return a box of (value, shown text) that never grows wider than its column."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    for value, text in entries:
        box.addItem(text, value)
    box.setToolTip(tip)
    return box
