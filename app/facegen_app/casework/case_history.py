"""What can be undone and redone: read from the log, which is itself never undone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Done = tuple[int, str, int | None, str]
"""Number, kind, what it is of, and the words of a row of the log."""


@dataclass
class History:
    """The actions that stand, and those taken back since the last new one.

    Attributes
    ----------
    done, undone
        (number, words) of actions; the last of each is the next to be undone or redone.
    """

    done: list[tuple[int, str]] = field(default_factory=list)
    undone: list[tuple[int, str]] = field(default_factory=list)

    def follow(self, entry: Done) -> bool:
        """Take a row of the log into account; tell whether it could come at this point."""
        number, kind, of, what = entry
        if kind == "action":
            self.done.append((number, what))
            self.undone.clear()
        elif kind == "undo":
            if not self.done or self.done[-1][0] != of:
                return False
            self.undone.append(self.done.pop())
        elif kind == "redo":
            if not self.undone or self.undone[-1][0] != of:
                return False
            self.done.append(self.undone.pop())
        return True


def history_of(entries: Iterable[Done]) -> History:
    """Return the history that a log tells."""
    history = History()
    for entry in entries:
        history.follow(entry)
    return history
