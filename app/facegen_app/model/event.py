"""A typed event of the model: whoever is interested connects a function.  No Qt, no strings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVarTuple, Unpack

Values = TypeVarTuple("Values")


class Event(Generic[*Values]):
    """Something that happens, with the types of what it tells.

    Listeners are called in the order in which they were connected, on the caller's thread (the
    main thread: models are changed nowhere else).
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[Unpack[Values]], object]] = []

    def connect(self, listener: Callable[[Unpack[Values]], object]) -> None:
        """Call `listener` each time."""
        self._listeners.append(listener)

    def emit(self, *values: *Values) -> None:
        """Tell every listener."""
        for listener in list(self._listeners):
            listener(*values)
